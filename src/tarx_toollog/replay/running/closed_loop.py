"""The closed loop: a model makes a turn by itself, with recorded results in the place of its tools.

Theory. The model is asked with the messages of the first step. Its own answer and the results of its own calls are
appended, in the form in which a client that calls tools sends them, and it is asked again, until the turn ends
(``course``). So a mistake has its consequences, which the logged history of a teacher-forced run hides. Calls that
leaked into a text are not executed: no client would see them.

The logged client may have sent its answers back with more than role, text and calls (reasoning, for one). What it sent
back is sent back here, and nothing else.

A turn is one unit of work. Its trials mean nothing without each other, so they are recorded together when it is over.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tarx_toollog.model import Exchange, LoggedCall
from tarx_toollog.replay.running.asking import Verdict
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.turns.course import Course, LoopOptions, Made
from tarx_toollog.store.replays import Answer
from tarx_toollog.store.verdicts import judge_calls

Ask = Callable[[ScenarioStep], Awaitable[tuple[Verdict, Exchange]]]
"""Sends one request made of a step's messages, tools and parameters, and says what the exchange means."""

_KEPT = frozenset({"role", "content", "tool_calls"})


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer of the model on its way through the turn: a trial."""

    step_no: int
    """From 1, in the order in which they came."""
    step: ScenarioStep
    """What it was shown."""
    verdict: Verdict
    exchange: Exchange


async def ask_turn(scenario: Scenario, ask: Ask, options: LoopOptions) -> AsyncIterator[Decision]:
    """Play one attempt at a turn; yield each decision when it is there.

    The last decision is the one that ended the turn. A turn whose last decision is neither ``OK`` nor ``MODEL_ERROR``
    says nothing about the model, and has to be asked again from its beginning.

    Args:
        scenario: One that can be looped (``turns.playable``).
        ask: Sends the request for a step. The messages behind those of the scenario's first step are the model's own,
            and have to be sent as they are, whatever is done to a history from the log.
        options: How.
    """
    course = Course(scenario, options)
    messages = list(scenario.steps[0].messages)
    kept, used = _sent_back(scenario), set[str]()
    while course.ending is None:
        step = _step(scenario, len(course.answers), messages)
        verdict, exchange = await ask(step)
        yield Decision(step.step_no, step, verdict, exchange)
        if verdict not in (Verdict.OK, Verdict.MODEL_ERROR):
            return
        made = course.take(answer_of(exchange))
        messages += _messages(exchange, made, kept, used)


def answer_of(exchange: Exchange) -> Answer:
    """Return what a model answered, as the store gives it again."""
    choices = exchange.response.choices if exchange.response is not None else ()
    if not choices:
        return Answer(outcome=exchange.outcome, error=exchange.error_text)
    judged = judge_calls(exchange.request, exchange.response)
    choice = choices[0]
    calls = []
    for call in (*choice.message.tool_calls, *choice.leaked_calls):
        found = judged[call.choice, call.ordinal]
        states = found.argument_state, found.schema_state, found.offered, call.complete, call.origin
        calls.append(LoggedCall("", call.name, call.arguments, *states, call.call_id))
    text = choice.message.text or None
    return Answer(tuple(calls), text, exchange.outcome, choice.finish_reason, exchange.error_text)


def _step(scenario: Scenario, number: int, messages: Sequence[Mapping[str, Any]]) -> ScenarioStep:
    """Return what to ask at a decision: tools and parameters are those of the same step in the log, or of its last."""
    logged = scenario.steps[min(number, len(scenario.steps) - 1)]
    return replace(logged, step_no=number + 1, messages=tuple(messages))


def _messages(exchange: Exchange, made: Sequence[Made], kept: frozenset[str], used: set[str]) -> list[dict[str, Any]]:
    """Return what the next request has more: the model's own message, and a result for each of its calls."""
    if not made or exchange.response is None:
        return []
    raw = exchange.response.choices[0].message.raw
    calls = [
        {
            "id": _unused(one.logged.call_id, used),
            "type": "function",
            "function": {"name": one.call.name, "arguments": one.logged.arguments},
        }
        for one in made
    ]
    own = {"role": "assistant", "content": None, **{key: raw[key] for key in raw if key in kept}, "tool_calls": calls}
    results = (
        {"role": "tool", "tool_call_id": call["id"], "content": one.text} for call, one in zip(calls, made, strict=True)
    )
    return [own, *results]


def _unused(call_id: str, used: set[str]) -> str:
    """Return an id that no other call of the turn has, and note it: servers have given one twice."""
    number, free = 1, call_id
    while free in used:
        number += 1
        free = f"{call_id}-{number}"
    used.add(free)
    return free


def _sent_back(scenario: Scenario) -> frozenset[str]:
    """Return the members of its own messages that the model is shown again."""
    own = scenario.steps[-1].messages[len(scenario.steps[0].messages) :]
    return _KEPT.union(*(message for message in own if message.get("role") == "assistant"))
