"""What a run does not believe: answers of a server that has changed, and errors of one that does not work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, TEACHER_FORCED, Replays
from tests.support.faulty_model import PROPS, Answering, answering, send
from tests.support.replays import request, right, write_log
from tests.support.upstream import Connection
from tests.unit.replay.support import Json


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    write_log(tmp_path / "t.db")
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def broken(_: Json, connection: Connection) -> bool:
    send(connection, 500, {"error": {"message": "CUDA error: out of memory", "code": 500}})
    return True


@pytest.mark.parametrize(
    ("mode", "at", "change"),
    [
        (TEACHER_FORCED, 4, {"chat_template": "another"}),
        (TEACHER_FORCED, 12, {"model_path": "/models/b.gguf"}),
        (CLOSED_LOOP, 4, {"default_generation_settings": {"n_ctx": 4096}}),
        (CLOSED_LOOP, 12, {"model_ftype": "Q8_0"}),
    ],
)
def test_a_server_that_changes_without_a_failed_request_stops_the_run_before_that_counts(
    log: ToolLog, mode: str, at: int, change: Json
) -> None:
    script = Answering(right)

    def changes(_: Json, __: Connection) -> bool:
        if len(script.requests) == at:  # of 12: the last answer is looked at, too
            script.props = {**PROPS, **change}
        return False

    script.fault = changes
    with answering(script) as server:
        with pytest.raises(ConfigError, match="the server changed since the run began"):
            replay(log, request(server, mode=mode))
        kept = build_report(log, "r").asked.asked
        script.props = PROPS
        replay(log, RunRequest("r", resume=True))
    assert (at - 1 if mode == TEACHER_FORCED else (at - 1) // 3) == kept
    assert 4 == build_report(log, "r").chains.numerator


def test_a_server_that_does_not_say_any_more_what_it_serves_is_not_believed(log: ToolLog) -> None:
    script = Answering(right)

    def falls_silent(_: Json, __: Connection) -> bool:
        script.is_silent = len(script.requests) >= 4
        return False

    script.fault = falls_silent
    with answering(script) as server, pytest.raises(EndpointError, match="does not say any more which model it serves"):
        replay(log, request(server))
    assert ("aborted", 3) == (Replays(log).run("r").status, build_report(log, "r").chains.denominator * 3)


def test_a_server_that_errs_on_everything_is_no_verdict_on_the_model(log: ToolLog) -> None:
    script = Answering(right)
    script.fault = broken
    with answering(script) as server:
        with pytest.raises(EndpointError, match=r"fails: HTTP 500, an error even to a plain question.*CUDA") as caught:
            replay(log, request(server))
        plain = script.requests[-1]
        (trial,) = Replays(log).trials(Replays(log).run("r").id)
        script.fault = lambda _body, _connection: False
        replay(log, RunRequest("r", resume=True))
    assert "--resume r" in caught.value.hint
    assert ([{"role": "user", "content": "Say hello."}], None) == (plain["messages"], plain.get("tools"))
    assert ("infra_error", {}) == (trial.status, trial.scores)
    assert 4 == build_report(log, "r").chains.numerator


@pytest.mark.parametrize("after", [0, 5])
def test_a_server_that_errs_on_tools_only_is_believed_and_one_that_breaks_later_is_not(
    log: ToolLog, after: int
) -> None:
    script = Answering(right)

    def fails(body: Json, connection: Connection) -> bool:
        is_it = (len(script.requests) > after) if after else "tools" in body
        if is_it:
            broken(body, connection)
        return is_it

    script.fault = fails
    with answering(script) as server:
        if after:
            with pytest.raises(EndpointError, match="plain question"):
                replay(log, request(server))
        else:
            replay(log, request(server))
    found = build_report(log, "r").asked
    assert ((0, 5) if after else (12, 12)) == (found.model_errors, found.asked - found.infra_errors)


def test_an_endpoint_that_errs_on_everything_leaves_its_work_to_the_others(log: ToolLog) -> None:
    script, told = Answering(right), list[str]()
    script.fault = broken
    with answering(Answering(right)) as one, answering(script) as two:
        replay(log, request(one, more_endpoints=(two.url,)), notify=told.append)
    assert (0, 4) == (build_report(log, "r").asked.infra_errors, build_report(log, "r").chains.numerator)
    assert told[0].startswith(f"{two.url} fails: HTTP 500")
