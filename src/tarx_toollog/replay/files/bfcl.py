"""Rows of BFCL as entries of our own shape. Pure: rows and accepted answers in, entries out.

*Theory.* BFCL lists for each parameter of each call the values that are right. Ours are one value, other answers
(``alternatives``), and rules by tool. Where all expected calls of a tool accept the same values of a parameter, that is
a rule ``oneof``. Where two calls of one tool do not, a rule would let the one have the other's values: then each
combination becomes an answer of its own. That the value may be left out (``""`` among the values) is part of the rule;
of a parameter that is required it means an empty text, because BFCL wants it to be there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from tarx_toollog.canonical import Json, canonical_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.bfcl import CATEGORIES, OMITTED, AcceptedCall, BfclCase, Expects, read_case
from tarx_toollog.replay.files.lines import HINT, Entry, Placed

MAX_ANSWERS = 4096
"""Combinations that are written out for one case. The largest of BFCL's own has 2,304; a definition of a scenario
should not weigh megabytes."""

_GONE = object()  # the value of an argument that is left out


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is right for one parameter of one call."""

    values: tuple[Json, ...]
    may_omit: bool

    @property
    def key(self) -> bytes:
        """The same for choices that accept the same."""
        return canonical_json([list(self.values), self.may_omit])

    @property
    def options(self) -> tuple[Any, ...]:
        """All that may be done; to leave it out comes last."""
        return (*self.values, *((_GONE,) if self.may_omit or not self.values else ()))


def recognises(row: Mapping[str, Any]) -> bool:
    """Say whether an object looks like a question of BFCL."""
    return "question" in row and "function" in row


def read(rows: Iterable[Placed], answers: Iterable[Placed]) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of questions.

    Args:
        rows: The lines of ``BFCL_v4_<category>.json``.
        answers: Those of the file of the same name below ``possible_answer``; none where no call is right.

    Raises:
        ConfigError: A row, or its answer, is none of BFCL's that can be read.
    """
    accepted = {str(answer.get("id")): answer for _, answer in answers}
    for where, row in rows:
        name = str(row.get("id"))
        category = name.rpartition("_")[0]
        if CATEGORIES.get(category) is Expects.ANY_CALL:
            raise ConfigError(
                f"{where}: any call is right in {category}, and a scenario has to name the calls",
                hint="take the other categories",
            )
        try:
            case = read_case(category, row, accepted.get(name))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
        yield where, {"group": row.get("group", name), **_entry(case, where)}


def unwrapped(value: Json, schema: Mapping[str, Any]) -> list[Json]:
    """Return the values that one accepted value stands for: in an object, each key lists values in turn."""
    if schema.get("type") == "array" and isinstance(value, list):
        items = schema.get("items", {})
        return [list(one) for one in product(*(unwrapped(item, items) for item in value))]
    if schema.get("type") == "object" and isinstance(value, dict):
        options = [[_GONE if one == OMITTED else one for one in value[key]] for key in value]
        return [_object(value, chosen) for chosen in product(*options)]
    return [value]


def wrapped(value: Json, schema: Json) -> Json:
    """Return a value as BFCL lists it: the other way round. A schema that is no object says nothing."""
    if not isinstance(schema, Mapping):
        return value
    if schema.get("type") == "array" and isinstance(value, list):
        return [wrapped(item, schema.get("items", {})) for item in value]
    if schema.get("type") == "object" and isinstance(value, dict):
        return {key: [inner] for key, inner in value.items()}
    return value


def _entry(case: BfclCase, where: str) -> Entry:
    entry: Entry = {"id": case.id, "messages": list(case.messages), "tools": list(case.tools)}
    if case.expects is not Expects.CALLS:
        return {**entry, "expected": {"answer": True}}
    choices = [_choices(call, case.schemas[call.name]) for call in case.accepted]
    shared = _shared(case.accepted, choices)
    open_to = [_open(call, of, shared) for call, of in zip(case.accepted, choices, strict=True)]
    count = prod(len(options) for of in open_to for options in of.values())
    if count > MAX_ANSWERS:
        raise ConfigError(
            f"{where}: {count} combinations of values are right, and {MAX_ANSWERS} can be listed", hint=HINT
        )
    per_call = [[_object(of, chosen) for chosen in product(*of.values())] for of in open_to]
    answers = [
        {"calls": [{"name": call.name, "arguments": made} for call, made in zip(case.accepted, chosen, strict=True)]}
        for chosen in product(*per_call)
    ]
    rules = _rules(shared)
    return {
        **entry,
        "expected": answers[0],
        **({"alternatives": answers[1:]} if count > 1 else {}),
        **({"rules": rules} if rules else {}),
    }


def _choices(call: AcceptedCall, schema: Mapping[str, Any]) -> dict[str, _Choice]:
    required, properties = schema.get("required", ()), schema.get("properties", {})
    found = {}
    for name, accepted in call.arguments.items():
        may_omit = OMITTED in accepted and name not in required
        told = [one for one in accepted if not (may_omit and one == OMITTED)]
        listed = [value for one in told for value in unwrapped(one, properties.get(name, {}))]
        unique: dict[bytes, Json] = {}
        for value in listed:
            unique.setdefault(canonical_json(value), value)
        found[name] = _Choice(tuple(unique.values()), may_omit)
    return found


def _shared(calls: Sequence[AcceptedCall], choices: Sequence[Mapping[str, _Choice]]) -> dict[tuple[str, str], _Choice]:
    """Return the parameters by tool of which all calls of that tool accept the same."""
    by_tool: dict[str, list[Mapping[str, _Choice]]] = {}
    for call, of in zip(calls, choices, strict=True):
        by_tool.setdefault(call.name, []).append(of)
    return {
        (tool, name): choice
        for tool, of in by_tool.items()
        for name, choice in of[0].items()
        if all(name in other and other[name].key == choice.key for other in of)
    }


def _open(
    call: AcceptedCall, choices: Mapping[str, _Choice], shared: Mapping[tuple[str, str], _Choice]
) -> dict[str, tuple[Any, ...]]:
    """Return what of each parameter goes into the answers: the first value where a rule has the others."""
    return {
        name: choice.options[:1] if (call.name, name) in shared else choice.options for name, choice in choices.items()
    }


def _rules(shared: Mapping[tuple[str, str], _Choice]) -> dict[str, dict[str, Any]]:
    rules: dict[str, dict[str, Any]] = {}
    for (tool, name), choice in shared.items():
        if len(choice.options) > 1:
            rule = {"rule": "oneof", "values": list(choice.values), **({"omit": True} if choice.may_omit else {})}
            rules.setdefault(tool, {})[pointer(name)] = rule
    return rules


def pointer(name: str) -> str:
    """Return the JSON pointer of an argument."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _object(keys: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    return {key: value for key, value in zip(keys, values, strict=True) if value is not _GONE}
