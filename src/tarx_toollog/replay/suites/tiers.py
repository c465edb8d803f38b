"""What is expected at a step, and how far that is to be trusted. Pure.

*Theory.* The log says what a model did. Whether that was right, somebody has to say, and how much a word is worth
depends on who said it. So every expectation has a tier:

* *gold*: a person wrote it down, or looked at the logged answer and said that it is good;
* *silver*: the user, a rule or a model approved of the logged answer, its calls came back well, and nobody was against
  what happened in the next two turns;
* *corrected*: the logged answer went wrong, and another took its place: the model made the same calls again in the same
  turn, and they came back well; or a rule or a model said what would have been right;
* *bronze*: it was logged, and nothing speaks against it.

A logged decision that is bad in itself is none of these, and neither is one that somebody called bad: there nothing is
expected until a person says what would have been right. A retry is no answer to the first question when it needs what
only the error told; then it is not taken.

The words of people come before those of rules and models; of equal ones the latest counts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tarx_toollog.canonical import Json, parse_arguments
from tarx_toollog.model import LoggedCall, Outcome, Step
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.provenance import origins
from tarx_toollog.replay.scenario import BRONZE, CORRECTED, GOLD, SILVER
from tarx_toollog.replay.scorers.phrases import says_nothing
from tarx_toollog.store.labels import (
    ASK,
    QUALITY,
    THUMBS,
    LabelRow,
    calls_of,
    is_bad_label,
    is_good_label,
)
from tarx_toollog.wire.openai_chat import tool_from_raw

NEEDS_LABEL = {
    "not_completed": "the exchange did not complete: it needs a label",
    "no_output": "the log holds no answer: it needs a label",
    "logged_call_is_bad": "the logged call is invalid, cut off, not offered or against its schema: it needs a label",
    "logged_call_failed": "the logged call came back with an error: it needs a label",
    "empty_answer": "the answer was empty: it needs a label",
    "labelled_bad": "somebody said that the answer is bad, and nobody what would have been right: it needs a label",
    "bad_correction": "what somebody said would have been right cannot be read: it needs a label",
}
"""Why a step has no expectation until somebody says what would have been right."""

LabelsByTarget = Mapping[str, Sequence[LabelRow]]
_MADE = ("native", "legacy_function")
_HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected at a step."""

    calls: tuple[Call, ...]
    """None: an answer in text."""
    tier: str
    asks: bool = False
    """Whether that answer should ask the user."""


def expectation(
    steps: Sequence[Step],
    place: int,
    labels: LabelsByTarget,
    *,
    turn_labels: Sequence[LabelRow] = (),
    is_disputed: bool = False,
) -> Expectation | str:
    """Return what is expected at a step, or why nothing is: a key of ``NEEDS_LABEL``.

    Args:
        steps: Those of the turn.
        place: Which of them.
        labels: What was said about exchanges and calls, by uid.
        turn_labels: What was said about the conversation.
        is_disputed: Whether somebody was against what happened in the next two turns.
    """
    step = steps[place]
    if (corrected := _corrected(step, labels)) is not None:
        return corrected
    rows = labels_of(step, labels)
    flaw = flaw_of(step)
    # A tool may fail though the call was right: a person who looked at it knows.
    if flaw in (None, "logged_call_failed") and _is_verified(step, labels) and not _is_called_bad(rows, by_people=True):
        return Expectation(logged_calls(step), GOLD)
    if flaw is None and _is_called_bad((*turn_labels, *rows), by_people=False):
        return "labelled_bad"
    if flaw is not None:
        return _retried(steps, place, labels) or flaw
    approvals = [row for row in (*turn_labels, *rows) if row.name in (QUALITY, THUMBS) and is_good_label(row)]
    came_back_well = all(call.result_is_error is False for call in step.tool_calls)
    is_silver = bool(approvals) and came_back_well and not is_disputed
    return Expectation(logged_calls(step), SILVER if is_silver else BRONZE)


def flaw_of(step: Step) -> str | None:
    """Return what is wrong with the logged decision itself, a key of ``NEEDS_LABEL``; None where nothing is."""
    if step.outcome != Outcome.COMPLETED:
        return "not_completed"
    if step.output is None:
        return "no_output"
    if any(map(_is_bad, (*step.tool_calls, *step.leaked_calls))):
        return "logged_call_is_bad"
    if any(call.result_is_error for call in step.tool_calls):
        return "logged_call_failed"
    return None if step.tool_calls or has_text(step.output.get("content")) else "empty_answer"


