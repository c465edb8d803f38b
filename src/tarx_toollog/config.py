"""Settings: one frozen object, and for every value where it came from.

Precedence: explicit argument > environment (``TOOLLOG_<NAME>``) > ``./toollog.toml`` > the user's
``toollog.toml`` > default. The server and the command line share the defaults, so that ``toollog status``
finds the database of a running Workbench without any flag.
"""

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tarx_toollog.errors import ConfigError

ENV_PREFIX = "TOOLLOG_"
CONFIG_NAME = "toollog.toml"
_LISTS = frozenset({"conversation_headers", "allowed_hosts", "allowed_origins"})
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+", re.ASCII)
_ORIGIN = re.compile(r"[a-zA-Z][\w+.-]*://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d+)?", re.ASCII)


def user_data_dir() -> Path:
    """Return the folder for data of the current user (XDG on Linux, Application Support on macOS)."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "toollog"
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "toollog"


def user_config_file() -> Path:
    """Return the path of the user's configuration file, whether or not it exists."""
    if sys.platform == "darwin":
        return user_data_dir() / CONFIG_NAME
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "toollog" / CONFIG_NAME


class Settings(BaseModel):
    """Everything that can be set. Values are checked once, here; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str = Field(
        default_factory=lambda: str(user_data_dir() / "toollog.db"),
        description="Path of the SQLite file (or an SQLAlchemy URL). Made on first use.",
    )
    journal_dir: Path | None = Field(
        default=None,
        description="Folder of the journal; default: DATABASE.journal beside the database; for a URL one of its own in "
        "the user's data folder.",
    )
    enabled: bool = Field(default=True, description="Off: traffic passes, nothing is recorded.")
    upstream: str = Field(
        default="http://127.0.0.1:11435", description="The model server that `toollog serve` forwards to."
    )
    host: str = Field(default="127.0.0.1", description="Address that `toollog serve` binds.")
    port: int = Field(default=11450, ge=0, le=65535, description="Port that `toollog serve` binds.")
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="More names that `toollog serve` and the pages go by. Any other `Host` is refused, or a page in "
        "a browser could reach them by a name of its own. This machine's own names and the bound address are known.",
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins (`http://localhost:3000`) whose pages may use `toollog serve` from a browser. "
        "All others are refused.",
    )
    require_token: bool = Field(
        default=False,
        description="Ask for a token on this machine's own address, too; on any other it is always asked for. "
        "The tokens are `chat.token` and `pages.token` in the folder of the journal.",
    )
    connect_timeout_s: float = Field(
        default=5.0, gt=0, description="Seconds that the proxy waits for a connection to the upstream."
    )
    read_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Seconds of silence from the upstream after which the proxy answers 504. "
        "Long, because reading a 32K prompt takes minutes on a laptop.",
    )
    conversation_headers: tuple[str, ...] = Field(
        default=("x-tarx-session", "x-conversation-id", "x-session-id", "helicone-session-id"),
        description="Request headers that may carry the conversation id, first match wins.",
    )
    max_request_bytes: int = Field(
        default=16 * 2**20, gt=0, description="Bytes of a request body that are kept; the rest is counted."
    )
    max_response_bytes: int = Field(
        default=16 * 2**20, gt=0, description="Bytes of a response body that are kept; the rest is counted."
    )
    keep_raw: Literal["problems", "always", "never"] = Field(
        default="problems",
        description="When the raw bytes of an exchange stay in the store: only where decoding met a "
        "problem, always, or never.",
    )
    probe: bool = Field(
        default=True,
        description="Ask the model server in the background which build it runs (/props, /v1/models, /api/show …).",
    )
    redact: Literal["off", "secrets", "all"] = Field(
        default="secrets",
        description="What is taken out before anything reaches the database: keys and passwords (secrets), "
        "personal data as well (all), or nothing (off).",
    )
    redact_rules: Path | None = Field(
        default=None, description="TOML file with redaction rules of your own (docs/redaction.md)."
    )
    idle_ms: int = Field(
        default=50,
        ge=0,
        description="Quiet time before the writer starts to decode, so that it never "
        "competes with a request for the interpreter.",
    )
    max_delay_ms: int = Field(
        default=10_000, ge=0, description="The writer starts after this time even when traffic never pauses."
    )
    checkpoint_ms: int = Field(
        default=250, ge=0, description="A partial answer reaches the journal at most this much after it came."
    )
    durability: Literal["async", "process", "power"] = Field(
        default="process",
        description="What an answer survives once the client has it: nothing (async), the death of the process "
        "(process), or a power cut as well (power: costs a sync of the disk for each answer).",
    )
    journal_max_bytes: int = Field(
        default=2**30, gt=0, description="What the journal may hold while the database is away; then see `on_full`."
    )
    min_free_bytes: int = Field(
        default=256 * 2**20, ge=0, description="What the journal leaves free on its disk; then see `on_full`."
    )
    on_full: Literal["shed", "block", "refuse"] = Field(
        default="shed",
        description="While the journal is full: keep chats without their texts and count them (shed), hold new "
        "chats until there is room (block), or answer them with 503 (refuse).",
    )

    otlp: str | None = Field(
        default=None,
        description="Address of an OpenTelemetry collector (OTLP over HTTP, such as http://127.0.0.1:4318) that gets a "
        "span of each exchange, without texts. A copy: what it does not take in time is dropped.",
    )

    @field_validator("otlp")
    @classmethod
    def _collector_can_be_served(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        if value is not None and not _is_installed("opentelemetry.proto"):
            raise ValueError("needs a package that is not installed: pip install 'tarx-toollog[otlp]'")
        return value

    @field_validator("upstream")
    @classmethod
    def _upstream_is_a_base_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST.fullmatch(name):
                raise ValueError(f"{name!r} is no host: write a name or an address, without scheme and port")
        return tuple(name.lower() for name in value)

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            # Not `null`, which any page can be in a frame of its own, and not `*`.
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: write scheme, name and port as in http://localhost:3000")
        return tuple(origin.lower() for origin in value)

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Return the settings in force; ``overrides`` that are None are ignored.

        Raises:
            ConfigError: A value is wrong; the message says which one and where it came from.
        """
        return load_with_sources(overrides)[0]

    @property
    def is_url(self) -> bool:
        """Whether ``database`` is an SQLAlchemy URL rather than a path."""
        return "://" in self.database

    @property
    def database_path(self) -> Path | None:
        """Path of the SQLite file; None when the database is not a file."""
        if not self.is_url:
            return Path(self.database).expanduser().absolute()
        if self.database.startswith("sqlite:///"):
            return Path(self.database.removeprefix("sqlite:///")).expanduser().absolute()
        return None

    @property
    def journal_path(self) -> Path:
        """Folder of the journal."""
        if self.journal_dir is not None:
            return self.journal_dir.expanduser().absolute()
        if self.database_path is not None:
            return self.database_path.with_name(self.database_path.name + ".journal")
        # One for each database, whatever the login: what a dead process left goes into the one that it was meant for.
        place = self.database.rpartition("@")[2].encode()
        return user_data_dir() / "journals" / blake2b(place, digest_size=6).hexdigest()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def load_with_sources(overrides: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """Return the settings in force and, for every name, where its value came from.

    Raises:
        ConfigError: A value is wrong, or a file or variable names a setting that does not exist.
    """
    values: dict[str, Any] = {}
    sources = dict.fromkeys(Settings.model_fields, "default")
    for path in (user_config_file(), Path.cwd() / CONFIG_NAME):
        _merge(values, sources, _read_toml(path), str(path))
    _merge(values, sources, _read_env(), "environment")
    _merge(values, sources, {k: v for k, v in overrides.items() if v is not None}, "argument")
    try:
        return Settings(**values), sources
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        source = sources.get(name, "argument")
        said = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"setting {name!r} (from {source}): {said}", hint=_mend(name, source)) from error


def _merge(values: dict[str, Any], sources: dict[str, str], new: Mapping[str, Any], source: str) -> None:
    for name, value in new.items():
        if name not in Settings.model_fields:
            raise ConfigError(
                f"unknown setting {name!r} (from {source})",
                hint=f"known: {', '.join(Settings.model_fields)}",
            )
        values[name] = value
        sources[name] = source


def _mend(name: str, source: str) -> str:
    if source == "environment":
        return f"mend or unset {ENV_PREFIX}{name.upper()}"
    return "mend the option" if source == "argument" else f"mend or remove {name} in {source}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="mend its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint="mend or remove the file") from error


def _read_env() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in Settings.model_fields:
        text = os.environ.get(ENV_PREFIX + name.upper())
        if text is None or text == "":
            continue
        found[name] = tuple(p.strip() for p in text.split(",")) if name in _LISTS else text
    return found
