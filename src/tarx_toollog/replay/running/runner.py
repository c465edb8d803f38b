"""Running a replay: starting it or going on with it, and ending it.

Theory. A run is a list of units (``store.work``), one request each with the logged history (teacher-forced), or a turn
each in a closed loop. Any number of processes may work on it, each with any number of endpoints: who resumes a run that
goes on joins it. It is finished by the process that finds nothing left to ask, by itself or by others; and its result
does not depend on who asked what, nor on when.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.replay.overlay import accepted_overlay
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.endpoint import Endpoint, Patience, api_key_from, open_endpoint
from tarx_toollog.replay.running.headway import Headway, Listener
from tarx_toollog.replay.running.prompts import PromptCheck
from tarx_toollog.replay.running.recorded import RECORDED
from tarx_toollog.replay.running.server import Pace, described, facts_for, paced, requests_at_a_time, require_same
from tarx_toollog.replay.running.station import Station
from tarx_toollog.replay.running.work import Estimate, estimate, is_gone, units_of
from tarx_toollog.replay.running.worker import Crew, Notify
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.scoring import scenarios_of, score_run
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.store.replays import AGAIN, CLOSED_LOOP, TEACHER_FORCED, UNTIL, Replays, RunRow
from tarx_toollog.store.suites import ScenarioRow, Suites
from tarx_toollog.store.work import WorkUnits
from tarx_toollog.wire.model_facts import ModelFacts

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_PACE, _CONCURRENCY, _MORE_ENDPOINTS, _API_KEY = "pace", "concurrency", "more_endpoints", "api_key_env"
"""Parameters of a run."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to start, or with ``resume`` to go on with."""

    name: str
    tag: str = ""
    endpoint: str = ""
    """URL of the server. With ``resume``: another place for it, seen from here; empty for that of the run."""
    overrides: Overrides = field(default_factory=lambda: Overrides(""))
    more_endpoints: tuple[str, ...] = ()
    """URLs of further servers of the very same model, which share the work."""
    mode: str = TEACHER_FORCED
    loop: LoopOptions = field(default_factory=LoopOptions)
    """How closed loops are run."""
    pace: Pace = Pace.FAST
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
    """Requests at a time and endpoint. One by default: on one machine more only makes each slower, and less
    repeatable. With ``resume`` as well, for this process."""
    api_key_env: str | None = None
    """The environment variable that holds the API key of the endpoints."""
    patience: Patience = field(default_factory=Patience)


class _Server(NamedTuple):
    endpoint: Endpoint
    says: dict[str, Any]
    """``server.described``."""
    facts: ModelFacts | None


def replay(
    log: "ToolLog", request: RunRequest, listener: Listener | None = None, notify: Notify | None = None
) -> RunRow:
    """Run, or go on with, a replay; return the run when it is finished.

    Interrupted (Ctrl-C), it keeps what it has and can be resumed by name.

    Args:
        log: The store.
        request: What to do.
        listener: Is told how far it is.
        notify: Is told in words what a person should know.

    Raises:
        EndpointError: The server cannot be reached, refuses, or went away.
        ConfigError: The run exists already, the server is not the one that the run began with, or the endpoints are
            not the same.
        NothingMatchedError: There is no such tag, or no such run.
    """
    return asyncio.run(replay_async(log, request, listener, notify))


async def replay_async(
    log: "ToolLog", request: RunRequest, listener: Listener | None = None, notify: Notify | None = None
) -> RunRow:
    """Do what ``replay`` does, within a running event loop."""
    tell = notify or (lambda _: None)
    known = Replays(log).run(request.name) if request.resume else None
    if known is None:
        _require_possible(request)
        rows = Suites(log).scenarios(request.tag)  # a wrong tag must not wait for the server
        _require_recorded(request, rows)
    async with AsyncExitStack() as stack:
        endpoints = await _opened(stack, request, known)
        if known is None:
            servers = [await _described(endpoint, request.overrides) for endpoint in endpoints]
            run = _started(log, request, servers)
        else:
            servers = await _described_again(endpoints, known, tell)
            run = _resumed(log, known, tell)
        await _work(log, run, request, servers, listener, tell)
    return Replays(log).run(run.name)


def _require_recorded(request: RunRequest, rows: Sequence[ScenarioRow]) -> None:
    if request.endpoint != RECORDED:
        return
    steps = (step for row in rows for step in Scenario.from_json(row.definition).steps)
    if not all(step.recorded.message for step in steps):
        raise ConfigError(
            f"the scenarios of {request.tag!r} have no logged answers to give again",
            hint="`recorded:` is for suites of `toollog replay build`; name a server with --endpoint",
        )


def request_like(run: RunRow, *, name: str, limit: int, again: str) -> RunRequest:
    """Return the request for a run that asks again what another one asked, in the same way."""
    return RunRequest(
        name=name,
        tag=run.tag,
        endpoint=run.endpoint,
        overrides=Overrides.from_json(run.model, run.params),
        more_endpoints=tuple(run.params.get(_MORE_ENDPOINTS, ())),
        mode=run.mode,
        loop=LoopOptions.from_json(run.params) if run.mode == CLOSED_LOOP else LoopOptions(),
        pace=_pace_of(run),
        limit=limit,
        again=again,
        concurrency=run.params.get(_CONCURRENCY, 1),
        api_key_env=run.params.get(_API_KEY),
    )


def planned(log: "ToolLog", request: RunRequest) -> Estimate:
    """Return what a run will take, without starting it.

    Raises:
        NothingMatchedError: There is no such tag.
    """
    rows = Suites(log).scenarios(request.tag, limit=request.limit)
    scenarios = [(row, Scenario.from_json(row.definition)) for row in rows]
    return estimate(log, scenarios, model=request.overrides.model, mode=request.mode, attempts=request.attempts)


