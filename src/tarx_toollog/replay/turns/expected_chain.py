"""What is expected of a whole turn: its calls in order, what they need of each other, and where they may vary. Pure.

*Theory.* The chain is what the steps expect, one after the other. Three things make it more than that.

A value that stood nowhere before the turn, and then in a result of it, was taken from there. So its call *needs* the
call of that result; and when a tool says something else this time, what it says now is right, and not the logged value.

A step that was corrected expects what the log did one step later. In the turn as a whole that is to be done once.

A call that failed in the log and was made again in another way did nothing: who gets by without it is no worse.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json
from tarx_toollog.replay.matching import Call, ExpectedCall, Rule, Rules, pair_calls
from tarx_toollog.replay.provenance import leaves, origins
from tarx_toollog.replay.scenario import Scenario, ScenarioStep, TurnCall, offered_schemas

_TELLING = 3
"""Characters that a value needs to stand in a result by more than chance."""
_NOT_SHOWN = frozenset({"default", "enum", "generated"})


class Source(NamedTuple):
    """Where a value of the arguments was taken from."""

    path: str
    """JSON pointer of the argument."""
    logged: int
    """Number of the logged call whose result holds it."""
    pointer: str | None
    """JSON pointer within that result; None when it is no JSON, or holds the value inside a text."""


@dataclass(frozen=True, slots=True)
class Link:
    """One call of the chain."""

    call: Call
    logged: int | None
    """Number of the same call in the log; None where it was not made."""
    step_no: int
    """Step that expects it; the calls of one have no order."""
    sources: tuple[Source, ...] = ()


Chain = tuple[Link, ...]


class Expectation:
    """What is right for a turn.

    Args:
        scenario: The turn.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._steps = scenario.steps
        self._logged = scenario.recording
        self._schemas = {name: found for step in self._steps for name, found in offered_schemas(step).items() if found}
        self.rules: Rules = _rules(self._steps)
        choices: list[tuple[Chain, ...]] = []
        later: Chain = ()
        for step in reversed(self._steps):
            choices.append(self._choices(step, later))
            later = (*choices[-1][0], *later)
        self.choices: tuple[tuple[Chain, ...], ...] = tuple(reversed(choices))
        """For each step the sets of calls that are right; the first is the one that is expected."""

    def to_match(self, chain: Chain) -> list[ExpectedCall]:
        """Return a chain as it is matched: each call with the places of those that it needs."""
        places = _places(chain)
        needed = (frozenset(places[each.logged] for each in link.sources if each.logged in places) for link in chain)
        return [ExpectedCall(link.call, needs, link.step_no) for link, needs in zip(chain, needed, strict=True)]

    def bound(self, chain: Chain, said: Mapping[int, str]) -> Chain:
        """Return a chain with the values that the tools gave this time.

        Args:
            chain: With the values of the log.
            said: By place in the chain what came back for the call that was made for it.
        """
        places = _places(chain)
        return tuple(replace(link, call=self._bound(link, places, said)) for link in chain)

    def _choices(self, step: ScenarioStep, later: Chain) -> tuple[Chain, ...]:
        expected, *others = (self._links(step, calls, later) for calls in (step.expected, *step.alternatives))
        needed = tuple(link for link in expected if not self._was_retried(link, later))
        return (expected, *others) if len(needed) == len(expected) else (expected, needed, *others)

    def _links(self, step: ScenarioStep, calls: Sequence[Call], later: Chain) -> Chain:
        there = [(number, Call(call.name, call.arguments))
                 for number, call in enumerate(self._logged) if call.step_no == step.step_no]  # fmt: skip
        links = []
        for call, partner in zip(calls, self._partners(calls, [one for _, one in there]), strict=True):
            number = next((number for number, one in there if one is partner), None)
            links.append(Link(call, number, step.step_no, tuple(self._sources(step, call))))
        return tuple(link for link in links if link.logged is not None or not self._is_among(link.call, later))

    def _partners(self, calls: Sequence[Call], logged: Sequence[Call]) -> list[Call | None]:
        pairs = pair_calls(calls, logged, self._schemas, self.rules)
        return [pair.actual if pair.is_right else None for pair in pairs if pair.expected is not None]

    def _is_among(self, call: Call, later: Chain) -> bool:
        return any(self._partners([call], [link.call])[0] for link in later if link.logged is not None)

    def _was_retried(self, link: Link, later: Chain) -> bool:
        others = (other.logged for other in later if other.call.name == link.call.name)
        return self._failed(link.logged) and any(other is not None and not self._failed(other) for other in others)

    def _failed(self, logged: int | None) -> bool:
        return logged is not None and self._logged[logged].is_error

    def _sources(self, step: ScenarioStep, call: Call) -> Iterator[Source]:
        """Yield what a call took from results of the turn, and from nowhere else: it had not been said before."""
        before = self._steps[0].messages
        if len(step.messages) <= len(before):
            return
        schema = self._schemas.get(call.name)
        values, known = dict(leaves(call.arguments or {})), origins(call, before, schema)
        logged = _calls_behind(step.messages, len(before), self._logged)
        for now, then in zip(origins(call, step.messages, schema), known, strict=True):
            number = logged.get(now.message) if now.message is not None and now.source == "result" else None
            value = values[now.path]
            if number is not None and then.source in _NOT_SHOWN and len(str(value)) >= _TELLING:
                said = _values(self._logged[number].result_text or "")
                yield Source(now.path, number, next((place for place, found in said.items() if found == value), None))

    def _bound(self, link: Link, places: Mapping[int, int], said: Mapping[int, str]) -> Call:
        arguments = link.call.arguments
        for source in link.sources:
            text = said.get(places.get(source.logged, -1))
            if text is None or source.pointer is None or text == self._logged[source.logged].result_text:
                continue
            value = _values(text).get(source.pointer)
            if value is not None and arguments is not None:
                arguments = _with(arguments, source.path.split("/")[1:], value)
        return Call(link.call.name, arguments)