def has_text(content: Json) -> bool:
    """Say whether the content of a message says something: a string, or parts one of which does."""
    if isinstance(content, list):
        return any(has_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return isinstance(content, str) and not says_nothing(content)


def labels_of(step: Step, labels: LabelsByTarget) -> list[LabelRow]:
    """Return what was said about an exchange and its calls."""
    targets = (step.exchange_uid, *(call.uid for call in (*step.tool_calls, *step.leaked_calls)))
    return [row for uid in targets for row in labels.get(uid, ())]


def is_opposed(step: Step, labels: LabelsByTarget) -> bool:
    """Say whether somebody said that an answer is bad, or that something else would have been right."""
    return any(map(is_bad_label, labels_of(step, labels)))


# ---- what somebody wrote down ---------------------------------------------------------------------------------------


def _corrected(step: Step, labels: LabelsByTarget) -> Expectation | str | None:
    # A call that leaked into the text is no part of an answer that could be replaced: its correction is the answer.
    on_answer = (step.exchange_uid, *(call.uid for call in step.leaked_calls))
    whole = _latest(row for uid in on_answer for row in labels.get(uid, ()))
    by_call = [(call, _latest(labels.get(call.uid, ()))) for call in step.tool_calls]
    used = [whole] if whole is not None else [row for _, row in by_call if row is not None]
    if not used:
        return None
    calls: list[Call] = []
    for call, row in [(None, whole)] if whole is not None else by_call:
        made = _written(row.correction) if row is not None else _as_logged(call)
        if made is None:
            return "bad_correction"
        calls += made
    tier = GOLD if all(row.annotator_kind == _HUMAN for row in used) else CORRECTED
    asks = not calls and any(row.correction == ASK for row in used)
    return Expectation(tuple(calls), tier, asks)


def _latest(rows: Iterable[LabelRow]) -> LabelRow | None:
    found = [row for row in rows if row.correction is not None]
    return max(found, key=lambda row: (row.annotator_kind == _HUMAN, row.id), default=None)


def _written(correction: Json) -> list[Call] | None:
    if (made := calls_of(correction)) is None:
        return None
    calls = [Call(name, _read(arguments)) for name, arguments in made]
    return None if any(call.arguments is None for call in calls) else calls


def _as_logged(call: LoggedCall | None) -> list[Call] | None:
    """Return a call that nobody corrected beside one that somebody did; None when it is wrong, too."""
    return None if call is None or _is_bad(call) or call.result_is_error else [_call(call)]


def _read(arguments: Json) -> Mapping[str, Json] | None:
    return parse_arguments(arguments).value if isinstance(arguments, str) else arguments


# ---- what somebody said about it ------------------------------------------------------------------------------------


def _is_verified(step: Step, labels: LabelsByTarget) -> bool:
    """Say whether a person said that the logged answer is good: the whole of it, or each of its calls."""

    def is_good(uid: str) -> bool:
        rows = labels.get(uid, ())
        return any(row.annotator_kind == _HUMAN and row.name == QUALITY and is_good_label(row) for row in rows)

    calls = step.tool_calls
    return is_good(step.exchange_uid) or (bool(calls) and all(is_good(call.uid) for call in calls))


def _is_called_bad(rows: Iterable[LabelRow], *, by_people: bool) -> bool:
    return any(is_bad_label(row) and (row.annotator_kind == _HUMAN or not by_people) for row in rows)


# ---- what was made again --------------------------------------------------------------------------------------------


def _retried(steps: Sequence[Step], place: int, labels: LabelsByTarget) -> Expectation | None:
    """Return the calls of the next answer that is not wrong, if they mend those of a wrong one."""
    wrong = steps[place]
    failed = (*wrong.tool_calls, *wrong.leaked_calls)
    retry = next((step for step in steps[place + 1 :] if flaw_of(step) is None), None)
    if retry is None or not failed or not retry.tool_calls or is_opposed(retry, labels):
        return None
    wanted = Counter(call.name for call in failed if call.offered)
    made = Counter(call.name for call in retry.tool_calls)
    # In the place of a tool that was not offered any other may do; all else that was asked for must be there again.
    is_whole = wanted == made if all(call.offered for call in failed) else wanted <= made
    came_back_well = all(call.result_is_error is False for call in retry.tool_calls)
    calls = logged_calls(retry)
    if not is_whole or not came_back_well or not _could_know(wrong, retry, calls) or calls == logged_calls(wrong):
        return None
    return Expectation(calls, CORRECTED)


def _could_know(wrong: Step, retry: Step, calls: Sequence[Call]) -> bool:
    """Say whether no value of a retry stands only in what was said between the two, and not by the model."""
    if not {call.name for call in calls} <= {tool_from_raw(dict(tool)).name for tool in wrong.tools}:
        return False
    between = [one for one in retry.messages if one not in wrong.messages and one.get("role") != "assistant"]
    offered = {"role": "system", "content": json.dumps(wrong.tools, ensure_ascii=False)}
    before = [offered, *wrong.messages, {"role": "assistant", **(wrong.output or {})}]
    return all(_found(call, between) <= _found(call, before) for call in calls)


def _found(call: Call, messages: Sequence[Mapping[str, Json]]) -> set[str]:
    """Return the paths of the arguments whose values stand in messages."""
    return {origin.path for origin in origins(call, messages) if origin.message is not None}


def _is_bad(call: LoggedCall) -> bool:
    # A call that leaked into the text was not made; whether it should have been is for a person to say.
    readable = call.argument_state in ("ok", "empty") and call.complete and call.origin in _MADE
    return not readable or not call.offered or call.schema_state == "fail"


def logged_calls(step: Step) -> tuple[Call, ...]:
    """Return the calls of the logged answer, read."""
    return tuple(map(_call, step.tool_calls))


def _call(call: LoggedCall) -> Call:
    return Call(call.name, parse_arguments(call.arguments).value)
