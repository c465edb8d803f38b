"""What a ready query is, and how its parameters become part of its text."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.filters import parse_time

Kind = Literal["time", "text", "number"]

_NAME = re.compile(r":([a-z_]+)")
_MOST = 2**31 - 1  # no log has as many rows


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that a query asks for."""

    name: str
    kind: Kind
    default: str | None
    """What it is when nobody says; None where somebody must."""
    meaning: str

    def literal(self, text: str, zone: str) -> str:
        """Return what a person typed as a value in SQL.

        Args:
            text: What the person typed.
            zone: How a time ends.

        Raises:
            ConfigError: It is no value of this kind.
        """
        if self.kind == "time":
            return f"'{parse_time(text).replace(tzinfo=None).isoformat(' ', 'microseconds')}{zone}'"
        if self.kind == "number":
            if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST:
                raise ConfigError(f"{self.name} must be a number from 1, not {text!r}", hint="for example 20")
            return str(int(text))
        if "\0" in text:
            raise ConfigError(f"{self.name} cannot hold the character NUL", hint="leave it out")
        return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class ReadyQuery:
    """One question with the SQL that answers it."""

    name: str
    title: str
    """The question."""
    group: str
    reading: str
    """How to read the answer."""
    sql: str
    """With ``:name`` in the place of each parameter."""
    parameters: tuple[Parameter, ...]

    def filled(self, given: Mapping[str, str] | None = None, dialect: str = "sqlite") -> str:
        """Return the SQL with its parameters in it: a person can copy it, and no driver need know of them.

        Args:
            given: What the person typed, by the name of the parameter.
            dialect: The database, by SQLAlchemy's name for it.

        Raises:
            ConfigError: There is no such parameter, one is missing, or a value is none of its kind.
        """
        names = [one.name for one in self.parameters]
        for name in given or ():
            if name not in names:
                raise ConfigError(f"{self.name} has no parameter {name!r}", hint=f"it has {', '.join(names)}")
        zone = "+00:00" if dialect == "postgresql" else ""  # SQLite keeps times as text without one
        literals = {}
        for one in self.parameters:
            text = (given or {}).get(one.name, one.default)
            if text is None:
                hint = f"--param {one.name}=… ({one.meaning})"
                raise ConfigError(f"{self.name} needs a value for {one.name}", hint=hint)
            literals[one.name] = one.literal(text, zone)
        return self.replaced(literals.__getitem__)

    def replaced(self, spelled: Callable[[str], str]) -> str:
        """Return the SQL with something else in the place of each parameter.

        Args:
            spelled: Gives it for the name of the parameter.
        """
        return _NAME.sub(lambda found: spelled(found[1]), self.sql)


def parameter_names(sql: str) -> list[str]:
    """Return the names of the parameters of a text, in the order in which they first stand there."""
    return list(dict.fromkeys(_NAME.findall(sql)))
