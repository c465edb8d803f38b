"""What a person can ask of an export, in one object that manifests and the database keep."""

from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.balance import parse_balance
from tarx_toollog.export.example import Task, Unit
from tarx_toollog.export.files import sha256_of
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.export.mix import parse_mix
from tarx_toollog.export.template.load import SERVER, TRL
from tarx_toollog.store.filters import Filters

Overlong = Literal["drop", "trim-turns", "trim-results"]

MAX_TOKENS = 25_000
"""Default limit of a row: the context of 32,768 less room for what a template or another tokenizer adds."""
MAX_NUMBER = 2**31 - 1
"""No limit is larger: databases and trainers take no more, and no log has as many steps."""
NEAR = 0.8
"""Default similarity from which two examples are nearly the same."""
BASE_MODEL = "Qwen/Qwen2.5-7B-Instruct"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Everything that decides what an export writes."""

    formats: tuple[str, ...] = ("mlx",)
    task: Task = "sft"
    unit: Unit = "step"
    filters: Filters = field(default_factory=Filters)
    gate: GateOptions = field(default_factory=GateOptions)
    keep_reasoning: bool = False
    redact: Literal["off", "secrets", "all"] = "all"
    redact_rules: Path | None = None
    near: float | None = NEAR
    """Similarity from which rows are nearly the same; None keeps all but equal ones."""
    exact: bool = True
    """Leave out rows that are there already."""
    decontaminate: bool = True
    """Leave out what is in, or near to, a replay scenario or a conversation kept for evaluation."""
    variants: tuple[str, ...] = ()
    """Replay runs whose answers are mined for pairs; what they asked is then no secret of the evaluation."""
    max_tokens: int = MAX_TOKENS
    overlong: Overlong = "drop"
    tokens: str | None = None
    """Base URL of a llama-server that counts what was never counted; None leaves that to an estimate."""
    split_at: datetime | None = None
    """Split by time instead of by the registry: what began before goes to train, the rest to dev."""
    mix: str | None = None
    balance: str | None = None
    negatives: float | None = None
    max_steps: int | None = None
    """At most so many examples of one conversation."""
    identity: tuple[Path, ...] = ()
    summaries: tuple[Path, ...] = ()
    synthetic: tuple[Path, ...] = ()
    own_name: str = "TARX"
    """The name that the model is to know itself by."""
    own_author: str | None = None
    """Who makes it, as its answers may say."""
    template: str | None = None
    """Where the chat template comes from: ``server`` (of the build that answered), ``trl:NAME``, or the path of a
    file."""
    base_model: str = BASE_MODEL
    parquet: bool = False
    parent: str | None = None
    """An earlier build whose assignments are kept."""
    name: str | None = None
    """Name of the build; the next free of v1, v2 …"""
    replace_build: bool = False
    """Take the name also from a build that is still being written: right when its process was killed."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.formats:
            raise ConfigError("no format is chosen", hint="name one with --for; `toollog export formats` lists them")
        self._check_task()
        self._check_numbers()
        self._check_names()
        if self.tokens is not None and not _is_url(self.tokens):
            raise ConfigError(
                f"--tokens {self.tokens!r} is not the URL of a model server",
                hint="write --tokens server, or a URL such as http://127.0.0.1:11435",
            )

    def _check_task(self) -> None:
        files = self.identity or self.summaries or self.synthetic
        if files and self.task != "sft":
            raise ConfigError(
                f"files of examples hold no preferences: they cannot be used for {self.task}",
                hint="leave --identity, --summaries and --synthetic out, or --task",
            )
        if self.variants and self.task != "dpo":
            raise ConfigError("--variants gives pairs, which only dpo learns", hint="add --task dpo")
        if self.task != "sft" and self.unit == "trajectory":
            raise ConfigError(
                f"preferences are about single answers: {self.task} has no trajectories", hint="use --unit step"
            )

    def _check_names(self) -> None:
        """Refuse what cannot be a name: it would stand in configurations, and be found in every text."""
        for option, value, hint in (
            ("--name", self.name, "leave it out to get the next of v1, v2 …"),
            ("--base-model", self.base_model, f"leave it out for {BASE_MODEL}"),
            ("--own-name", self.own_name, "write the name that the model is to call itself"),
            ("--own-author", self.own_author, "leave it out when answers do not say who makes the model"),
            ("--parent", self.parent, "`toollog export list` shows the builds"),
            ("--template", self.template, "write server, trl:NAME, or the name of a file"),
        ):
            if value is not None and (not value.strip() or not value.isprintable()):
                raise ConfigError(f"{option} {value!r} is no name", hint=hint)

    def _check_numbers(self) -> None:
        for option, number, hint in (
            ("--max-tokens", self.max_tokens, f"the default is {MAX_TOKENS}"),
            ("--max-steps", self.max_steps, "leave it out for no limit"),
            ("--limit", self.filters.limit, "leave it out for no limit"),
        ):
            if number is not None and not 1 <= number <= MAX_NUMBER:
                raise ConfigError(f"{option} must lie between 1 and {MAX_NUMBER}, not {number}", hint=hint)
        if not isfinite(self.gate.min_feedback):
            raise ConfigError(
                f"--min-feedback must be a number, not {self.gate.min_feedback}",
                hint="0 lets everything pass that is not negative",
            )
        if self.near is not None and not 0 < self.near <= 1:
            raise ConfigError(f"--near must lie between 0 and 1, not {self.near}", hint="--near off keeps all")
        parse_mix(self.mix)
        parse_balance(self.balance, negatives=self.negatives, max_steps=self.max_steps)

    @property
    def includes_eval(self) -> bool:
        """Whether somebody asked for conversations that are kept for evaluation, too."""
        return "eval" in self.filters.splits

    def as_json(self) -> dict[str, Any]:
        """Return what was asked for, in a fixed order; files by name and content, since folders belong to a machine.

        Raises:
            ConfigError: A file cannot be read.
        """
        values: dict[str, Any] = {
            "formats": list(self.formats),
            "task": self.task,
            "unit": self.unit,
            "filters": self.filters.as_json(),
            "require_result": self.gate.require_result,
            "min_feedback": self.gate.min_feedback,
            "keep_reasoning": self.keep_reasoning,
            "redact": self.redact,
            "redact_rules": _name(self.redact_rules),
            "exact": self.exact,
            "near": self.near,
            "decontaminate": self.decontaminate,
            "variants": list(self.variants),
            "max_tokens": self.max_tokens,
            "overlong": self.overlong,
            "tokens": None if self.tokens is None else "server",
            "split_at": None if self.split_at is None else self.split_at.isoformat(),
            "mix": self.mix,
            "balance": self.balance,
            "negatives": self.negatives,
            "max_steps": self.max_steps,
            "identity": [path.name for path in self.identity],
            "summaries": [path.name for path in self.summaries],
            "synthetic": [path.name for path in self.synthetic],
            "own_name": self.own_name,
            "own_author": self.own_author,
            "template": self.template if self._template_file is None else self._template_file.name,
            "base_model": self.base_model,
            "parquet": self.parquet,
            "parent": self.parent,
            "seed": self.seed,
            "inputs": [{"file": path.name, "sha256": _hash_of(path)} for path in self._files()],
        }
        return {name: value for name, value in values.items() if value not in (None, [], {})}

    @property
    def _template_file(self) -> Path | None:
        is_file = self.template is not None and self.template != SERVER and not self.template.startswith(TRL)
        return Path(self.template or "") if is_file else None

    def _files(self) -> list[Path]:
        """Return all files that decide what is written, in the order of their options."""
        single = [path for path in (self.redact_rules, self._template_file) if path is not None]
        return [*self.identity, *self.summaries, *self.synthetic, *single]


def _name(path: Path | None) -> str | None:
    return None if path is None else path.name


def _hash_of(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}", hint="name a file that is there") from error


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
