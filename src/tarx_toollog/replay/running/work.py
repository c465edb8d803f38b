"""What a run asks, in which order, and how long that takes; and who it is that asks.

The order is that of the content hashes of the scenarios, which is as good as random, and within a scenario that of its
steps, whose prompts grow out of each other. The first attempt at everything comes first.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.turns.playable import can_loop
from tarx_toollog.store.asked import Asked
from tarx_toollog.store.replays import CLOSED_LOOP
from tarx_toollog.store.suites import ScenarioRow
from tarx_toollog.store.work import WHOLE_TURN, UnitKey

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

Known = Sequence[tuple[ScenarioRow, Scenario]]
"""The scenarios of a run, in its order."""

_PROC = Path("/proc")
_START = 18  # place of the start time in /proc/PID/stat behind the state, which follows a name that may hold spaces
_DEAD = "Z"  # killed, but its parent has not looked
_SECONDS_A_MINUTE = 60


def units_of(scenarios: Known, *, mode: str, attempts: int) -> list[UnitKey]:
    """Return the units of a run, in its order; turns that cannot be played in a closed loop have none there."""
    if mode == CLOSED_LOOP:
        keys = [(row.id, WHOLE_TURN) for row, scenario in scenarios if can_loop(scenario) is None]
    else:
        keys = [(row.id, step.step_no) for row, scenario in scenarios for step in scenario.steps]
    return [UnitKey(*key, attempt) for attempt in range(1, attempts + 1) for key in keys]


# ---- who asks -------------------------------------------------------------------------------------------------------


def this_worker() -> str:
    """Return who this process is, as a lease has it: host, process and its start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def is_gone(worker: str) -> bool:
    """Say whether a worker is known to be dead: one of this host whose process is not there any more.

    Of other hosts nothing is known; their leases end.
    """
    host, pid, started = worker.rsplit(":", 2)
    if host != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's: there is a process, and its start tells whether it is that one
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty where it is dead or the kernel does not tell."""
    try:
        state, *rest = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == _DEAD else rest[_START]


# ---- how long it takes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take, as far as the log tells."""

    scenarios: int
    units: int
    output_tokens: int
    """Tokens of the logged answers, times the attempts; of answers that nobody counted, as many as the others have."""
    tokens_per_s: float | None
    """None: nobody has counted any."""
    speed_of: str | None
    """The run that answered so fast; None: the log did."""

    @property
    def minutes(self) -> float | None:
        """How long it takes, one request at a time."""
        return self.output_tokens / self.tokens_per_s / _SECONDS_A_MINUTE if self.tokens_per_s else None

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {**{slot: getattr(self, slot) for slot in self.__slots__}, "minutes": self.minutes}


def estimate(log: "ToolLog", scenarios: Known, *, model: str, mode: str, attempts: int) -> Estimate:
    """Return what a run over these scenarios will take."""
    units = units_of(scenarios, mode=mode, attempts=attempts)
    asked = {key.scenario_id for key in units}
    uids = [step.exchange_uid for row, scenario in scenarios if row.id in asked for step in scenario.steps]
    logged = list(Asked(log).logged(uids).values())
    counted = [one for one in logged if one.output_tokens]
    tokens = sum(one.output_tokens or 0 for one in counted)
    timed = [one for one in counted if one.total_ms]
    speed = Asked(log).speed_of(model)
    if speed is not None:
        rate: float | None = speed.tokens_per_s
    else:
        seconds = sum(one.total_ms or 0 for one in timed) / 1000
        rate = sum(one.output_tokens or 0 for one in timed) / seconds if seconds else None
    return Estimate(
        scenarios=len(asked),
        units=len(units),
        output_tokens=round(tokens * len(uids) / len(counted) * attempts) if counted else 0,
        tokens_per_s=rate if counted else None,
        speed_of=None if speed is None else speed.run,
    )
