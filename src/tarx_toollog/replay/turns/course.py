"""One turn that a model makes by itself: what it called, what came back, and how it ended. Pure.

The same object follows a live model, to know what to say to it, and the stored answers of one, to judge them: what a
tool says depends on nothing but the recording and the calls before, so both see the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.errors import ConfigError
from tarx_toollog.model import LoggedCall, Outcome
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import (
    SIMULATORS,
    Diverged,
    Effect,
    RecordedCall,
    Recording,
    Results,
    Served,
    effect_of,
)
from tarx_toollog.replay.results.keys import CallKey, call_key
from tarx_toollog.replay.scenario import Scenario, offered_schemas
from tarx_toollog.replay.scorers.findings import LEAKED
from tarx_toollog.store.replays import Answer

T = TypeVar("T")
Ending = Literal["answered", "diverged", "looped", "max_steps", "server_error"]
"""``answered``: it made no more calls. ``diverged``: it made a call whose result nobody can know. ``looped``: it got
the same result for the same call too often. ``max_steps``: it was still calling at the last step that it has.
``server_error``: the server could not make an answer of what it wrote."""
Policy = Literal["stop", "error-result"]
"""``stop``: a turn that diverges is over. ``error-result``: the model is told that the tool is not there, to see what
it makes of that; the verdicts then say how it copes, and not how good it is."""

UNAVAILABLE = "tool unavailable in replay"
LOOP = 3
"""Equal results of equal calls that are a loop, unless the log has as many."""
MORE_STEPS = 4
"""Steps that a turn may have beyond those of the log: room for looking twice, and for one mistake with its repair."""
_EFFECTS: Mapping[str, Effect] = {"read": "read", "write": "write", "idempotent": "idempotent"}
_POLICIES: Mapping[str, Policy] = {"stop": "stop", "error-result": "error-result"}


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How closed loops are run; kept with the run, so that it is judged as it was made."""

    simulators: tuple[str, ...] = field(default_factory=lambda: tuple(SIMULATORS.names()))
    """Names in the registry, in the order in which they are asked."""
    effects: Mapping[str, Effect] = field(default_factory=dict)
    """What tools do to the world, where somebody declared it."""
    max_steps: int | None = None
    """None: those of the log, and ``MORE_STEPS`` more."""
    on_divergence: Policy = "stop"

    def to_json(self) -> dict[str, Any]:
        """Return it as it is kept among the parameters of a run."""
        return {
            "simulators": list(self.simulators),
            "effects": dict(self.effects),
            "max_steps": self.max_steps,
            "on_divergence": self.on_divergence,
        }

    @classmethod
    def from_json(cls, params: Mapping[str, Any]) -> "LoopOptions":
        """Return the options among the parameters of a run.

        Raises:
            ConfigError: There is no such effect, or no such policy.
        """
        effects = {tool: _one_of(_EFFECTS, effect, "effect") for tool, effect in params["effects"].items()}
        policy = _one_of(_POLICIES, params["on_divergence"], "policy")
        return cls(tuple(params["simulators"]), effects, params["max_steps"], policy)


def _one_of(known: Mapping[str, T], name: str, what: str) -> T:
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


@dataclass(frozen=True, slots=True)
class Made:
    """A call that the model made, and what came back."""

    decision: int
    """Number of the answer that it stands in, from 0."""
    logged: LoggedCall
    call: Call
    result: Served | Diverged

    @property
    def text(self) -> str:
        """What the model is told."""
        return self.result.text if isinstance(self.result, Served) else UNAVAILABLE

    @property
    def failed(self) -> bool:
        """Whether the tool refused it, or said that it failed."""
        return isinstance(self.result, Served) and self.result.is_error

    @property
    def how(self) -> str:
        """How the result is known."""
        return self.result.how if isinstance(self.result, Served) else "unknown"


class Course:
    """Follows one attempt at a turn, answer by answer.

    Args:
        scenario: One that can be looped.
        options: How.
    """

    def __init__(self, scenario: Scenario, options: LoopOptions) -> None:
        self.answers: list[Answer] = []
        self.made: list[Made] = []
        self.ending: Ending | None = None
        """None: it goes on."""
        self.schemas = {name: schema for step in scenario.steps for name, schema in offered_schemas(step).items()}
        self.effects = options.effects
        self._options = options
        self._recording = _recording(scenario, self.schemas, options.effects)
        self._results = self._fresh_results()
        self._max_steps = options.max_steps or len(scenario.steps) + MORE_STEPS
        self._seen: Counter[tuple[CallKey, str]] = Counter()
        self._logged = Counter((self._key(call.call), call.result_text) for call in self._recording.calls)

    def take(self, answer: Answer) -> Sequence[Made]:
        """Take in the next answer; return its calls with what came back."""
        decision = len(self.answers)
        self.answers.append(answer)
        calls = [call for call in answer.calls if call.origin != LEAKED]
        if answer.outcome != Outcome.COMPLETED or not calls:
            self.ending = "answered" if answer.outcome == Outcome.COMPLETED else "server_error"
            return ()
        before = len(self.made)
        for logged in calls:
            call = Call(logged.name, parse_arguments(logged.arguments, complete=logged.complete).value)
            self.made.append(Made(decision, logged, call, self._serve(call)))
            self.ending = self.ending or self._ending_after(self.made[-1])
        if self.ending is None and len(self.answers) >= self._max_steps:
            self.ending = "max_steps"
        return self.made[before:]

    def is_read(self, tool: str) -> bool:
        """Say whether a tool only reads."""
        return effect_of(tool, self.effects) == "read"

    def _serve(self, call: Call) -> Served | Diverged:
        result = self._results.serve(call)
        if isinstance(result, Diverged) and self._options.on_divergence == "error-result":
            # The tool was not there, so the call never ran: the world is the one before it.
            self._results = self._fresh_results()
            for before in self.made:
                if isinstance(before.result, Served):
                    self._results.serve(before.call)
        return result

    def _ending_after(self, made: Made) -> Ending | None:
        if isinstance(made.result, Diverged) and self._options.on_divergence == "stop":
            return "diverged"
        same = (self._key(made.call), made.text)
        self._seen[same] += 1
        return "looped" if self._seen[same] > max(self._logged[same], LOOP - 1) else None

    def _key(self, call: Call) -> CallKey:
        return call_key(call, self.schemas.get(call.name))

    def _fresh_results(self) -> Results:
        simulators = [SIMULATORS.get(name) for name in self._options.simulators]
        return Results(self._recording, simulators, self._options.effects)


def follow(scenario: Scenario, answers: Sequence[Answer], options: LoopOptions) -> Course:
    """Return the course that answers took."""
    course = Course(scenario, options)
    for answer in answers:
        if course.ending is None:
            course.take(answer)
    return course


def _recording(
    scenario: Scenario, schemas: Mapping[str, Mapping[str, Any] | None], effects: Mapping[str, Effect]
) -> Recording:
    """Return what a scenario shows about its tools."""
    calls = (
        RecordedCall(call.name, call.arguments, call.result_text or "", call.is_error, effect_of(call.name, effects))
        for call in scenario.recording
    )
    return Recording(tuple(calls), schemas)
