"""What is wrong with an answer, each thing with its code.

Every failure gets one primary code, the cause nearest to the start of the pipeline: an answer that did not come
cannot name a wrong tool, and a call that cannot be read cannot have a wrong argument. All other findings
are kept beside it. The codes are a contract (``docs/replay-reference.md``).

A finding is soft when a patient tool would not mind: the lenient profile forgives it.

The codes of a chain are those of a whole turn (``matching.chain`` and closed loops). Those that say why calls are
missing come before ``missing_call``; that nobody can know comes after all that is plainly wrong.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.model import LoggedCall, Outcome
from tarx_toollog.replay.matching import Call, Difference, Pair
from tarx_toollog.replay.scorers.phrases import asks_back, is_refusal, says_nothing

LEAKED = "leaked_text"
"""Origin of a call that the model wrote into its text, where no client would have run it."""

CODES = {
    "server_error": "the server refused the request or broke off",
    "unparsed_tool_call": "the call was written into the text; the server did not see it",
    "truncated": "the token limit cut it off",
    "malformed_json": "the arguments are not a JSON object",
    "should_have_asked": "a call where it should ask for what is missing",
    "unneeded_call": "a call where an answer in text is expected",
    "empty_answer": "neither a call nor text",
    "refused": "it says that it cannot or will not, where a call is expected",
    "asked_instead": "it asks back, where a call is expected",
    "hallucinated_tool": "a tool that was not offered",
    "wrong_tool": "another tool than expected",
    "looped": "it made the same call again and again (chain)",
    "no_recovery_after_error": "it gave up after an error of a tool (chain)",
    "max_steps": "it did not come to an end within the allowed steps (chain)",
    "stopped_early": "it ended the turn before all was done (chain)",
    "missing_call": "fewer calls than expected",
    "extra_call": "more calls than expected",
    "wrong_order": "a call before what has to come first (chain)",
    "missing_required": "a required argument is missing",
    "unknown_arg": "an argument that the tool does not have",
    "arg_type": "an argument of another type",
    "arg_enum": "an argument outside the allowed values",
    "arg_missing_optional": "an optional argument that is expected is missing",
    "arg_extra": "an optional argument that is not expected",
    "stale_reference": "an outdated value: something newer stands in its stead",
    "wrong_reference": "another value that was shown, where one had to be copied",
    "hallucinated_value": "a value that stands nowhere, where one had to be copied",
    "arg_value": "an argument with another value",
    "diverged_undetermined": "it made another call, and nobody knows what would have come back (chain)",
    "arg_type_coerced": "a number or truth value as text, or the other way round (soft)",
    "arg_enum_case": "an allowed value in other letters (soft)",
    "arg_other_words": "a text with the same facts in other words (soft)",
    "redundant_call": "the same question to a tool again (chain, soft)",
}
"""Every failure code, in order of precedence, with its explanation."""

_RANK = {code: rank for rank, code in enumerate(CODES)}
_LAST = len(_RANK)  # of a code that somebody else's scorer has
_CUT = "length"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    code: str
    detail: Mapping[str, Any]
    is_soft: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {"code": self.code, **self.detail, **({"soft": True} if self.is_soft else {})}


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer beside one expectation."""

    expected: Sequence[Call]
    native: Sequence[LoggedCall]
    """The calls that were made."""
    made: Sequence[Call]
    """The same, read."""
    leaked: Sequence[Call]
    pairs: Sequence[Pair]
    leak_is_right: bool
    outcome: str
    finish_reason: str | None
    text: str | None
    error: str | None
    asks: bool = False
    """It should ask for what is missing."""


def findings(seen: Seen) -> tuple[Finding, ...]:
    """Return all that is wrong, the primary cause first; nothing where the decision is right (standard)."""
    return ordered(_findings(seen))


def ordered(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by precedence; those of one code stay in the order of the calls."""
    return tuple(sorted(found, key=lambda finding: (finding.is_soft, _RANK.get(finding.code, _LAST))))


def distance(found: Sequence[Finding]) -> tuple[int, int, int]:
    """Return how far from right an answer is: by what is plainly wrong, by all that is, by how early it went wrong."""
    hard = sum(not finding.is_soft for finding in found)
    return hard, len(found), _LAST - _RANK.get(found[0].code, _LAST) if found else 0


def _findings(seen: Seen) -> Iterator[Finding]:
    if seen.outcome != Outcome.COMPLETED:
        yield Finding("server_error", {"outcome": seen.outcome, "error": seen.error})
        return
    if seen.leaked:
        names = [call.name for call in seen.leaked]
        yield Finding("unparsed_tool_call", {"names": names, "would_have_been_right": seen.leak_is_right})
    yield from _unreadable(seen)
    if seen.expected:
        yield from _against_calls(seen)
    elif seen.made:
        yield Finding(
            "should_have_asked" if seen.asks else "unneeded_call", {"names": [call.name for call in seen.made]}
        )
    elif says_nothing(seen.text):
        yield Finding("truncated" if seen.finish_reason == _CUT else "empty_answer", {})


def _unreadable(seen: Seen) -> Iterator[Finding]:
    for call, made in zip(seen.native, seen.made, strict=True):
        if made.arguments is None:
            is_cut = not call.complete or seen.finish_reason == _CUT
            code = "truncated" if is_cut else "malformed_json"
            yield Finding(code, {"name": call.name, "arguments": call.arguments})
        if not call.offered:
            yield Finding("hallucinated_tool", {"name": call.name})


def _against_calls(seen: Seen) -> Iterator[Finding]:
    if not seen.made:
        if not seen.leaked:
            yield Finding(_why_none(seen), {"names": [call.name for call in seen.expected]})
        return
    for pair in seen.pairs:
        if pair.is_right:
            continue
        if pair.actual is None and pair.expected is not None:
            yield Finding("missing_call", {"names": [pair.expected.name]})
        elif pair.expected is None and pair.actual is not None:
            yield Finding("extra_call", {"names": [pair.actual.name]})
        elif pair.expected is not None and pair.actual is not None and not pair.same_tool:
            yield Finding("wrong_tool", {"expected": pair.expected.name, "actual": pair.actual.name})
        for difference in pair.differences:
            yield _of_argument(pair.expected.name if pair.expected else "", difference)


def _why_none(seen: Seen) -> str:
    """Return the code of an answer in text where calls are expected."""
    if seen.finish_reason == _CUT:
        return "truncated"
    text = seen.text or ""
    if says_nothing(text):
        return "empty_answer"
    return "refused" if is_refusal(text) else "asked_instead" if asks_back(text) else "missing_call"


def _of_argument(name: str, difference: Difference) -> Finding:
    told = difference.to_json()
    return Finding(told.pop("code"), {"name": name, **told}, difference.is_soft)
