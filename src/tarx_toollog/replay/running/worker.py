"""One process at work on a run: takes units, has them asked, and records what came of them.

Theory. Units are claimed one after the other (``store.work``), so any number of processes and endpoints work on a run
without knowing of each other. An answer is stored as an exchange like any other (bytes → ``decode`` →
``ToolLog.write``), then its trial with the scores, with which the unit goes. A process killed in between leaves at
most an exchange without a trial; the unit is asked again, and only trials are ever counted.

What fails because of the network or a loading server is tried again and never counted against the model; what
fails because of what the model wrote is counted. An endpoint that is gone gives its units back to the others.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tarx_toollog.errors import EndpointError
from tarx_toollog.model import Exchange
from tarx_toollog.replay.reports.chains import TURN_VERDICT, VERDICT
from tarx_toollog.replay.running.asking import Judged, Verdict
from tarx_toollog.replay.running.closed_loop import ask_turn
from tarx_toollog.replay.running.headway import Headway
from tarx_toollog.replay.running.station import Answered, Station
from tarx_toollog.replay.running.work import Known, is_gone, this_worker
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.replay.scoring import judge_trials
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.store.asked import Asked, LoggedRequest
from tarx_toollog.store.replays import (
    CLOSED_LOOP,
    Judge,
    NewTrial,
    Replays,
    RunRow,
    ScoreRow,
    TrialRow,
    TrialStatus,
)
from tarx_toollog.store.work import LEASE, WHOLE_TURN, Unit, WorkUnits

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

Notify = Callable[[str], None]
"""Is told in words what a person should know."""

_TRIAL_STATUS: dict[Verdict, TrialStatus] = {
    Verdict.OK: "ok",
    Verdict.MODEL_ERROR: "model_error",
    Verdict.INFRA_ERROR: "infra_error",
    Verdict.INVALID: "infra_error",  # these say nothing about the model either, and must be asked again
    Verdict.REFUSED: "infra_error",
}
_RENEW_EVERY_S = LEASE.total_seconds() / 4
_LOOK_EVERY_S = 0.2  # at units that others may leave behind


class _Verdict:
    """Judges the trials of one unit, and remembers what the scorer said on whose word the unit is right."""

    def __init__(self, scorer: str, judge: Judge) -> None:
        self.is_right: bool | None = None
        self._scorer = scorer
        self._judge = judge

    def judge(self, rows: Sequence[TrialRow]) -> Mapping[int, Mapping[str, ScoreRow]]:
        """Return the scores."""
        scores = self._judge(rows)
        found = scores[rows[-1].id].get(self._scorer)
        self.is_right = None if found is None or found.value is None else found.value == 1.0
        return scores


@dataclass(frozen=True, slots=True)
class _Place:
    """A step of a scenario of the run."""

    step: ScenarioStep
    logged: LoggedRequest | None


class Crew:
    """What one process does for a run.

    Args:
        log: The store.
        run: The run.
        scenarios: Its scenarios.
        stations: Its endpoints.
        headway: Counts.
        notify: Is told what a person should know.
        whole_scenarios: Whether the steps of a scenario are asked at one place, one after the other.
    """

    def __init__(
        self,
        log: "ToolLog",
        run: RunRow,
        scenarios: Known,
        stations: Sequence[Station],
        headway: Headway,
        notify: Notify,
        *,
        whole_scenarios: bool,
    ) -> None:
        self._log = log
        self._replays = Replays(log)
        self._units = WorkUnits(log)
        self._run = run
        self._worker = this_worker()
        self._stations = stations
        self._headway = headway
        self._notify = notify
        self._whole_scenarios = whole_scenarios
        self._loop = LoopOptions.from_json(run.params) if run.mode == CLOSED_LOOP else LoopOptions()
        self._scenarios = {row.id: scenario for row, scenario in scenarios}
        logged = Asked(log).logged([step.exchange_uid for _, scenario in scenarios for step in scenario.steps])
        self._places = {
            (row.id, step.step_no): _Place(step, logged.get(step.exchange_uid))
            for row, scenario in scenarios
            for step in scenario.steps
        }

    async def work(self) -> None:
        """Work until nothing is left to ask, by this process or by others.

        Raises:
            EndpointError: All endpoints are gone, or refuse.
        """
        try:
            async with asyncio.TaskGroup() as around:
                heart = around.create_task(self._keep_leases())
                async with asyncio.TaskGroup() as asking:
                    for station in self._stations:
                        for _ in range(station.at_a_time):
                            asking.create_task(self._serve(station))
                heart.cancel()
        except BaseExceptionGroup as group:  # one task's error ends the others; it is the one to tell about
            raise _first_of(group) from None
        finally:
            self._units.release(self._run.id, [self._worker])

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            self._units.renew(self._run.id, self._worker)

    async def _serve(self, station: Station) -> None:
        while not station.is_lost and not self._headway.is_decided:
            units = self._units.claim(self._run.id, self._worker, whole_scenario=self._whole_scenarios)
            if units:
                await self._ask_each(station, units)
            elif not await self._others_work():
                return

    async def _others_work(self) -> bool:
        """Say whether units are claimed that may come back; frees those of the dead, and waits a moment."""
        workers = self._units.workers(self._run.id)
        if dead := list(filter(is_gone, workers)):
            self._units.release(self._run.id, dead)
        elif workers:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._headway.look()
        return bool(workers)

    async def _ask_each(self, station: Station, units: Sequence[Unit]) -> None:
        for number, unit in enumerate(units):
            if station.is_lost or self._headway.is_decided:
                self._units.free(left.id for left in units[number:])
                return
            answered = await (self._turn if unit.key.step_no == WHOLE_TURN else self._step)(station, unit)
            self._note(station, unit, answered)

    async def _step(self, station: Station, unit: Unit) -> Answered:
        """Ask one step and record its trial."""
        place = self._places[unit.key.scenario_id, unit.key.step_no]
        answered = await station.ask(place.step, unit.key.attempt, place.logged)
        verdict = self._verdict(unit)
        trial = self._trial(unit, place.step.step_no, answered)
        is_new = self._replays.record_trial(self._run.id, trial, verdict.judge) is not None
        self._count(unit, verdict, [answered], is_new=is_new)
        return answered

    async def _turn(self, station: Station, unit: Unit) -> Answered:
        """Have a turn made in a closed loop, and record its trials; return what ended it."""
        scenario = self._scenarios[unit.key.scenario_id]
        first = scenario.steps[0]
        asked: list[Answered] = []

        async def ask(step: ScenarioStep) -> tuple[Verdict, Exchange]:
            logged = None if asked else self._places[unit.key.scenario_id, first.step_no].logged
            asked.append(await station.ask(step, unit.key.attempt, logged, n_logged=len(first.messages)))
            is_invalid = asked[-1].verdict is Verdict.INVALID
            return Verdict.INFRA_ERROR if is_invalid else asked[-1].verdict, asked[-1].exchange

        decisions = [decision async for decision in ask_turn(scenario, ask, self._loop)]
        if decisions[-1].verdict is Verdict.MODEL_ERROR:  # also where the server alone cannot tell whose fault it is
            asked[-1] = Answered(Judged(Verdict.MODEL_ERROR), asked[-1].exchange)
        told = list(zip(decisions, asked, strict=True))
        if _TRIAL_STATUS[asked[-1].verdict] == "infra_error":
            told = told[-1:]  # the rest says nothing without its end
        verdict = self._verdict(unit)
        trials = [self._trial(unit, decision.step_no, answered) for decision, answered in told]
        is_new = self._replays.record_turn(self._run.id, unit.key, trials, verdict.judge)
        self._count(unit, verdict, asked, is_new=is_new)
        return asked[-1]

    def _verdict(self, unit: Unit) -> "_Verdict":
        scenario = {unit.key.scenario_id: self._scenarios[unit.key.scenario_id]}
        scorer = TURN_VERDICT if self._run.mode == CLOSED_LOOP else VERDICT
        return _Verdict(scorer, lambda rows: judge_trials(self._run, scenario, rows))

    def _count(self, unit: Unit, verdict: "_Verdict", asked: Sequence[Answered], *, is_new: bool) -> None:
        if not is_new:
            self._headway.look()  # another process was faster
        elif _TRIAL_STATUS[asked[-1].verdict] == "infra_error":
            self._headway.add_lost(unit.key)
        else:
            tokens = sum(_output_tokens(answered.exchange) for answered in asked)
            self._headway.add(unit.key, is_right=verdict.is_right, output_tokens=tokens)

    def _trial(self, unit: Unit, step_no: int, answered: Answered) -> NewTrial:
        exchange, error = answered.exchange, answered.error
        return NewTrial(
            scenario_id=unit.key.scenario_id,
            step_no=step_no,
            status=_TRIAL_STATUS[answered.verdict],
            exchange_id=self._log.write([exchange])[0] if exchange.http_status is not None else None,
            error=None if error is None else self._log.without_secrets(error),
            attempt=unit.key.attempt,
        )

    def _note(self, station: Station, unit: Unit, answered: Answered) -> None:
        """Take note of how an endpoint fares, and go on without it when it is gone."""
        was_lost = station.is_lost
        station.note(unit, answered.verdict)
        if not station.is_lost:
            return
        self._units.free(left.id for left in station.lost_units)
        if was_lost:
            return
        error = self._log.without_secrets(answered.error or "")
        is_refusal = answered.verdict is Verdict.REFUSED
        said = "does not answer any more: "
        if is_refusal:
            status = answered.exchange.http_status
            # A note says that the server is broken, and refuses nothing.
            said = f"refuses: HTTP {status} " if answered.judged.note is None else f"fails: HTTP {status}, "
        message = f"{station.url} {said}{error}"
        if all(each.is_lost for each in self._stations):
            first = "mend it" if is_refusal else "start the server again"
            raise EndpointError(message, hint=f"{first}, then `toollog replay run --resume {self._run.name}`")
        self._replays.note_lost(self._run.id, station.url, error)
        self._notify(f"{message}; the other endpoints take over its work")


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _output_tokens(exchange: Exchange) -> int:
    usage = exchange.response.usage if exchange.response is not None else None
    return (usage.output_tokens or 0) if usage is not None else 0
