"""How far a run is: what this process and others have recorded, and whether that is enough."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tarx_toollog.replay.reports.chains import TURN_VERDICT, VERDICT, labelled
from tarx_toollog.replay.reports.material import material
from tarx_toollog.replay.running.stopping import Chain, Stopping
from tarx_toollog.replay.running.work import Known
from tarx_toollog.replay.statistics.proportion import Proportion, wilson
from tarx_toollog.store.replays import CLOSED_LOOP, UNTIL, Replays, RunRow
from tarx_toollog.store.work import UnitKey

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_LOOK_EVERY_S = 2.0  # at what other processes did


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. The rolling figure is for the eye: it is no result before the end."""

    done: int
    total: int
    agreement: Proportion
    infra_errors: int
    tokens_per_s: float | None
    """Tokens that the models of this process wrote in a second; None where the servers do not count them."""


Listener = Callable[[Progress], None]


class Headway:
    """Counts the units of one run.

    Args:
        log: The store.
        run: The run.
        scenarios: Its scenarios.
        units: Its units.
        listener: Is told after every unit.
    """

    def __init__(
        self, log: "ToolLog", run: RunRow, scenarios: Known, units: Sequence[UnitKey], listener: Listener | None
    ) -> None:
        self._replays = Replays(log)
        self._run = run
        self._units = frozenset(units)
        self._listener = listener
        self._verdicts: dict[UnitKey, bool | None] = {}
        self._lost: set[UnitKey] = set()
        self._tokens = 0
        self._stopping = _stopping(run, scenarios, units)
        self.is_decided = False
        self._look()
        self._began = time.monotonic()
        self.tell()

    def add(self, key: UnitKey, *, is_right: bool | None, output_tokens: int) -> None:
        """Count a unit that this process has recorded."""
        self._verdicts[key] = is_right
        self._lost.discard(key)
        self._tokens += output_tokens
        self._go_on()

    def add_lost(self, key: UnitKey) -> None:
        """Count a unit that the infrastructure ate."""
        self._lost.add(key)
        self._go_on()

    def look(self) -> None:
        """See what other processes did, if that was not done just now."""
        if time.monotonic() >= self._look_again_at:
            self._look()

    def tell(self) -> None:
        """Tell the listener."""
        if self._listener is None:
            return
        seconds = time.monotonic() - self._began
        known = [verdict for verdict in self._verdicts.values() if verdict is not None]
        self._listener(
            Progress(
                done=len(self._verdicts) + len(self._lost),
                total=len(self._units),
                agreement=wilson(sum(known), len(known)),
                infra_errors=len(self._lost),
                tokens_per_s=self._tokens / seconds if self._tokens and seconds else None,
            )
        )

    def _go_on(self) -> None:
        self.look()
        self._decide()
        self.tell()

    def _look(self) -> None:
        is_loop = self._run.mode == CLOSED_LOOP
        found = self._replays.verdicts(self._run.id, TURN_VERDICT if is_loop else VERDICT, whole_turns=is_loop)
        # A trial outside of the units: the run is of an earlier version, which asked what is not asked today.
        self._verdicts |= {
            key: None if value is None else value == 1.0 for key, value in found.items() if key in self._units
        }
        self._lost -= self._verdicts.keys()
        self._look_again_at = time.monotonic() + _LOOK_EVERY_S
        self._decide()

    def _decide(self) -> None:
        if self._stopping is not None:
            self._stopping.see(self._verdicts, self._lost)
            self.is_decided = self._stopping.is_decided


def _stopping(run: RunRow, scenarios: Known, units: Sequence[UnitKey]) -> Stopping | None:
    until = run.params.get(UNTIL)
    if until is None:
        return None
    first: dict[int, list[UnitKey]] = {}
    for key in units:
        if key.attempt == 1:
            first.setdefault(key.scenario_id, []).append(key)
    of = material(run, scenarios, ())
    counted = labelled(of) or of.scenarios.keys()  # as the gate counts
    is_loop = run.mode == CLOSED_LOOP
    whole = (row.id for row, scenario in scenarios if row.id in first and (is_loop or scenario.is_whole))
    return Stopping(until, [Chain(of.places[key].cluster, first[key]) for key in whole if key in counted])
