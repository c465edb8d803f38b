"""The verdict on a step: was the decision right, and if not, what was the first thing wrong with it.

Every failure gets one primary code, the cause nearest to the start of the pipeline: an answer that did not come
cannot name a wrong tool, and a call that cannot be read cannot have a wrong argument. All other findings
are kept beside it. The codes are a contract (``docs/replay.md``).
"""

from collections.abc import Iterator
from typing import Any

from tarx_toollog.model import Outcome
from tarx_toollog.replay.scorers.base import LEAKED, Evidence, Score, is_right

CODES = {
    "server_error": "the server refused the request or broke off",
    "unparsed_tool_call": "the call was written into the text; the server did not see it",
    "truncated": "the token limit cut it off",
    "malformed_json": "the arguments are not a JSON object",
    "unneeded_call": "a call where the log has an answer in text",
    "empty_answer": "neither a call nor text",
    "hallucinated_tool": "a tool that was not offered",
    "wrong_tool": "another tool than in the log",
    "missing_call": "fewer calls than the log has",
    "extra_call": "more calls than the log has",
    "missing_required": "a required argument is missing",
    "unknown_arg": "an argument that the tool does not have",
    "arg_type": "an argument of another type",
    "arg_enum": "an argument outside the allowed values",
    "arg_missing_optional": "an optional argument of the log is missing",
    "arg_extra": "an optional argument that the log does not have",
    "arg_value": "an argument with another value",
}
"""Every failure code, in order of precedence, with its explanation."""

_RANK = {code: rank for rank, code in enumerate(CODES)}
_CUT = "length"


def step(evidence: Evidence) -> Score:
    """1 when the decision is right: call or no call, the tools, and the arguments (standard profile)."""
    findings = list(_findings(evidence))
    if not findings:
        return Score(1.0)
    findings.sort(key=lambda finding: _RANK[finding["code"]])  # stable: within one code, in order of the calls
    return Score(0.0, {"code": findings[0]["code"], "findings": findings})


def _findings(evidence: Evidence) -> Iterator[dict[str, Any]]:
    answer = evidence.answer
    if answer.outcome != Outcome.COMPLETED:
        yield {"code": "server_error", "outcome": answer.outcome, "error": answer.error}
        return
    if evidence.leaked:
        yield {
            "code": "unparsed_tool_call",
            "names": [call.name for call in evidence.leaked],
            "would_have_been_right": evidence.would_match(evidence.made + evidence.leaked),
        }
    yield from _unreadable(evidence)
    if evidence.wants_calls:
        yield from _against_calls(evidence)
    elif evidence.made:
        yield {"code": "unneeded_call", "names": [call.name for call in evidence.made]}
    elif not (answer.text or "").strip():
        yield {"code": "truncated" if answer.finish_reason == _CUT else "empty_answer"}


def _unreadable(evidence: Evidence) -> Iterator[dict[str, Any]]:
    native = (call for call in evidence.answer.calls if call.origin != LEAKED)
    for call, made in zip(native, evidence.made, strict=True):
        if made.arguments is None:
            cut = not call.complete or evidence.answer.finish_reason == _CUT
            yield {"code": "truncated" if cut else "malformed_json", "name": call.name, "arguments": call.arguments}
        if not call.offered:
            yield {"code": "hallucinated_tool", "name": call.name}


def _against_calls(evidence: Evidence) -> Iterator[dict[str, Any]]:
    if not evidence.made:
        if not evidence.leaked:
            cut = evidence.answer.finish_reason == _CUT
            yield {
                "code": "truncated" if cut else "missing_call",
                "names": [call.name for call in evidence.step.expected],
            }
        return
    for pair in evidence.pairs:
        if is_right((pair,)):
            continue
        if pair.actual is None and pair.expected is not None:
            yield {"code": "missing_call", "names": [pair.expected.name]}
        elif pair.expected is None and pair.actual is not None:
            yield {"code": "extra_call", "names": [pair.actual.name]}
        elif pair.expected is not None and pair.actual is not None and not pair.same_tool:
            yield {"code": "wrong_tool", "expected": pair.expected.name, "actual": pair.actual.name}
        for difference in pair.differences:
            yield {"name": pair.expected.name if pair.expected else "", **difference.to_json()}
