"""Replay against a real HTTP server whose answers the test controls, with a real SQLite store."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tarx_toollog.errors import ConfigError, EndpointError, NothingMatchedError
from tarx_toollog.replay.asking import Overrides
from tarx_toollog.replay.endpoint import Patience
from tarx_toollog.replay.freeze import build
from tarx_toollog.replay.report import Report, build_report
from tarx_toollog.replay.runner import Progress, RunRequest, replay, replay_async
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.replay.text_report import report_text
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.wire.decode import decode
from tests.support.captures import chat_captures, load_raw
from tests.unit.replay.support import (
    EVERY_SPLIT,
    PARAMS,
    TOOLS,
    Chat,
    FakeModel,
    Json,
    calling,
    completion,
    fake_model,
    last_user,
    results_since,
    saying,
)

RECALL = ("recall", {"query": "home"})
REMEMBER = ("remember", {"text": "Porto", "kind": "fact"})
CHAIN = (calling(RECALL), calling(REMEMBER), saying("done"))
USERS = ("one", "two", "three", "four")
HASTY = Patience(retries=2, first_wait_s=0.01, loading_s=5.0, read_timeout_s=5.0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A log with four turns of three steps each, frozen under the tag ``t``."""
    path = tmp_path / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        for user in USERS:
            Chat(log, user).turn(user, *CHAIN)
        build(log, "t", EVERY_SPLIT)
    return path


@pytest.fixture
def log(database: Path) -> Iterator[ToolLog]:
    with ToolLog.open(database, read_only=False) as opened:
        yield opened


def right(body: Json) -> Json:
    """Answer as in the log."""
    return CHAIN[results_since(body)]


def mostly_right(body: Json) -> Json:
    """Answer as in the log, but call another tool in the second step of the turn that begins with ``two``."""
    if (last_user(body), results_since(body)) == ("two", 1):
        return calling(("save", {"title": "Porto"}))
    return right(body)


def request(model: FakeModel, name: str = "r", **changes: Any) -> RunRequest:
    return replace(RunRequest(name, "t", model.url, Overrides("tuned"), patience=HASTY), **changes)


def figures(report: Report) -> dict[str, Any]:
    """Return what must not depend on how often a run was interrupted."""
    found = report.to_json()
    del found["run"]
    for failure in found["failures"]:
        del failure["example"]["exchange_uid"]
    return found


