"""What an export needs before it reads its first example: the template, the rules, and what must not be learned."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tarx_toollog.export.contamination import Contamination
from tarx_toollog.export.documents import document, turn_start
from tarx_toollog.export.evaluation import evaluation_documents
from tarx_toollog.export.example import Example, Message, Piece, Row
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.near import NearIndex
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.redact import Cleaner
from tarx_toollog.export.template.codes import CODES
from tarx_toollog.export.template.load import SERVER, Loaded, choose_template
from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.render_rules import TemplateCheck
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store import queries
from tarx_toollog.store.datasets import Datasets
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.templates import template_of

_JUDGED = 20_000  # histories that are remembered: those of the dialogues of a page, many times over


@dataclass(frozen=True, slots=True)
class Preparation:
    """Everything that is found out before the first example."""

    last_exchange: int
    """Key of the latest exchange: all that came up to it had its chance."""
    n_steps: int
    """Steps that the filters leave."""
    template: ChatTemplate | None
    template_hash: str | None
    cleaner: Cleaner
    normaliser: Normaliser
    contamination: Contamination | None
    near: NearIndex | None
    row_check: TemplateCheck | None
    judged: dict[int, tuple[Piece, bool]]
    """Histories that were held against the evaluation, by their last message."""
    warnings: tuple[str, ...]

    def check(self, example: Example, key: int) -> str | None:
        """Return why an example must not be trained on; remember it for the search for near duplicates."""
        values = [piece.value for piece in example.messages]
        if self.contamination is not None and example.registry != "eval":
            origin = example.origin
            found = self.contamination.kept(origin.conversation_uid, origin.exchange_uid)
            if found is not None or self._is_known(self.contamination, example.messages, values):
                return found or "near_scenario"
        # Rows of a named group vary what is not compared: the system prompt of an identity question, for example.
        if self.near is not None and example.cluster is None:
            tools = None if example.tools is None else example.tools.value
            worse = None if example.rejected is None else example.rejected.value
            text = document(values[:-1], values[-1], tools, example.targets, rejected=worse, label=example.label)
            self.near.add(key, text)
        return None

    def _is_known(self, tests: Contamination, pieces: Sequence[Piece], values: Sequence[Message]) -> bool:
        """Say whether a turn is nearly one of the evaluation; earlier turns were judged with the steps before.

        A piece stands for the whole history up to it, because ``Normaliser`` makes a new one for every place.
        """
        first = turn_start(values, len(values) - 1)
        if first == 0:
            return tests.knows(values)
        known = self.judged.get(id(pieces[first - 1]))
        if known is None:
            if len(self.judged) >= _JUDGED:
                self.judged.clear()
            known = self.judged[id(pieces[first - 1])] = (pieces[first - 1], tests.knows(values[:first]))
        return known[1] or tests.knows(values, first)

    def template_check(self, row: Row) -> tuple[str, ...]:
        """Return the codes of what is found when a row is held against the chat template."""
        return () if self.row_check is None else self.row_check.check(row)

    def format_options(self, options: ExportOptions, build: str, upstream: str) -> FormatOptions:
        """Return what formats want to know."""
        return FormatOptions(
            task=options.task,
            unit=options.unit,
            base_model=options.base_model,
            template=None if self.template is None else self.template.text,
            template_tokens={} if self.template is None else self.template.tokens,
            parquet=options.parquet,
            build_name=build,
            upstream=upstream,
            seed=options.seed,
        )


@contextmanager
def prepared(log: ToolLog, options: ExportOptions, folder: Path) -> Iterator[Preparation]:
    """Yield what an export needs; temporary files lie in ``folder``.

    Raises:
        ConfigError: The template or the rules cannot be used.
        NothingMatchedError: There is no such replay run.
    """
    last_exchange = queries.last_key(log.engine)  # before reading
    (template, served_sha), warnings = _template(log, options)
    policy = Policy.load(options.redact, options.redact_rules)
    cleaner = Cleaner(Redactor(policy, load_secret(log.settings)))
    normaliser = Normaliser(
        cleaner.message,
        clean_tool=cleaner.tool,
        keep_reasoning=options.keep_reasoning,
        forbidden=template.special_tokens if template is not None else frozenset(),
    )
    row_check = None if template is None else TemplateCheck(template, served_sha=served_sha)
    if row_check is not None:
        warnings += [f"the chat template: {CODES[code].what} ({code})" for code in row_check.always]
    near = None if options.near is None else NearIndex(folder)
    try:
        yield Preparation(
            last_exchange=last_exchange,
            n_steps=queries.count_steps(log.engine, options.filters),
            template=template,
            template_hash=None if template is None else template.sha,
            cleaner=cleaner,
            normaliser=normaliser,
            contamination=_contamination(log, options, cleaner) if options.decontaminate else None,
            near=near,
            row_check=row_check,
            judged={},
            warnings=tuple(warnings),
        )
    finally:
        if near is not None:
            near.close()


def _contamination(log: ToolLog, options: ExportOptions, cleaner: Cleaner) -> Contamination:
    runs = Replays(log)
    tags = {runs.run(name).tag for name in options.variants}
    kept = log.trajectories(Filters(splits=frozenset({"eval"})))
    return Contamination(evaluation_documents(Datasets(log).scenarios(), kept, cleaner.quietly, without_tags=tags))


def _template(log: ToolLog, options: ExportOptions) -> tuple[Loaded, list[str]]:
    """Return the template that the rows are held against, and what is to be said about it."""
    served = template_of(log.engine)
    if options.template is None and (served is None or served.syntax != "jinja"):
        return Loaded(None, None), ["the served chat template is not known: rows were not held against it"]
    return choose_template(served, options.template or SERVER), []