def never_made(scenario: Scenario) -> list[Call]:
    """Return the expected calls that were not made in the log: nobody knows what would have come back."""
    return [link.call for choices in Expectation(scenario).choices for link in choices[0] if link.logged is None]


def _places(chain: Chain) -> dict[int, int]:
    return {link.logged: place for place, link in enumerate(chain) if link.logged is not None}


def _rules(steps: Sequence[ScenarioStep]) -> dict[str, Mapping[str, Rule]]:
    """Return the rules of all steps: what else is right for a tool at one is right for it in the turn."""
    rules: dict[str, dict[str, Rule]] = {}
    for step in steps:
        for tool, by_path in step.rules.items():
            rules.setdefault(tool, {}).update(by_path)
    return dict(rules)


def _calls_behind(messages: Sequence[Mapping[str, Any]], start: int, logged: Sequence[TurnCall]) -> dict[int, int]:
    """Return which logged call each result of the turn is of, by place of the message; calls stand in their order."""
    latest: dict[Any, int] = {}  # some servers count ids anew in each answer
    found, n_calls = {}, 0
    for place, message in enumerate(messages[start:], start):
        for call in message.get("tool_calls") or ():
            latest[call.get("id")] = n_calls
            n_calls += 1
        number = latest.get(message.get("tool_call_id"))
        if message.get("role") == "tool" and number is not None and number < len(logged):
            found[place] = number
    return found


def _values(text: str) -> dict[str, Json]:
    """Return the strings and numbers of a result by their JSON pointers; none when it is no JSON."""
    try:
        return dict(leaves(parse_json(text)))
    except InvalidJsonError:
        return {}


def _with(value: Json, path: Sequence[str], new: Json) -> Json:
    """Return a value with another one in one of its places."""
    if not path:
        return new
    key = path[0].replace("~1", "/").replace("~0", "~")
    if isinstance(value, Mapping):
        return {name: _with(inner, path[1:], new) if name == key else inner for name, inner in value.items()}
    return [_with(inner, path[1:], new) if str(number) == key else inner for number, inner in enumerate(value)]
