"""Scorers for single virtues of an answer's calls: readable, the right tool, valid, the right arguments."""

from tarx_toollog.replay.scorers.base import Evidence, Score, is_right
from tarx_toollog.replay.scorers.findings import LEAKED
from tarx_toollog.replay.scorers.step import is_same_json

_DOES_NOT_APPLY = Score(None)
_READABLE = ("ok", "empty")


def parse(evidence: Evidence) -> Score:
    """1 when the arguments of every call are a JSON object; applies to answers with calls.

    A call that was written into the text counts as unreadable: the server did not find it.
    """
    calls = evidence.answer.calls
    if not calls:
        return _DOES_NOT_APPLY
    bad = [
        {"name": call.name, "state": "leaked" if call.origin == LEAKED else call.argument_state}
        for call in calls
        if call.origin == LEAKED or call.argument_state not in _READABLE
    ]
    return Score(float(not bad), {"bad": bad} if bad else {})


def name(evidence: Evidence) -> Score:
    """1 when exactly the expected tools were called; applies where calls are expected."""
    if not evidence.wants_calls:
        return _DOES_NOT_APPLY
    if evidence.same_names:
        return Score(1.0)
    return Score(
        0.0,
        {
            "expected": [call.name for call in evidence.expected],
            "actual": [call.name for call in evidence.made],
        },
    )


def schema(evidence: Evidence) -> Score:
    """1 when every call names an offered tool and fits its schema; applies to answers with calls."""
    calls = [call for call in evidence.answer.calls if call.origin != LEAKED]
    if not calls:
        return _DOES_NOT_APPLY
    bad = [
        {"name": call.name, "offered": call.offered, "arguments": call.argument_state, "schema": call.schema_state}
        for call in calls
        if not call.offered or call.argument_state not in _READABLE or call.schema_state == "fail"
    ]
    return Score(float(not bad), {"bad": bad} if bad else {})


def arguments(evidence: Evidence) -> Score:
    """1 when all arguments mean the same (standard profile); applies where the right tools were called."""
    if not evidence.wants_calls or not evidence.same_names:
        return _DOES_NOT_APPLY
    if is_right(evidence.pairs):
        return Score(1.0)
    return Score(
        0.0,
        {
            "calls": [
                {
                    "name": pair.expected.name,
                    "readable": pair.actual.arguments is not None,
                    "differences": [difference.to_json() for difference in pair.differences],
                }
                for pair in evidence.pairs
                if pair.expected is not None and pair.actual is not None and not is_right((pair,))
            ]
        },
    )


def arguments_strict(evidence: Evidence) -> Score:
    """1 when all arguments are the same JSON; applies where the right tools were called."""
    if not evidence.wants_calls or not evidence.same_names:
        return _DOES_NOT_APPLY
    return Score(float(is_same_json(evidence)))
