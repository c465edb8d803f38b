"""Are calls right by BFCL's rules? Pure: a case and calls in, findings out; none means that BFCL accepts them.

*Theory.* This profile is for comparing with published figures, not for gates. It takes over what BFCL does, also where
the standard profile (``replay.matching``) knows better:

- a value has exactly the type of the schema, so ``5.0`` is no integer; only for a number an integer will do, and within
  an array not even there. A parameter without a type counts as text. A value may also have the type of the first
  accepted value: where that is not the schema's type, nothing is folded, and the value has to be equal;
- text compares in lower case, with one kind of quotes, and without blanks and ``, . / - _ * ^``;
- arrays keep their order, and only text directly in them is folded. So it is in an object, which is compared one level
  deep and without types. An empty array counts as left out;
- ``default``, ``enum`` and everything else in a schema is never read.

In one point it differs. BFCL gives each expected call the first made call that fits, and so refuses right calls in an
unlucky order. Here calls are paired so that the whole costs least, which also blames the right call.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.replay.bfcl.cases import OMITTED, AcceptedCall, BfclCase, Expects
from tarx_toollog.replay.matching import Call, cheapest_assignment
from tarx_toollog.replay.scorers.findings import CODES, Finding

_RANK = {code: rank for rank, code in enumerate(CODES)}
_TYPES: Mapping[Json, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}
_NO_TYPE = str
_FOLDED = re.compile(r"[ ,./\-_*^]")

# Costs of a pairing, as in ``replay.matching``: another tool costs more than any difference within a tool, and a call
# without a partner nothing, because how many there are is given.
_OTHER_TOOL = 100
_UNREADABLE = 51
_MOST_DIFFERENCES = 50
_UNPAIRED = 0


def check_calls(case: BfclCase, calls: Sequence[Call]) -> tuple[Finding, ...]:
    """Return what is wrong with the calls of an answer, the primary code first; nothing when BFCL accepts them.

    The detail of a finding has the ``name`` of the tool, the position of the made ``call`` from 0 and, when it is about
    an argument, its ``path`` (a JSON pointer) with the ``expected`` values and the ``actual`` one.
    """
    if case.expects is Expects.CALLS:
        found = _against_accepted(case, calls)
        return tuple(sorted(found, key=lambda finding: _RANK[finding.code]))
    # BFCL asks here only whether an answer can be read as calls, and one that cannot be read spoils the whole.
    made = bool(calls) and all(call.arguments is not None for call in calls)
    if case.expects is Expects.NO_CALL:
        return tuple(_of_call("unneeded_call", calls, place) for place in range(len(calls)) if made)
    return () if made else (Finding("missing_call", {}),)


def _against_accepted(case: BfclCase, calls: Sequence[Call]) -> list[Finding]:
    schemas, expected = case.schemas, case.accepted
    found = [[_compare(one, calls, place, schemas) for place in range(len(calls))] for one in expected]
    size = max(len(expected), len(calls))
    costs = [
        [_cost(one, call, found[i][j]) for j, call in enumerate(calls)] + [_UNPAIRED] * (size - len(calls))
        for i, one in enumerate(expected)
    ]
    costs += [[_UNPAIRED] * size for _ in range(size - len(expected))]
    findings: list[Finding] = []
    for i, j in enumerate(cheapest_assignment(costs)):
        if i < len(expected) and j < len(calls):
            findings += found[i][j]
        elif i < len(expected):
            findings.append(Finding("missing_call", {"name": expected[i].name}))
        else:
            findings.append(_of_call("extra_call" if calls[j].name in schemas else "hallucinated_tool", calls, j))
    return findings


def _of_call(code: str, calls: Sequence[Call], place: int) -> Finding:
    return Finding(code, {"name": calls[place].name, "call": place})


def _cost(expected: AcceptedCall, made: Call, found: Sequence[Finding]) -> int:
    if expected.name != made.name:
        return _OTHER_TOOL
    return _UNREADABLE if made.arguments is None else min(len(found), _MOST_DIFFERENCES)


def _compare(
    expected: AcceptedCall, calls: Sequence[Call], place: int, schemas: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    made = calls[place]
    if made.name != expected.name:
        return [_of_call("wrong_tool" if made.name in schemas else "hallucinated_tool", calls, place)]
    if made.arguments is None:
        return [_of_call("malformed_json", calls, place)]
    return [
        Finding(code, {"name": made.name, "call": place, "path": _pointer(parameter), **values})
        for code, parameter, values in _faults(expected.arguments, made.arguments, schemas[made.name])
    ]


def _faults(
    expected: Mapping[str, Sequence[Json]], made: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield code and parameter of each argument that is wrong, with the values."""
    properties, required = schema.get("properties", {}), schema.get("required", ())
    for parameter in required:
        if parameter not in made:
            yield "missing_required", parameter, {"expected": list(expected.get(parameter, ()))}
    for parameter, accepted in expected.items():
        if parameter not in made and parameter not in required and OMITTED not in accepted:
            yield "arg_missing_optional", parameter, {"expected": list(accepted)}
    for parameter, value in made.items():
        if parameter not in properties:
            yield "unknown_arg", parameter, {"actual": value}
        elif parameter not in expected:
            yield "arg_extra", parameter, {"actual": value}
        elif code := _fault(value, expected[parameter], properties[parameter]):
            yield code, parameter, {"expected": list(expected[parameter]), "actual": value}


def _fault(value: Json, accepted: Sequence[Json], schema: Mapping[str, Any]) -> str | None:
    """Return the code of what is wrong with a value, or None."""
    wanted, given = _TYPES.get(schema.get("type"), _NO_TYPE), _first_type(accepted)
    items = schema.get("items", {})
    if type(value) is wanted:
        if isinstance(value, list) and not any(_items_fit(value, one, items) for one in accepted):
            return "arg_type"
    elif type(value) is not given and not (wanted is float and type(value) is int):
        return "arg_type"
    if given not in (wanted, None):
        right = value in accepted
    elif isinstance(value, list) and items.get("type") == "object":
        right = any(_same_objects(value, one) for one in accepted)
    elif wanted is dict:
        right = any(_same_object(value, one) for one in accepted)
    else:
        left_out: Json = [] if wanted is list else OMITTED
        right = _folded(value) in [left_out if one == OMITTED else _folded(one) for one in accepted]
    return None if right else "arg_value"


def _first_type(accepted: Sequence[Json]) -> type | None:
    return next((type(value) for value in accepted if value != OMITTED), None)


def _items_fit(items: Sequence[Json], accepted: Json, schema: Mapping[str, Any]) -> bool:
    if not isinstance(accepted, list):  # may be left out: BFCL reads no types then
        return True
    fitting = (_TYPES.get(schema.get("type"), _NO_TYPE), _first_type(accepted))
    return all(type(item) in fitting for item in items)


def _same_objects(value: Sequence[Json], accepted: Json) -> bool:
    if accepted == OMITTED:
        return not value
    return isinstance(accepted, list) and len(value) == len(accepted) and all(map(_same_object, value, accepted))


def _same_object(value: Json, accepted: Json) -> bool:
    if not isinstance(value, dict) or not isinstance(accepted, dict):
        return False
    left_out = accepted.keys() - value.keys()
    return all(OMITTED in accepted[key] for key in left_out) and all(
        key in accepted and _folded_text(inner) in [_folded_text(one) for one in accepted[key]]
        for key, inner in value.items()
    )


def _folded(value: Json) -> Json:
    return [_folded_text(item) for item in value] if isinstance(value, list) else _folded_text(value)


def _folded_text(value: Json) -> Json:
    return _FOLDED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")
