"""The rules for labels that are built in. Pure: turns in, findings out.

*Theory.* A rule's word drops an answer from training and from tests. So these would rather say nothing than something
wrong: a "No" that answers a question of the model is none against it, and a call that is made again as it was says that
the tool failed, not the model. The words are English; a rule for another language is a plug-in.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tarx_toollog.canonical import canonical_json, parse_arguments
from tarx_toollog.model import LoggedCall, Step, Trajectory
from tarx_toollog.store.labels import QUALITY, Target
from tarx_toollog.wire.openai_fields import text_of

_NO = re.compile(
    r"\s*(?:no|nope)\s*[,.!;:–—-]+\s*(?!thank|problem|worr|need|nothing|not (?:now|yet)|leave|"
    r"(?:that|it)['’]?s (?:all|fine|ok|it\b|good|great)|i['’]?m (?:good|fine|ok|done))\w",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"\s*(?:(?:no|nope|sorry|wait|hm+|actually)\b[\s,.!;:–—-]*)?(?:"
    r"(?:that|this|it)(?:['’]s| is| was) (?:wrong|incorrect|not (?:what|right|correct))|"
    r"(?:that|this|it) (?:isn|wasn)['’]?t (?:what|right|correct)|"
    r"wrong\s*[,.!:;]|you (?:misunderstood|misread|got (?:it|that) wrong|made a mistake)|"
    r"i (?:meant|said|asked (?:for|you)|(?:didn['’]?t|did not) (?:ask|mean|say|want))\b|"
    r"not what i (?:asked|meant|said|wanted))",
    re.IGNORECASE,
)
_SOON = 2  # turns after an answer in which a correction may be about it


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of one target."""

    target: Target
    comment: str
    """Why, for people."""
    value: float = -1.0
    """1 is good, -1 is bad."""
    name: str = QUALITY


def user_corrected(turns: Sequence[Trajectory]) -> Iterator[Finding]:
    """Find answers that the user corrected in one of the next two turns."""
    for place, turn in enumerate(turns):
        blamed = _blamed(turns, place)
        if blamed is not None and _is_against(_user_text(turn), _answer(blamed.steps[-1])):
            comment = f"the user corrected it in turn {turn.turn_no}"
            yield Finding(Target("exchange", blamed.steps[-1].exchange_uid), comment)


def retried_after_error(turns: Sequence[Trajectory]) -> Iterator[Finding]:
    """Find calls that came back with an error and were right with other arguments."""
    for turn in turns:
        for place, step in enumerate(turn.steps):
            later = [call for other in turn.steps[place + 1 :] for call in other.tool_calls]
            well = [call for call in later if call.result_is_error is False]
            for call in step.tool_calls:
                again = next((other for other in well if other.name == call.name), None)
                # Made again as it was: then the tool failed, and not the model.
                if call.result_is_error and again is not None and _arguments(call) != _arguments(again):
                    comment = "its result was an error; with other arguments it came back well"
                    yield Finding(Target("tool_call", call.uid), comment)


def _blamed(turns: Sequence[Trajectory], place: int) -> Trajectory | None:
    """Return the turn that a correction is about: the latest one, unless only the one before it called a tool."""
    now = turns[place]
    before = [one for one in turns[max(place - _SOON, 0) : place] if one.steps and now.turn_no - one.turn_no <= _SOON]
    if not before:
        return None
    with_calls = [one for one in before if one.signature]
    return (with_calls or before)[-1]


def _is_against(said: str, answer: str) -> bool:
    if _WRONG.match(said):
        return True
    return bool(_NO.match(said)) and "?" not in answer


def _user_text(turn: Trajectory) -> str:
    messages = turn.steps[0].messages if turn.steps else ()
    said = [message.get("content") for message in messages if message.get("role") == "user"]
    return text_of(said[-1]) if said else ""


def _answer(step: Step) -> str:
    return text_of((step.output or {}).get("content"))


def _arguments(call: LoggedCall) -> bytes | str:
    value = parse_arguments(call.arguments).value
    return call.arguments if value is None else canonical_json(value)