def test_a_model_that_answers_as_logged_agrees_everywhere(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    assert (report.chains.numerator, report.chains.denominator) == (4, 4)
    assert (report.scorers["step"].numerator, report.scorers["step"].denominator) == (12, 12)
    assert (report.run.status, report.steps_asked, report.failures) == ("finished", 12, ())


def test_one_wrong_tool_costs_one_step_and_one_chain(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    shares = {name: (share.numerator, share.denominator) for name, share in report.scorers.items()}
    assert shares == {
        "step": (11, 12), "name": (7, 8), "parse": (8, 8), "schema": (8, 8), "arguments": (7, 7),
        "arguments_strict": (7, 7), "step_strict": (11, 12), "step_lenient": (11, 12),
    }  # fmt: skip
    assert (report.chains.numerator, report.chains.denominator) == (3, 4)
    depths = {part.key: (part.agreement.numerator, part.agreement.denominator) for part in report.depths}
    assert depths == {"step 1": (4, 4), "step 2": (3, 4), "step 3": (4, 4)}
    (failure,) = report.failures
    assert (failure.code, failure.count, failure.example["step_no"]) == ("wrong_tool", 1, 2)
    assert log.exchange(failure.example["exchange_uid"]).leg == "replay"


def test_the_request_is_the_logged_one_with_the_overrides(log: ToolLog) -> None:
    lora = [{"id": 0, "scale": 0.0}]
    with fake_model(right) as model:
        replay(log, request(model, overrides=Overrides("tuned", seed=3, extra_body={"lora": lora}), limit=1))
    logged = {step.exchange_uid: step for turn in log.trajectories() for step in turn.steps}
    asked = {len(step.messages): step for step in logged.values() if step.messages[0]["content"] ==
             model.requests[0]["messages"][0]["content"]}  # fmt: skip
    assert len(model.requests) == 3
    for body in model.requests:
        assert body == {
            **PARAMS, "model": "tuned", "temperature": 0.0, "seed": 3, "stream": False, "lora": lora, "tools": TOOLS,
            "messages": list(asked[len(body["messages"])].messages),
        }  # fmt: skip


def test_replay_exchanges_are_no_traffic(log: ToolLog) -> None:
    before = len(list(log.trajectories()))
    with fake_model(right) as model:
        replay(log, request(model))
    assert len(list(log.trajectories())) == before
    with ToolLog.open(log.settings.database) as reader:
        rows = reader.query("SELECT COUNT(*) FROM exchange WHERE run_id IS NOT NULL AND leg = 'replay'").rows
        assert list(rows) == [(12,)]
    with pytest.raises(NothingMatchedError):
        build(log, "u", replace(EVERY_SPLIT, models=frozenset({"tuned"})))


def test_a_loading_server_is_waited_for_and_costs_nothing(log: ToolLog) -> None:
    loading = iter([503, 503])

    def handler(body: Json) -> Response | Json:
        status = next(loading, 200)
        return right(body) if status == 200 else JSONResponse({"error": {"message": "Loading model"}}, status)

    with fake_model(handler) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    assert len(model.requests) == 14
    assert (report.infra_errors, report.scorers["step"].numerator) == (0, 12)


def test_a_model_that_is_still_loading_is_waited_for_before_the_run_begins(log: ToolLog) -> None:
    with fake_model(right) as model:
        model.loading = 1
        replay(log, request(model, limit=1))
        server = Replays(log).run("r").server
    assert model.loading == 0
    assert server is not None
    assert server["models"] == ["fake"]


def test_no_proxy_of_the_shell_gets_to_see_the_prompts(log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with fake_model(right) as model:
        replay(log, request(model, limit=1))
    assert len(model.requests) == 3


def test_a_wrong_tag_is_told_without_asking_the_server(log: ToolLog) -> None:
    with pytest.raises(NothingMatchedError, match="'wrong'"):
        replay(log, RunRequest("r", "wrong", "http://127.0.0.1:9", Overrides("m")))


def test_an_error_of_the_server_counts_against_the_model(log: ToolLog) -> None:
    def handler(body: Json) -> Response | Json:
        if (last_user(body), results_since(body)) == ("three", 0):
            return JSONResponse({"error": {"message": "Failed to parse input", "type": "server_error"}}, 500)
        return right(body)

    with fake_model(handler) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    assert (report.model_errors, report.scorers["step"].numerator, report.chains.numerator) == (1, 11, 3)
    assert [failure.code for failure in report.failures] == ["server_error"]
    assert "Failed to parse input" in report_text(report)


def test_a_broken_connection_is_no_verdict_on_the_model(log: ToolLog) -> None:
    broken = threading.Event()

    def handler(body: Json) -> Response | Json:
        if (last_user(body), results_since(body)) == ("four", 1) and not broken.is_set():
            return Response(b'{"choices": [', headers={"content-length": "500"}, media_type="application/json")
        return right(body)

    with fake_model(handler) as model:
        replay(log, request(model))
        report = build_report(log, "r")
        assert (report.infra_errors, report.scorers["step"].denominator, report.chains.denominator) == (1, 11, 3)
        assert not report.is_valid
        assert "NOT VALID" in report_text(report)
        broken.set()
        replay(log, RunRequest("r", resume=True, patience=HASTY))
    report = build_report(log, "r")
    assert (report.infra_errors, report.is_valid, report.chains.denominator) == (0, True, 4)


def test_a_server_that_dies_stops_the_run_and_a_second_one_finishes_it(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model, "whole"))

    def dying(body: Json) -> Response | Json:
        return mostly_right(body) if len(model.requests) <= 5 else JSONResponse({}, 503)

    with fake_model(dying) as model:
        with pytest.raises(EndpointError, match="does not answer any more") as caught:
            replay(log, request(model))
        assert "--resume r" in caught.value.hint
    assert Replays(log).run("r").status == "aborted"
    assert build_report(log, "r").chains.denominator < 4
    with fake_model(mostly_right) as model:
        move_run(log, "r", model.url)
        replay(log, RunRequest("r", resume=True, patience=HASTY))
        assert len(model.requests) == 12 - 5
    assert figures(build_report(log, "r")) == figures(build_report(log, "whole"))


def move_run(log: ToolLog, name: str, url: str) -> None:
    """Point a run at a server that came back on another port; a test cannot keep the port."""
    with log.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE run SET endpoint = ? WHERE name = ?", (url, name))


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_stops_the_run_at_once(log: ToolLog, status: int) -> None:
    with fake_model(lambda _: JSONResponse({"error": {"message": "not here"}}, status)) as model:
        with pytest.raises(EndpointError, match=f"HTTP {status}"):
            replay(log, request(model))
        assert len(model.requests) == 1


def test_nobody_there_is_said_before_anything_is_written(log: ToolLog) -> None:
    with fake_model(right) as model:
        gone = request(model)
    with pytest.raises(EndpointError) as caught:
        replay(log, gone)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert Replays(log).runs() == []


def test_the_server_is_described_and_must_stay_the_same(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model))
        server = Replays(log).run("r").server
        assert server is not None
        assert (server["models"], server["quantization"], server["file_name"]) == (["fake"], "Q4_K_M", "a.gguf")
        assert len(server["chat_template_hash"]) == 34
        model.props["chat_template"] = "another"
        with pytest.raises(ConfigError, match="chat_template_hash"):
            replay(log, RunRequest("r", resume=True))


def test_the_answers_of_a_run_are_of_the_build_that_it_found(log: ToolLog) -> None:
    with fake_model(right) as model:
        model.adapters = [{"id": 0, "path": "tuned.gguf", "scale": 1.0}]
        replay(log, request(model))
        off = Overrides("tuned", extra_body={"lora": [{"id": 0, "scale": 0.0}]})
        replay(log, request(model, "off", overrides=off))
        replay(log, request(model, "again"))

    sql = (
        "SELECT r.name, b.name, COUNT(*) FROM exchange e JOIN run r ON r.id = e.run_id "
        "JOIN model_build b ON b.id = e.model_build_id GROUP BY r.name, b.name ORDER BY r.id"
    )
    assert [("r", "a.gguf + tuned.gguf", 12), ("off", "a.gguf", 12), ("again", "a.gguf + tuned.gguf", 12)] == list(
        log.query(sql).rows
    )


def test_a_run_keeps_its_scenarios_when_the_tag_grows(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model))
        Chat(log, "new").turn("new", *CHAIN)
        build(log, "t", EVERY_SPLIT)
        replay(log, RunRequest("r", resume=True))
        assert len(model.requests) == 12
        replay(log, request(model, "s"))
        assert len(model.requests) == 12 + 15


