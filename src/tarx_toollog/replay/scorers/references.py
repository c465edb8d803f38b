"""Wrong values whose right one was there to be copied: did the model take an outdated one, another one, or none at all?

*Theory.* Only a copied value can be taken from a wrong place; of a generated one, and of a choice that the schema
offers, nobody can say that. A value is outdated when something newer stands in its stead: another result of the same
tool has another value at the same place (of a tool that only reads, the result of the very same call, since another
question has another answer), or it is the argument of an earlier call, and the right one was said after that. What a
result still says later is not outdated.

In doubt the plain code stays: small numbers stand everywhere by chance, and a value whose parts were shown may have
been put together from them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.replay.matching.rules import Rules, rule_for
from tarx_toollog.replay.provenance import copied_from, schema_of
from tarx_toollog.replay.results.recording import suggest_effect
from tarx_toollog.replay.scorers.findings import Finding
from tarx_toollog.replay.shown import Shown, ShownCall, holds, is_same, leaves, read

VALUE = "arg_value"
_INDEX = re.compile(r"/\d+(?=/|\Z)")


def refined(
    found: Sequence[Finding], shown: Shown, schemas: Mapping[str, Mapping[str, Any]], rules: Rules
) -> Iterator[Finding]:
    """Yield the findings, those of copied values with what became of them.

    Args:
        found: All that is wrong.
        shown: What the model was shown.
        schemas: The argument schemas of the offered tools.
        rules: What else is right.
    """
    for finding in found:
        if finding.code == VALUE and _is_copyable(finding.detail):
            name, path = finding.detail["name"], finding.detail["path"]
            rule = rule_for(rules.get(name, {}), path)
            is_prose = rule is not None and rule.kind == "text"
            yield finding if is_prose else _refined(finding, shown, schemas.get(name, {}))
        else:
            yield finding


def _refined(finding: Finding, shown: Shown, schema: Mapping[str, Any]) -> Finding:
    expected, actual = finding.detail["expected"], finding.detail["actual"]
    copied = copied_from(shown.sure_places(expected), shown)
    if copied is None:
        return finding
    detail = {**finding.detail, "expected_at": _place(shown, copied[1])}
    if schema_of(finding.detail["path"], schema).get("default") == actual or actual in _choices(schema):
        return Finding(VALUE, detail)
    stale = _stale(finding.detail, copied[1], shown)
    if stale is not None:
        return Finding("stale_reference", {**detail, "actual_at": _place(shown, stale)})
    taken = copied_from(shown.sure_places(actual), shown)
    if taken is not None:
        return Finding("wrong_reference", {**detail, "actual_at": _place(shown, taken[1])})
    return Finding(VALUE if shown.has_parts_of(actual) else "hallucinated_value", detail)


def _stale(detail: Mapping[str, Any], right_at: int, shown: Shown) -> int | None:
    """Return where the given value stood before something newer came in its stead; None when nothing did."""
    if any(place >= right_at and shown.role(place) == "tool" for place in shown.sure_places(detail["actual"])):
        return None
    returned = _replaced_result(detail["expected"], detail["actual"], shown)
    return returned if returned is not None else _replaced_argument(detail, right_at, shown)


def _replaced_result(expected: Json, actual: Json, shown: Shown) -> int | None:
    """Return the latest result that had the given value where a later one of the same tool has the right one."""
    newer = next((call for call in reversed(_returning(expected, shown)) if _pointers(call, expected)), None)
    if newer is None:
        return None
    where = _pointers(newer, expected)
    before = (call for call in _returning(actual, shown) if call.result_place < newer.result_place)
    of_same = [call for call in before if call.name == newer.name]
    if suggest_effect(newer.name) == "read":
        of_same = [call for call in of_same if call.arguments == newer.arguments]
    return next((call.result_place for call in reversed(of_same) if where & _pointers(call, actual)), None)


def _replaced_argument(detail: Mapping[str, Any], right_at: int, shown: Shown) -> int | None:
    """Return the latest call, from before the right value was said, that had the given value as this argument."""
    earlier = [call for call in shown.calls if call.name == detail["name"] and call.place < right_at]
    said = ((call.place, dict(leaves(call.arguments)).get(detail["path"])) for call in reversed(earlier))
    return next((place for place, value in said if value is not None and is_same(value, detail["actual"])), None)


def _returning(value: Json, shown: Shown) -> list[ShownCall]:
    places = frozenset(shown.places(value))
    return [call for call in shown.calls if call.result_place in places]


def _pointers(call: ShownCall, value: Json) -> set[str]:
    """Return where a value stands in the result of a call, without the numbers of arrays."""
    if call.result is None:
        return set()
    return {_INDEX.sub("/*", path) for path, leaf in leaves(read(call.result)) if holds(leaf, value)}


def _is_copyable(detail: Mapping[str, Any]) -> bool:
    values = (detail["expected"], detail["actual"])
    return all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values)


def _choices(schema: Any) -> Iterator[Json]:
    """Yield all values that a schema offers to choose from, wherever it does; references lead to other parts of it."""
    if isinstance(schema, Mapping):
        offered = schema.get("enum")
        yield from offered if isinstance(offered, list) else ()
    for inner in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _choices(inner)


def _place(shown: Shown, place: int) -> dict[str, Any]:
    tools = {call.result_place: call.name for call in shown.calls}
    return {"message": place, "role": shown.role(place), **({"tool": tools[place]} if place in tools else {})}
