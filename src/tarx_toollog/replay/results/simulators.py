"""Simulators: small exact stand-ins for tools, for calls that the recording does not hold. Pure.

A simulator knows what the recording shows and nothing else. What follows from that it says; of everything else it says
that it cannot know. One that contradicts the recording anywhere is not used at all.

A third party adds one through an entry point of the group ``tarx_toollog.simulators`` that names a ``SimulatorMaker``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tarx_toollog.canonical import InvalidJsonError, canonical_json, parse_json
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results.recording import RecordedCall, Recording


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the tool says."""

    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Unknowable:
    """The recording does not show what the tool would say."""

    why: str


class Simulator(Protocol):
    """The tools of one attempt, with their state."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> Simulated | Unknowable:
        """Make a call: change the state, and say what the tool says. It gets every call that runs, in order."""


class SimulatorMaker(Protocol):
    """Makes a simulator, anew for each attempt."""

    @property
    def tools(self) -> frozenset[str]:
        """The names of the tools that it simulates."""

    def make(self, recording: Recording) -> Simulator:
        """Return a simulator in the state before the turn, as far as the turn reveals it."""


class Troupe:
    """The simulators of one attempt.

    Args:
        makers: In the order in which they are asked.
        recording: The calls that ran, those that were refused left out.
    """

    def __init__(self, makers: Iterable[SimulatorMaker], recording: Recording) -> None:
        self._cast: dict[str, Simulator] = {}
        for maker in makers:
            if contradiction(maker, recording) is None:
                simulator = maker.make(recording)
                for tool in maker.tools:
                    self._cast.setdefault(tool, simulator)

    def call(self, call: Call) -> Simulated | Unknowable | None:
        """Return what the simulator of the tool says; None where there is none."""
        simulator = self._cast.get(call.name)
        if simulator is None or call.arguments is None:
            return None
        return simulator.call(call.name, call.arguments)


def contradiction(maker: SimulatorMaker, recording: Recording) -> RecordedCall | None:
    """Return the first recorded call to which a simulator says something else than the tool did; None is good."""
    simulator = maker.make(recording)
    for recorded in recording.calls:
        if recorded.name in maker.tools and recorded.arguments is not None:
            said = simulator.call(recorded.name, recorded.arguments)
            if isinstance(said, Simulated) and not _same_result(said, recorded):
                return recorded
    return None


def _same_result(said: Simulated, recorded: RecordedCall) -> bool:
    if said.is_error != recorded.is_error:
        return False
    try:  # the order of an object's keys means nothing
        return canonical_json(parse_json(said.text)) == canonical_json(parse_json(recorded.result_text))
    except InvalidJsonError:
        return said.text == recorded.result_text