def test_the_name_of_a_run_is_taken_once(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model, limit=1))
        with pytest.raises(ConfigError, match="called 'r' already"):
            replay(log, request(model, limit=1))


def test_several_requests_at_a_time_ask_every_step_once(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model, concurrency=4))
        replay(log, request(model, "alone"))
    assert len(model.requests) == 24
    assert figures(build_report(log, "r")) == figures(build_report(log, "alone"))


def test_progress_ends_with_everything_done(log: ToolLog) -> None:
    seen: list[Progress] = []
    with fake_model(mostly_right) as model:
        replay(log, request(model), seen.append)
    assert [now.done for now in seen] == list(range(13))
    assert (seen[-1].agreement.numerator, seen[-1].agreement.denominator, seen[-1].eta_s) == (11, 12, 0.0)
    assert seen[1].eta_s is not None
    assert seen[1].eta_s > 0


def test_streamed_answers_score_the_same(log: ToolLog) -> None:
    def handler(body: Json) -> Response | Json:
        if not body["stream"]:
            return mostly_right(body)
        message = mostly_right(body)
        choice = completion(message)["choices"][0]
        delta = {key: value for key, value in message.items() if key != "tool_calls"}
        if "tool_calls" in message:
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
        event = {"choices": [{"index": 0, "delta": delta, "finish_reason": choice["finish_reason"]}]}
        return Response(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n", media_type="text/event-stream")

    with fake_model(handler) as model:
        replay(log, request(model, overrides=Overrides("tuned", stream=True)))
        replay(log, request(model, "whole"))
    assert figures(build_report(log, "r")) == figures(build_report(log, "whole"))


def test_scoring_again_replaces_the_scores(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model))
    before = figures(build_report(log, "r"))
    with log.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE score SET value = 0 WHERE id % 2 = 0")
        connection.exec_driver_sql("DELETE FROM score WHERE id % 3 = 0")
    assert figures(build_report(log, "r")) != before
    assert build_report(log, "r").unscored > 0
    assert score_run(log, "r") == 12
    assert figures(build_report(log, "r")) == before