def _require_possible(request: RunRequest) -> None:
    urls = _urls(request, None)
    if RECORDED in urls and len(urls) > 1:
        raise ConfigError(f"{RECORDED} is no server that could share work", hint=f"--endpoint {RECORDED} alone")
    if request.pace is Pace.STRICT and request.concurrency > 1:
        raise ConfigError(
            "a strict run asks one at a time: what is asked beside it changes how a server rounds",
            hint="leave --strict out, or --concurrency",
        )


def _urls(request: RunRequest, known: RunRow | None) -> list[str]:
    """Return the URLs to ask, each once."""
    if known is None or request.endpoint:
        return list(dict.fromkeys((request.endpoint, *request.more_endpoints)))
    return [known.endpoint, *known.params.get(_MORE_ENDPOINTS, ())]


async def _opened(stack: AsyncExitStack, request: RunRequest, known: RunRow | None) -> list[Endpoint]:
    variable = request.api_key_env or (None if known is None else known.params.get(_API_KEY))
    key = api_key_from(variable)
    return [await stack.enter_async_context(open_endpoint(url, request.patience, key)) for url in _urls(request, known)]


async def _described(endpoint: Endpoint, overrides: Overrides) -> _Server:
    answers = await endpoint.describe(overrides.model)
    facts = facts_for(answers, overrides)
    return _Server(endpoint, described(answers, facts), facts)


async def _described_again(endpoints: Iterable[Endpoint], run: RunRow, tell: Notify) -> list[_Server]:
    """Return the servers of a run that are there; one that is away is missed only when all are."""
    found: list[_Server] = []
    missing: list[EndpointError] = []
    for endpoint in endpoints:
        try:
            found.append(await _described(endpoint, Overrides.from_json(run.model, run.params)))
        except EndpointError as error:
            missing.append(error)
    if not found:
        raise missing[0]
    for away in missing:
        tell(f"{away.message}; the other endpoints do its work")
    for server in found:
        require_same(run.server or {}, server.says)
    return found


def _started(log: "ToolLog", request: RunRequest, servers: list[_Server]) -> RunRow:
    first, *others = servers
    for other in others:
        require_same(first.says, other.says, other=other.endpoint.url)
    overrides = paced(request.overrides, request.pace, first.says)
    options = {
        _MORE_ENDPOINTS: [other.endpoint.url for other in others] or None,
        _API_KEY: request.api_key_env,
        AGAIN: request.again,
        UNTIL: request.until,
    }
    return Replays(log).start_run(
        name=request.name,
        tag=request.tag,
        model=overrides.model,
        endpoint=first.endpoint.url,
        mode=request.mode,
        params={
            **overrides.to_json(),
            "limit": request.limit,
            "attempts": request.attempts,
            _PACE: str(request.pace),
            _CONCURRENCY: request.concurrency,
            **{key: value for key, value in options.items() if value is not None},
            **(request.loop.to_json() if request.mode == CLOSED_LOOP else {}),
        },
        server=first.says,
        facts=first.facts,
    )


def _resumed(log: "ToolLog", run: RunRow, tell: Notify) -> RunRow:
    """Begin to go on with a run, or join those that work on it."""
    units = WorkUnits(log)
    workers = units.workers(run.id)
    gone = [worker for worker in workers if is_gone(worker)]
    units.release(run.id, gone)
    if others := [worker for worker in workers if worker not in gone]:
        tell(f"{run.name} goes on at {', '.join(others)}; this process joins in")
    units.retry(run.id)
    Replays(log).set_status(run.id, "running")
    return Replays(log).run(run.name)


async def _work(
    log: "ToolLog",
    run: RunRow,
    request: RunRequest,
    servers: list[_Server],
    listener: Listener | None,
    tell: Notify,
) -> None:
    """Do what is left of a run, and end it unless others go on with it."""
    work = WorkUnits(log)
    scenarios = scenarios_of(log, run)
    units = units_of(scenarios, mode=run.mode, attempts=run.params.get("attempts", 1))
    if not work.workers(run.id):  # who works on it has made them, and takes them away while we would look
        work.plan(run.id, units, closed_loop=run.mode == CLOSED_LOOP)
    try:
        headway = Headway(log, run, scenarios, units, listener)
        stations = _stations(run, request, servers, tell)
        await Crew(log, run, scenarios, stations, headway, tell, whole_scenarios=_pace_of(run) is Pace.FAST).work()
        if accepted_overlay(log, run.tag).n_answers:  # also since the run began: its first answers do not know of it
            score_run(log, run.name)
    except BaseException:
        # Cancelled (Ctrl-C), the servers gone, the disk full: what is recorded stays, the run can be resumed.
        if not work.workers(run.id):
            Replays(log).set_status(run.id, "aborted")
        raise
    Replays(log).set_status(run.id, "finished")


def _pace_of(run: RunRow) -> Pace:
    return Pace(run.params.get(_PACE, Pace.FAST))  # earlier versions left the server its cache


def _stations(run: RunRow, request: RunRequest, servers: list[_Server], tell: Notify) -> list[Station]:
    overrides, said = Overrides.from_json(run.model, run.params), run.server or {}
    prompts = PromptCheck(said)
    stations = []
    for server in servers:
        wanted = 1 if _pace_of(run) is Pace.STRICT else request.concurrency
        at_a_time = requests_at_a_time(wanted, server.says)
        if at_a_time < wanted:
            tell(f"{server.endpoint.url} has slots for {at_a_time} requests at a time: more would only wait")
        stations.append(Station(server.endpoint, at_a_time, overrides, run.uid, request.patience, prompts, said))
    return stations
