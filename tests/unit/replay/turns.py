"""Turns of a log, and answers of a model that makes them by itself, written as one line a call."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.model import LoggedCall, ToolCall
from tarx_toollog.replay.matching import Call, Rules
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep, TurnCall
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.replay.turns.turn_scoring import judge_turn
from tarx_toollog.store.replays import Answer, ScoreRow
from tarx_toollog.store.verdicts import judge_call
from tarx_toollog.wire.openai_chat import tool_from_raw
from tests.unit.replay.support import Json, tool

TEXT: Json = {"type": "string"}
OFFERED = [
    tool("find_user", {"name": TEXT}, ["name"]),
    tool("read_note", {"name": TEXT}, ["name"]),
    tool("send", {"to": TEXT, "text": TEXT}, ["to", "text"]),
    tool("pay", {"to": TEXT, "amount": {"type": "number"}}, ["to", "amount"]),
]
_TOOLS = {found.name: found for found in map(tool_from_raw, OFFERED)}


class Logged(NamedTuple):
    """A call of the log, and what came back."""

    name: str
    arguments: Mapping[str, Any]
    result: str | None = "ok"
    is_error: bool = False

    @property
    def call(self) -> Call:
        return Call(self.name, self.arguments)


def turn(
    *steps: Sequence[Logged],
    user: str = "Write to Ann.",
    expected: Mapping[int, Sequence[Logged]] | None = None,
    alternatives: Mapping[int, Sequence[Sequence[Logged]]] | None = None,
    rules: Rules | None = None,
    asks: bool = False,
    tools: Sequence[Json] = OFFERED,
) -> Scenario:
    """Return a turn of the log that ends with an answer in text.

    Args:
        steps: For each step its calls.
        user: What the user says.
        expected: By number of the step what is expected where that is not what was logged.
        alternatives: By number of the step what else is right.
        rules: What else is right for arguments.
        asks: Whether the answer has to be a question.
        tools: What is offered.
    """
    messages: list[Json] = [{"role": "user", "content": user}]
    frozen = []
    for number, calls in enumerate([*steps, ()], start=1):
        entries = [
            {
                "id": f"log{number}{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for place, call in enumerate(calls)
        ]
        answer: Json = {"role": "assistant", "content": "" if entries else "Done."}
        answer |= {"tool_calls": entries} if entries else {}
        right = (expected or {}).get(number, calls)
        frozen.append(
            ScenarioStep(
                step_no=number,
                exchange_uid=f"e{number}",
                messages=tuple(messages),
                tools=tuple(tools),
                params={"model": "base", "max_tokens": 120},
                expected=tuple(call.call for call in right),
                recorded=Recorded(answer, "tool_calls" if entries else "stop", "base"),
                alternatives=tuple(tuple(one.call for one in other) for other in (alternatives or {}).get(number, ())),
                rules=rules or {},
                asks=asks and not entries,
            )
        )
        messages.append(answer)
        for entry, call in zip(entries, calls, strict=True):
            messages.append({"role": "tool", "tool_call_id": entry["id"], "content": call.result})
    recording = tuple(
        TurnCall(number, call.name, call.arguments, call.result, call.is_error)
        for number, calls in enumerate(steps, start=1)
        for call in calls
    )
    return Scenario("c", 1, tuple(frozen), recording=recording)


def calls(*made: Logged | tuple[str, Any], leaked: bool = False, cut: bool = False) -> Answer:
    """Return an answer with calls; arguments that are text are taken as they are."""
    entries: list[LoggedCall] = []
    for one in made:
        text = one[1] if isinstance(one[1], str) else json.dumps(one[1])
        states = judge_call(ToolCall(one[0], text, "id", complete=not cut), _TOOLS)
        state = parse_arguments(text, complete=not cut).state
        origin = "leaked_text" if leaked else "native"
        entries.append(
            LoggedCall(
                "", one[0], text, state, states.schema_state, states.offered, not cut, origin, f"id{len(entries)}"
            )
        )
    return Answer(tuple(entries), finish_reason="length" if cut else "tool_calls", text="<call>" if leaked else None)


def says(text: str = "Done.") -> Answer:
    """Return an answer in text."""
    return Answer(text=text, finish_reason="stop")


def judged(scenario: Scenario, *answers: Answer, **options: Any) -> dict[str, ScoreRow]:
    """Return the scores of a turn, without simulators unless they are named."""
    return judge_turn(scenario, answers, LoopOptions(**{"simulators": (), **options}))


def values(scores: Mapping[str, ScoreRow]) -> tuple[float | None, ...]:
    """Return the verdicts by the strict, the standard and the lenient profile."""
    return tuple(scores[name].value for name in ("chain_strict", "chain", "chain_lenient"))


def code(scores: Mapping[str, ScoreRow]) -> str | None:
    """Return the primary failure code."""
    found: str | None = scores["chain"].detail.get("code")
    return found


def found(scores: Mapping[str, ScoreRow]) -> list[str]:
    """Return the codes of all findings."""
    return [finding["code"] for finding in scores["chain"].detail["findings"]]