def test_cancelling_leaves_the_run_to_be_resumed(log: ToolLog) -> None:
    async def cancel_after_three(model: FakeModel) -> None:
        enough = asyncio.Event()

        def listen(now: Progress) -> None:
            if now.done == 3:
                enough.set()

        task = asyncio.create_task(replay_async(log, request(model), listen))
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with fake_model(right) as model:
        asyncio.run(cancel_after_three(model))
        assert Replays(log).run("r").status == "aborted"
        assert build_report(log, "r").steps_asked == 3
        replay(log, RunRequest("r", resume=True))
    assert build_report(log, "r").chains.numerator == 4


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
def test_a_killed_run_resumed_gives_the_scores_of_one_that_was_not(database: Path, kill: signal.Signals) -> None:
    reached = threading.Event()

    def handler(body: Json) -> Json:
        if body["model"] == "slow" and len(model.requests) >= 5:
            reached.set()
            time.sleep(0.3)
        return mostly_right(body)

    with fake_model(handler) as model:
        options = ["--endpoint", model.url, "--model", "slow", "--name", "r"]
        process = start("--database", str(database), "replay", "run", "t", *options)
        assert reached.wait(30)
        process.send_signal(kill)
        _, errors = process.communicate(timeout=30)
        with ToolLog.open(database, read_only=False) as log:
            asked = build_report(log, "r").steps_asked
            assert 0 < asked < 12
            replay(log, RunRequest("r", resume=True))
            replay(log, request(model, "whole"))
            assert figures(build_report(log, "r")) == figures(build_report(log, "whole"))
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert "toollog replay run --resume r" in errors
    else:
        assert process.returncode == -signal.SIGKILL


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tarx_toollog", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_no_text_of_a_bronze_report_claims_accuracy(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model))
    text = report_text(build_report(log, "r"))
    assert "agreement with the log, not accuracy" in text
    assert not re.search(r"accura", text.replace("not accuracy", ""), re.IGNORECASE)


def test_real_captures_replayed_as_recorded_agree_everywhere(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "captures.db", read_only=False) as log:
        log.write(decode(load_raw(name)) for name in chat_captures())
        report = build(log, "t", EVERY_SPLIT)
        assert report.taken >= 20
        replay(log, RunRequest("r", "t", "recorded:", Overrides("log")))
        found = build_report(log, "r")
    assert found.failures == ()
    assert found.scorers["step"].denominator == found.steps_total
    assert found.scorers["arguments_strict"].numerator == found.scorers["arguments_strict"].denominator > 10
