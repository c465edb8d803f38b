"""What a server can do instead of answering: what counts against the model, what does not, and what ends a run."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.text_report import report_text
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.endpoint import Patience
from tarx_toollog.replay.running.history import History
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.suites.freeze import stored
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays, TrialRow
from tarx_toollog.store.suites import Suites
from tests.support.faulty_model import PROPS, Answering, answering, completion, like_llama, scripted, send
from tests.support.replays import HASTY, figures, mostly_right, request, right, write_log
from tests.support.upstream import JSON, Connection
from tests.unit.replay.support import Json, fake_model, last_user, results_since, saying

Fault = Callable[[Json, Connection], None]
IMPATIENT = Patience(retries=1, first_wait_s=0.01, loading_s=5.0, read_timeout_s=0.5)
EIGHT_KB = "so it goes " * 750


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    write_log(tmp_path / "t.db")
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    """A log in which each test has a run of its own."""
    path = tmp_path_factory.mktemp("faults") / "t.db"
    write_log(path)
    with ToolLog.open(path, read_only=False) as opened:
        yield opened


# ---- whose fault it is ----------------------------------------------------------------------------------------------


def error(status: int, **said: Any) -> Fault:
    return lambda _, connection: send(connection, status, {"error": {"message": "no", **said}})


def hang(_: Json, connection: Connection) -> None:
    connection.wait_gone(3)


def cut_body(_: Json, connection: Connection) -> None:
    connection.head(200, JSON, ("content-length", "500"))
    connection.send(b'{"choices": [')
    connection.sock.close()


def reset(_: Json, connection: Connection) -> None:
    connection.reset()


def garbage(_: Json, connection: Connection) -> None:
    send(connection, 200, b"<html>Bad gateway</html>")


def nothing(_: Json, connection: Connection) -> None:
    send(connection, 200, {"choices": []})


def cut_answer(body: Json, connection: Connection) -> None:
    answer = completion(saying("I was about to"), body)
    answer["choices"][0]["finish_reason"] = "length"
    send(connection, 200, answer)


FAULTS: dict[str, tuple[Fault, str, str | None]] = {
    "a 500 on a clean history": (error(500), "model_error", "no"),
    "an error object with status 200": (error(200), "model_error", "no"),
    "an answer that the token limit cut": (cut_answer, "ok", None),
    "a hang": (hang, "infra_error", "ReadTimeout"),
    "a body that is cut": (cut_body, "infra_error", "RemoteProtocolError"),
    "a connection that is reset": (reset, "infra_error", "ReadError"),
    "a web page": (garbage, "infra_error", "truncated"),
    "an answer without an answer": (nothing, "infra_error", "truncated"),
    "a model that is loading": (error(503), "infra_error", "no"),
    "a server that is busy": (error(429), "infra_error", "no"),
    "a busy server behind a status of 200": (error(200, code=503), "infra_error", "503: no"),
    "a request that the server does not like": (error(400), "infra_error", "refused: "),
    "a context that is too short": (
        error(400, type="exceed_context_size_error", n_prompt_tokens=40009, n_ctx=32768),
        "infra_error",
        "prompt too long: 40,009 tokens, the context has 32,768",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_model_did_counts_against_it_and_nothing_else_does(shared: ToolLog, name: str) -> None:
    fault, status, said = FAULTS[name]
    script = Answering(right)

    def second_step(body: Json, connection: Connection) -> bool:
        is_it = results_since(body) == 1
        if is_it:
            fault(body, connection)
        return is_it

    script.fault = second_step
    with answering(script) as server:
        replay(shared, request(server, name, limit=1, patience=IMPATIENT))
    first, second, third = Replays(shared).trials(Replays(shared).run(name).id)

    assert ("ok", status, "ok") == (first.status, second.status, third.status)
    assert said in (second.error or "") if said else second.error is None
    assert (status == "infra_error") is (not second.scores)
    assert 0.0 == second.scores["step"].value if second.scores else build_report(shared, name).chains.denominator == 0


# ---- histories and prompts ------------------------------------------------------------------------------------------


def poison(log: ToolLog, tag: str, arguments: str, text: str = "stored") -> None:
    """Freeze one of the scenarios with a malformed call in its history."""
    scenario = Scenario.from_json(Suites(log).scenarios("t", limit=1)[0].definition)
    call = {"id": "bad", "type": "function", "function": {"name": "remember", "arguments": arguments}}
    before = (
        {"role": "user", "content": "Remember that."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "bad", "content": text},
    )
    steps = tuple(replace(step, exchange_uid="", messages=(*before, *step.messages)) for step in scenario.steps)
    Suites(log).freeze(tag, [stored(replace(scenario, steps=steps))], {})


@pytest.mark.parametrize(
    ("policy", "arguments", "sent"),
    [
        (History.VERBATIM, "{'text': 'Porto'}", None),
        (History.REPAIR, "{'text': 'Porto'}", {"text": "Porto"}),
        (History.REPAIR, '{"text": "Por', {}),
        (History.DROP, "{'text': 'Porto'}", None),
    ],
)
def test_a_malformed_call_of_the_log_is_not_the_models_fault(
    log: ToolLog, policy: History, arguments: str, sent: Json | None
) -> None:
    poison(log, "poisoned", arguments)
    script = Answering(right)
    script.fault = like_llama
    with answering(script) as server:
        replay(log, request(server, tag="poisoned", overrides=Overrides("m", history=policy)))
    trials = list(Replays(log).trials(Replays(log).run("r").id))

    assert str(policy) == Replays(log).run("r").params["history"]
    if policy is History.VERBATIM:
        assert {"infra_error"} == {trial.status for trial in trials}
        assert all((trial.error or "").startswith("history refused: ") for trial in trials)
        return
    assert {("ok", "history changed: malformed calls: 1")} == {(trial.status, trial.error) for trial in trials}
    assert {1.0} == {trial.scores["step"].value for trial in trials}
    first = script.requests[0]["messages"]
    if policy is History.DROP:
        assert [("user", "Remember that."), ("user", first[-1]["content"])] == [
            (message["role"], message["content"]) for message in first
        ]
    else:
        assert sent == json.loads(first[1]["tool_calls"][0]["function"]["arguments"])


def test_a_prompt_that_was_cut_makes_no_verdict_and_is_said(log: ToolLog) -> None:
    long = [saying(EIGHT_KB), {"role": "user", "content": "Go on."}] * 3
    scenario = Scenario.from_json(Suites(log).scenarios("t", limit=1)[0].definition)
    steps = tuple(replace(step, messages=(*step.messages[:1], *long, *step.messages[1:])) for step in scenario.steps)
    Suites(log).freeze("long", [stored(replace(scenario, steps=steps))], {})
    with log.engine.begin() as connection:  # what the server of the log counted
        connection.exec_driver_sql("UPDATE exchange SET input_tokens = 6000, usage_source = 'usage'")
    script = Answering(right)

    def cutting(body: Json, connection: Connection) -> bool:
        answer = completion(right(body), body)
        answer["usage"]["prompt_tokens"] = min(2048, answer["usage"]["prompt_tokens"])
        send(connection, 200, answer)
        return True

    with answering(script) as server:
        replay(log, request(server, "whole", tag="long"))
        script.fault = cutting
        replay(log, request(server, "cut", tag="long"))
    whole, cut = (list(Replays(log).trials(Replays(log).run(name).id)) for name in ("whole", "cut"))

    assert {("ok", None)} == {(trial.status, trial.error) for trial in whole}
    said = "prompt truncated: the server counted 2,048 tokens, that of the log 6,000"
    assert {("infra_error", said)} == {(trial.status, trial.error) for trial in cut}
    assert all(trial.answer is not None and not trial.scores for trial in cut)
    assert not build_report(log, "cut").is_valid


# ---- waiting, and giving up -----------------------------------------------------------------------------------------


def test_a_loading_server_is_waited_for_and_costs_nothing(log: ToolLog) -> None:
    loading = iter([503, 503])

    def handler(body: Json) -> Response | Json:
        status = next(loading, 200)
        return right(body) if status == 200 else JSONResponse({"error": {"message": "Loading model"}}, status)

    with fake_model(handler) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    assert 14 == len(model.requests)
    assert (0, 12) == (report.asked.infra_errors, report.scorers["step"].numerator)


def test_a_model_that_is_still_loading_is_waited_for_before_the_run_begins(log: ToolLog) -> None:
    with fake_model(right) as model:
        model.loading = 1
        replay(log, request(model, limit=1))
        server = Replays(log).run("r").server
    assert 0 == model.loading
    assert server is not None
    assert ["fake"] == server["models"]


def test_an_error_of_the_server_is_in_the_report(log: ToolLog) -> None:
    def handler(body: Json) -> Response | Json:
        if (last_user(body), results_since(body)) == ("three", 0):
            return JSONResponse({"error": {"message": "Failed to parse input", "type": "server_error"}}, 500)
        return right(body)

    with fake_model(handler) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    assert (1, 11, 3) == (report.asked.model_errors, report.scorers["step"].numerator, report.chains.numerator)
    assert ["server_error"] == [failure.code for failure in report.failures]
    assert "Failed to parse input" in report_text(report)


def test_what_the_network_ate_is_asked_again_by_resume(log: ToolLog) -> None:
    broken = threading.Event()

    def handler(body: Json) -> Response | Json:
        if (last_user(body), results_since(body)) == ("four", 1) and not broken.is_set():
            return Response(b'{"choices": [', headers={"content-length": "500"}, media_type="application/json")
        return right(body)

    with fake_model(handler) as model:
        replay(log, request(model))
        report = build_report(log, "r")
        assert (1, 11, 3) == (report.asked.infra_errors, report.scorers["step"].denominator, report.chains.denominator)
        assert not report.is_valid
        assert "NOT VALID" in report_text(report)
        broken.set()
        before = len(model.requests)
        replay(log, RunRequest("r", resume=True, patience=HASTY))
        assert 1 == len(model.requests) - before
    report = build_report(log, "r")
    assert (0, True, 4) == (report.asked.infra_errors, report.is_valid, report.chains.denominator)


def test_a_server_that_dies_stops_the_run_and_a_second_one_finishes_it(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model, "whole"))

    def dying(body: Json) -> Response | Json:
        return mostly_right(body) if len(model.requests) <= 5 else JSONResponse({}, 503)

    with fake_model(dying) as model:
        with pytest.raises(EndpointError, match="does not answer any more") as caught:
            replay(log, request(model))
        assert "--resume r" in caught.value.hint
    assert "aborted" == Replays(log).run("r").status
    assert build_report(log, "r").chains.denominator < 4
    with fake_model(mostly_right) as model:
        replay(log, RunRequest("r", endpoint=model.url, resume=True, patience=HASTY))
        assert 12 - 5 == len(model.requests)
    assert figures(build_report(log, "whole")) == figures(build_report(log, "r"))


def test_a_server_that_comes_back_with_another_model_stops_the_run_before_that_counts(log: ToolLog) -> None:
    script = Answering(right)

    def fourth_restarts(_: Json, connection: Connection) -> bool:
        if len(script.requests) != 4:
            return False
        script.props = {**PROPS, "model_path": "/models/b.gguf"}
        connection.reset()
        return True

    script.fault = fourth_restarts
    with answering(script) as server:
        with pytest.raises(ConfigError, match=r"file_name was 'a.gguf', now 'b.gguf'"):
            replay(log, request(server))
        assert ("aborted", 3) == (Replays(log).run("r").status, build_report(log, "r").asked.asked)
        script.props = PROPS
        replay(log, RunRequest("r", resume=True))
    assert 4 == build_report(log, "r").chains.numerator


def test_a_server_that_is_killed_costs_no_verdict(log: ToolLog) -> None:
    script = Answering(scripted)

    def fourth_kills(_: Json, connection: Connection) -> bool:
        if len(script.requests) >= 4:
            connection.reset()
            dead.set()
        return dead.is_set()

    script.fault, dead = fourth_kills, threading.Event()
    with answering(script) as server, pytest.raises(EndpointError, match="does not answer any more"):
        replay(log, request(server))
    trials: list[TrialRow] = list(Replays(log).trials(Replays(log).run("r").id))
    assert 3 == sum(trial.status == "ok" for trial in trials)
    assert {"ok", "infra_error"} == {trial.status for trial in trials}


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_stops_the_run_at_once(log: ToolLog, status: int) -> None:
    with fake_model(lambda _: JSONResponse({"error": {"message": "not here"}}, status)) as model:
        with pytest.raises(EndpointError, match=f"refuses: HTTP {status}"):
            replay(log, request(model))
        assert 1 == len(model.requests)


def test_nobody_there_is_said_before_anything_is_written(log: ToolLog) -> None:
    with fake_model(right) as model:
        gone = request(model)
    began = time.monotonic()
    with pytest.raises(EndpointError) as caught:
        replay(log, gone)
    assert 5 == caught.value.exit_code
    assert caught.value.hint
    assert time.monotonic() - began < 30
    assert [] == Replays(log).runs()
