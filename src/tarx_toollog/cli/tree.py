"""A conversation as a tree: a line for each step, with the branches beside the main line."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tarx_toollog.cli.output import cell_text
from tarx_toollog.store.answers.call_words import faults_of
from tarx_toollog.store.answers.conversation_trace import (
    Branch,
    CallTrace,
    ConversationTrace,
    Shown,
    StepTrace,
    TurnTrace,
)

_LINE = 60  # characters of a text: the rest is what `show` without --tree is for


def tree_text(parts: Sequence[ConversationTrace]) -> str:
    """Return a conversation that was read in parts."""
    first = parts[0]
    own = f" ({first.external_id})" if first.external_id else ""
    lines = [f"conversation {first.uid}{own}  {cell_text(first.first_at)}"]
    for part in parts:
        for turn in part.turns:
            lines += _turn(turn)
    return "\n".join(lines)


def tree_value(parts: Sequence[ConversationTrace]) -> dict[str, Any]:
    """Return the same for ``--json``: which step continues which turn, and what stands beside it."""
    first = parts[0]
    turns: dict[int, dict[str, Any]] = {}
    for turn in (turn for part in parts for turn in part.turns):
        facts = {"turn_no": turn.turn_no, "status": turn.status, "signature": turn.signature}
        kept = turns.setdefault(turn.turn_no, facts | {"user_text": _text(turn.user), "steps": [], "branches": []})
        kept["steps"] += map(_step_value, turn.steps)
        kept["branches"] += map(_branch_value, turn.branches)
    names = ("external_id", "source", "split", "first_at", "last_at", "n_turns", "n_steps", "n_calls")
    facts = {"conversation_uid": first.uid} | {name: getattr(first, name) for name in names}
    return facts | {"turns": list(turns.values())}


def _turn(turn: TurnTrace) -> Iterator[str]:
    is_continued = bool(turn.steps) and turn.steps[0].step_no != 1
    if not is_continued:
        yield ""
        yield f"turn {turn.turn_no}, {turn.status}: {_short(turn.user)}"
    last = len(turn.steps) - 1
    for place, step in enumerate(turn.steps):
        yield f"{'└─' if place == last and not turn.branches else '├─'} {_step(step)}"
    for place, branch in enumerate(turn.branches):
        is_last = place == len(turn.branches) - 1
        yield f"{'└─' if is_last else '├─'} {_kind(branch)}"
        for step in branch.steps:
            yield f"{'   ' if is_last else '│  '}└─ {_step(step)}"
    if turn.n_branches > len(turn.branches):
        yield f"   {turn.n_branches - len(turn.branches)} more branches"


def _kind(branch: Branch) -> str:
    return "answered another time" if branch.asked is None else f"asked otherwise: {_short(branch.asked)}"


def _step(step: StepTrace) -> str:
    ending = "" if step.outcome == "completed" else f"  {step.outcome}"
    what = ", ".join(map(_call, step.calls)) or _short(step.answer)
    return f"step {step.step_no}{ending}  {what}  [{step.uid}]"


def _call(call: CallTrace) -> str:
    faults = faults_of(call)
    result = "no result" if call.result is None else "error" if call.result_is_error else "ok"
    return f"{call.name} ({', '.join([*faults, result])})"


def _short(text: Shown | None) -> str:
    line = " ".join(_text(text).split())
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"


def _text(text: Shown | None) -> str:
    return "" if text is None else text.text


def _step_value(step: StepTrace) -> dict[str, Any]:
    calls: Iterable[dict[str, Any]] = (
        {"call_uid": call.uid, "name": call.name, "faults": faults_of(call), "result_is_error": call.result_is_error}
        for call in step.calls
    )
    return {
        "exchange_uid": step.uid,
        "step_no": step.step_no,
        "outcome": step.outcome,
        "calls": list(calls),
        "answer": _text(step.answer),
    }


def _branch_value(branch: Branch) -> dict[str, Any]:
    return {
        "user_text": None if branch.asked is None else branch.asked.text,
        "steps": list(map(_step_value, branch.steps)),
    }
