r"""Which rules are in force: the built-in ones of a level, with a person's own rules and exceptions from a TOML file.

This is the one module of the package that reads a file. Format (``docs/redaction.md``)::

    disable = ["cookie"]               # built-in rules that are not wanted
    enable = ["email"]                 # rules of the other kind that are
    keep = ["support@tarx.example"]    # values that no rule takes out

    [[rule]]
    name = "customer_number"
    pattern = 'KD-(\d{8})'
    kind = "personal"                  # secret (default) or personal
    group = 1                          # the part that is taken out; the whole match when left out
    keep = ["00000000"]
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from tarx_toollog.canonical import canonical_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.redaction.personal_rules import PERSONAL_RULES
from tarx_toollog.redaction.rules import Kind, Rule
from tarx_toollog.redaction.secret_rules import FIELD_RULE, SECRET_RULES

Level = Literal["off", "secrets", "all"]

RECIPE = 2
"""Version of the marks and of the checks that no pattern shows; it is part of the policy's id."""

_WITHOUT = "leave --rules, --redact-rules or the setting redact_rules away"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RULE_KEYS = frozenset({"name", "pattern", "kind", "group", "keep"})
_FILE_KEYS = frozenset({"disable", "enable", "keep", "rule"})


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force, in the order in which they are applied."""

    rules: tuple[Rule, ...] = ()
    fields: bool = False
    """Whether JSON values under a key that promises a secret are taken out (rule ``secret_field``)."""
    keep: frozenset[str] = frozenset()
    """Values that no rule takes out."""

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever taken out."""
        return not self.rules and not self.fields

    @property
    def policy_id(self) -> str:
        """Short stable hash of the rules: 12 hex digits."""
        rules = [[r.name, r.kind, r.pattern.pattern, r.pattern.flags, r.shown, sorted(r.keep)] for r in self.rules]
        value = [RECIPE, rules, self.fields, sorted(self.keep)]
        return blake2b(canonical_json(value), digest_size=6).hexdigest()

    @classmethod
    def load(cls, level: str, rules_file: Path | None = None) -> "Policy":
        """Return the policy of a level, with the rules of a file.

        Args:
            level: ``off``, ``secrets`` or ``all``.
            rules_file: TOML file with a person's own rules and exceptions; None for none.

        Raises:
            ConfigError: The level, the file or a rule in it is wrong; the hint names file and rule.
        """
        if level not in get_args(Level):
            raise ConfigError(f"redact cannot be {level!r}", hint="choose off, secrets or all")
        own = {} if rules_file is None else _read(rules_file)
        if level == "off":
            return cls()
        return _combined(level, own, rules_file)


def rule_names() -> list[str]:
    """Return the names of all built-in rules, each once, in the order in which they are applied."""
    secrets, personal = ([rule.name for rule in rules] for rules in (SECRET_RULES, PERSONAL_RULES))
    return list(dict.fromkeys([*secrets, FIELD_RULE, *personal]))


def _combined(level: str, own: Mapping[str, Any], source: Path | None) -> Policy:
    disabled = _names(own, "disable", source)
    enabled = _names(own, "enable", source)
    keep = frozenset(_strings(own.get("keep", []), "keep", source))
    wanted = [
        rule
        for rule in (*SECRET_RULES, *PERSONAL_RULES)
        if rule.name not in disabled and (rule.kind == "secret" or level == "all" or rule.name in enabled)
    ]
    # A person's own rules come first: who names a number of his own wants to see that name.
    mine = [_own_rule(entry, number, source) for number, entry in enumerate(_entries(own, source), 1)]
    return Policy((*mine, *wanted), FIELD_RULE not in disabled, keep)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint=f"mend the permissions of the file, or {_WITHOUT}"
        ) from error
    except UnicodeDecodeError as error:
        hint = f"save it as UTF-8, or {_WITHOUT}"
        raise ConfigError(f"{path} is not valid TOML: byte {error.start + 1} is not UTF-8", hint=hint) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint=f"mend {path}, or {_WITHOUT}") from error
    unknown = sorted(set(value) - _FILE_KEYS)
    if unknown:
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}", hint=f"known: {', '.join(sorted(_FILE_KEYS))}")
    return value


def _names(own: Mapping[str, Any], key: str, source: Path | None) -> frozenset[str]:
    names = frozenset(_strings(own.get(key, []), key, source))
    unknown = sorted(names - set(rule_names()))
    if unknown:
        near = get_close_matches(unknown[0], rule_names(), 2)
        raise ConfigError(
            f"{source}: {key} names {unknown[0]!r}, which is no built-in rule",
            hint="did you mean " + " or ".join(near) + "?" if near else "docs/redaction.md lists them",
        )
    return names


def _strings(value: Any, key: str, source: Path | None) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{source}: {key} must be a list of strings", hint=f'{key} = ["…"]')
    return value


def _entries(own: Mapping[str, Any], source: Path | None) -> list[dict[str, Any]]:
    entries = own.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{source}: rules are written as [[rule]] tables", hint="[[rule]] with name and pattern")
    return entries


def _own_rule(entry: Mapping[str, Any], number: int, source: Path | None) -> Rule:
    name = entry.get("name")
    where = f"{source}: rule {name!r}" if isinstance(name, str) else f"{source}: rule {number}"
    unknown = sorted(set(entry) - _RULE_KEYS)
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}", hint=f"known: {', '.join(sorted(_RULE_KEYS))}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{where} needs a name", hint="small letters, digits and _, for example customer_number")
    if name in rule_names():
        raise ConfigError(f"{where}: there is a built-in rule of that name", hint="choose another name")
    kind = entry.get("kind", "secret")
    if kind not in get_args(Kind):
        raise ConfigError(f"{where}: kind cannot be {kind!r}", hint="choose secret or personal")
    pattern, group = _pattern(entry, where)
    keep = frozenset(_strings(entry.get("keep", []), "keep", source))
    return replace(Rule(name, kind, pattern), group=group, keep=keep)


def _pattern(entry: Mapping[str, Any], where: str) -> tuple[re.Pattern[str], int]:
    text, group = entry.get("pattern"), entry.get("group", 0)
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{where} needs a pattern", hint="a Python regular expression in single quotes")
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where}: the pattern is no regular expression: {error}", hint="mend the pattern") from error
    if pattern.match("") is not None:
        raise ConfigError(f"{where}: the pattern matches the empty text", hint="use + instead of *")
    if type(group) is not int or not 0 <= group <= pattern.groups:
        raise ConfigError(f"{where}: there is no group {group!r}", hint=f"the pattern has {pattern.groups} groups")
    return pattern, group
