"""What a person knows about an argument and a schema does not say: rules for single arguments of single tools.

Rules stand in a TOML file, by tool and by JSON pointer within its arguments; ``*`` stands for any place of an array:

    [tarx_remember."/text"]
    rule = "text"                # in other words, with the same facts

    [tarx_recall."/limit"]
    rule = "ignore"
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from tarx_toollog.canonical import Json
from tarx_toollog.errors import ConfigError

Kind = Literal["exact", "text", "number", "set", "regex", "oneof", "ignore", "present"]

RULES: Mapping[str, str] = {
    "exact": "the same JSON",
    "text": "the same facts, in other words",
    "number": "equal within `rtol` (relative) or `atol`",
    "set": "the same items in any order",
    "regex": "text that `pattern` matches as a whole",
    "oneof": "one of `values`, compared as the schema asks; `omit = true`: or left out",
    "ignore": "whatever it is, also left out",
    "present": "whatever it is, but there",
}
"""Every rule with what it takes for right."""
_KEYS = frozenset({"rule", "rtol", "atol", "pattern", "values", "omit"})

_HINT = "see docs/replay-reference.md"


@dataclass(frozen=True)
class Rule:
    """What is right for one argument."""

    kind: Kind
    rtol: float = 0.0
    atol: float = 0.0
    pattern: str = ""
    values: tuple[Json, ...] = ()
    may_omit: bool = False

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The pattern."""
        return re.compile(self.pattern)

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in files and definitions: what is not default."""
        told: dict[str, Any] = {
            "rtol": self.rtol,
            "atol": self.atol,
            "pattern": self.pattern,
            "values": list(self.values),
            "omit": self.may_omit,
        }
        return {"rule": self.kind, **{key: value for key, value in told.items() if value}}

    @classmethod
    def from_json(cls, value: Any, where: str = "a rule") -> "Rule":
        """Return the rule that a JSON object describes.

        Raises:
            ConfigError: It does not describe one.
        """
        if not isinstance(value, Mapping) or value.get("rule") not in get_args(Kind):
            raise ConfigError(
                f"{where}: `rule` must be one of {', '.join(get_args(Kind))}", hint="see docs/replay-reference.md"
            )
        if unknown := sorted(value.keys() - _KEYS):
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}", hint=f"known are {', '.join(sorted(_KEYS))}")
        try:
            rule = cls(
                kind=value["rule"],
                rtol=float(value.get("rtol", 0.0)),
                atol=float(value.get("atol", 0.0)),
                pattern=str(value.get("pattern", "")),
                values=tuple(value.get("values", ())),
                may_omit=bool(value.get("omit", False)),
            )
            re.compile(rule.pattern)
        except (TypeError, ValueError, re.error) as error:
            raise ConfigError(f"{where}: {error}", hint=_HINT) from None
        if rule.kind == "oneof" and not rule.values:
            raise ConfigError(f"{where}: `values` is missing", hint="list the values that are right")
        return rule


Rules = Mapping[str, Mapping[str, Rule]]
"""Tool → JSON pointer → rule."""

NO_RULES: Rules = {}


def load_rules(path: Path) -> Rules:
    """Read a file of rules.

    Raises:
        ConfigError: It cannot be read, or is no such file.
    """
    try:
        tools = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="a TOML file, as docs/replay-reference.md shows") from None
    found: dict[str, dict[str, Rule]] = {}
    for tool, rules in tools.items():
        if not isinstance(rules, Mapping):
            raise ConfigError(f"{path}: {tool} is no table", hint=f'write [{tool}."/argument"]')
        for pointer, rule in rules.items():
            if not pointer.startswith("/"):
                raise ConfigError(
                    f"{path}: {pointer!r} of {tool} is no JSON pointer", hint=f'write [{tool}."/{pointer}"]'
                )
            found.setdefault(tool, {})[pointer] = Rule.from_json(rule, f"{path}: {tool}{pointer}")
    return found


def rule_for(rules: Mapping[str, Rule], path: str) -> Rule | None:
    """Return the rule of a place, by its own pointer or by one in which ``*`` stands for places of arrays."""
    if not rules:
        return None
    found = rules.get(path)
    if found is not None:
        return found
    parts = path.split("/")
    if not any(part.isdigit() for part in parts):
        return None
    return rules.get("/".join("*" if part.isdigit() else part for part in parts))
