"""Asking a model the steps of scenarios, one exchange each, so that nothing is asked twice and nothing is lost.

Theory. Teacher-forced: every step is sent with the logged history, whatever the model said before, so steps are
independent, and a run can stop and go on anywhere. An answer is stored as an exchange like any other (bytes →
``decode`` → ``ToolLog.write``), then the trial, then its scores. A process killed in between leaves at most an
exchange without a trial; the step is asked again, and only trials are ever counted.

What fails because of the network or a loading server is tried again and never counted against the model; what
fails because of what the model wrote is counted.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from tarx_toollog.canonical import json_text
from tarx_toollog.errors import EndpointError
from tarx_toollog.model import Exchange
from tarx_toollog.replay.asking import Overrides, Verdict, request_body, verdict_on
from tarx_toollog.replay.endpoint import Endpoint, Patience, open_endpoint
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.replay.scoring import judge_trial, scenarios_of
from tarx_toollog.replay.server import described, facts_for, require_same
from tarx_toollog.replay.statistics.proportion import Proportion, wilson
from tarx_toollog.replay.stopping import Stopping
from tarx_toollog.store.replays import AGAIN, UNTIL, NewTrial, Replays, RunRow, TrialRow, TrialStatus
from tarx_toollog.wire.decode import decode

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_LOST_AFTER = 3  # trials in a row that the network ate: the server is gone, not slow
_TRIAL_STATUS: dict[Verdict, TrialStatus] = {
    Verdict.OK: "ok",
    Verdict.MODEL_ERROR: "model_error",
    Verdict.INFRA_ERROR: "infra_error",
    Verdict.REFUSED: "infra_error",  # says nothing about the model either, and must be asked again
}


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to start, or with ``resume`` to go on with."""

    name: str
    tag: str = ""
    endpoint: str = ""
    overrides: Overrides = field(default_factory=lambda: Overrides(""))
    limit: int | None = None
    """At most this many scenarios."""
    attempts: int = 1
    """How often each step is asked; the first attempt at all of them comes first."""
    until: float | None = None
    """End as soon as it is clear whether so many chains are right; None: ask all."""
    again: str | None = None
    """The run that is asked again, to see what changes by itself."""
    resume: bool = False
    """Go on with the run called ``name``; everything else of it is read from the store."""
    concurrency: int = 1
    """Requests at a time. One by default: on one machine more only makes each slower, and less repeatable."""
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. The rolling figure is for the eye: it is no result before the end."""

    done: int
    total: int
    agreement: Proportion
    infra_errors: int
    eta_s: float | None


Listener = Callable[[Progress], None]


def replay(log: "ToolLog", request: RunRequest, listener: Listener | None = None) -> RunRow:
    """Run, or go on with, a replay; return the run when it is finished.

    Interrupted (Ctrl-C), it keeps what it has and can be resumed by name.

    Raises:
        EndpointError: The server cannot be reached, refuses, or went away.
        ConfigError: The run exists already, or the server is not the one that the run began with.
        NothingMatchedError: There is no such tag, or no such run.
    """
    return asyncio.run(replay_async(log, request, listener))


async def replay_async(log: "ToolLog", request: RunRequest, listener: Listener | None = None) -> RunRow:
    """Do what ``replay`` does, within a running event loop."""
    replays = Replays(log)
    known = replays.run(request.name) if request.resume else None
    if known is None:
        replays.scenarios(request.tag, limit=1)  # a wrong tag must not wait for the server
    async with open_endpoint(known.endpoint if known else request.endpoint, request.patience) as endpoint:
        run = await _resumed(replays, known, endpoint) if known else await _started(replays, request, endpoint)
        try:
            await _Runner(log, run, endpoint, request, listener).ask_all()
        except BaseException:
            # Cancelled (Ctrl-C), the server gone, the disk full: what is recorded stays, the run can be resumed.
            replays.set_status(run.id, "aborted")
            raise
        replays.set_status(run.id, "finished")
        return replays.run(run.name)


async def _started(replays: Replays, request: RunRequest, endpoint: Endpoint) -> RunRow:
    answers = await endpoint.describe(request.overrides.model)
    facts = facts_for(answers, request.overrides)
    return replays.start_run(
        name=request.name,
        tag=request.tag,
        model=request.overrides.model,
        endpoint=endpoint.url,
        params={
            **request.overrides.to_json(),
            "limit": request.limit,
            "attempts": request.attempts,
            **{key: value for key, value in ((AGAIN, request.again), (UNTIL, request.until)) if value is not None},
        },
        server=described(answers, facts),
        facts=facts,
    )


async def _resumed(replays: Replays, run: RunRow, endpoint: Endpoint) -> RunRow:
    answers = await endpoint.describe(run.model)
    facts = facts_for(answers, Overrides.from_json(run.model, run.params))
    require_same(run.server or {}, described(answers, facts))
    replays.set_status(run.id, "running")
    return run


class _Unit(NamedTuple):
    """One thing to ask."""

    scenario_id: int
    step: ScenarioStep
    attempt: int


class _Runner:
    """One pass over the steps of a run that have no answer yet."""

    def __init__(
        self, log: "ToolLog", run: RunRow, endpoint: Endpoint, request: RunRequest, listener: Listener | None
    ) -> None:
        self._log = log
        self._replays = Replays(log)
        self._run = run
        self._endpoint = endpoint
        self._request = request
        self._listener = listener
        self._overrides = Overrides.from_json(run.model, run.params)
        self._lost_in_a_row = 0
        self._infra_errors = 0
        self._right = self._scored = 0
        self._started = time.monotonic()

    async def ask_all(self) -> None:
        """Ask every pending step; with several workers, each takes the next one when it is free."""
        known = scenarios_of(self._log, self._run)
        steps = [(row.id, step) for row, scenario in known for step in scenario.steps]
        until = self._run.params.get(UNTIL)
        self._stopping = None if until is None else Stopping(until, {row.id: scenario for row, scenario in known})
        n_attempts = self._run.params.get("attempts", 1)
        units = [_Unit(key, step, attempt) for attempt in range(1, n_attempts + 1) for key, step in steps]
        answered = self._replays.answered(self._run.id)
        pending = [unit for unit in units if (unit.scenario_id, unit.step.step_no, unit.attempt) not in answered]
        self._total, self._before = len(units), len(units) - len(pending)
        self._done = self._before
        self._count_scores()
        self._tell()
        queue = iter(pending)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._request.concurrency):
                    workers.create_task(self._work(queue))
        except BaseExceptionGroup as group:  # one worker's error ends the others; it is the one to tell about
            raise group.exceptions[0] from None

    async def _work(self, queue: Iterator["_Unit"]) -> None:
        for unit in queue:
            if self._stopping is not None and self._stopping.is_decided:
                return
            verdict, exchange = await self._ask(unit)
            self._record(unit, verdict, exchange)
            if verdict is Verdict.REFUSED:
                raise EndpointError(
                    f"{self._endpoint.url} refuses: HTTP {exchange.http_status} {exchange.error_text or ''}".rstrip(),
                    hint=f"mend it, then `toollog replay run --resume {self._run.name}`",
                )
            if self._lost_in_a_row >= _LOST_AFTER:
                raise EndpointError(
                    f"{self._endpoint.url} does not answer any more: {_error_of(exchange)}",
                    hint=f"start the server again, then `toollog replay run --resume {self._run.name}`",
                )

    async def _ask(self, unit: "_Unit") -> tuple[Verdict, Exchange]:
        body = json_text(request_body(unit.step, self._overrides.for_attempt(unit.attempt))).encode("utf-8")
        wait_s = self._request.patience.first_wait_s
        for left in range(self._request.patience.retries, -1, -1):
            exchange = decode(await self._endpoint.ask(unit.step, body, self._run.uid))
            verdict = verdict_on(exchange)
            if verdict is not Verdict.INFRA_ERROR or not left:
                break
            await asyncio.sleep(wait_s)
            wait_s *= 2
        return verdict, exchange

    def _record(self, unit: "_Unit", verdict: Verdict, exchange: Exchange) -> None:
        status = _TRIAL_STATUS[verdict]
        exchange_id = self._log.write([exchange])[0] if exchange.http_status is not None else None
        error = None if verdict is Verdict.OK else self._log.without_secrets(_error_of(exchange))
        trial = NewTrial(unit.scenario_id, unit.step.step_no, status, exchange_id, error, unit.attempt)
        trial_id = self._replays.record_trial(self._run.id, trial)
        if trial_id is not None:  # else another process that resumed the same run was faster
            for row in self._replays.trials(self._run.id, trial_id=trial_id):
                scores = judge_trial(unit.step, row)
                self._replays.replace_scores({trial_id: scores})
                self._count(replace(row, scores=scores))
        lost = status == "infra_error"
        self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        self._infra_errors += lost
        self._done += 1
        self._tell()

    def _count_scores(self) -> None:
        for trial in self._replays.trials(self._run.id):
            self._count(trial)

    def _count(self, trial: TrialRow) -> None:
        score = trial.scores.get("step")
        if score is None:
            return
        is_right = score.value == 1.0
        self._scored, self._right = self._scored + 1, self._right + is_right
        if self._stopping is not None and trial.attempt == 1:
            self._stopping.see([(trial.scenario_id, trial.step_no, is_right)])

    def _tell(self) -> None:
        if self._listener is None:
            return
        asked = self._done - self._before
        left_s = (time.monotonic() - self._started) / asked * (self._total - self._done) if asked else None
        self._listener(
            Progress(
                done=self._done,
                total=self._total,
                agreement=wilson(self._right, self._scored),
                infra_errors=self._infra_errors,
                eta_s=left_s,
            )
        )


def _error_of(exchange: Exchange) -> str:
    parts = (exchange.error_type, exchange.error_text)
    return ": ".join(part for part in parts if part) or f"{exchange.outcome} (HTTP {exchange.http_status})"
