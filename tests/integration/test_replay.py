"""Replay against a real HTTP server whose answers the test controls, with a real SQLite store."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.responses import Response

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.files.suites import import_file
from tarx_toollog.replay.reports.report import build_report, trial_rows
from tarx_toollog.replay.reports.text_report import report_text
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.wire.decode import decode
from tests.support.captures import chat_captures, load_raw
from tests.support.replays import CHAIN as CHAIN
from tests.support.replays import figures, mostly_right, right, write_log
from tests.support.replays import request as request
from tests.unit.replay.support import EVERY_SPLIT, PARAMS, TOOLS, Json, completion, fake_model, results_since, saying


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    write_log(tmp_path / "t.db")
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def test_a_model_that_answers_as_logged_agrees_everywhere(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    assert (report.chains.numerator, report.chains.denominator) == (4, 4)
    assert (report.scorers["step"].numerator, report.scorers["step"].denominator) == (12, 12)
    assert (report.run.status, report.asked.asked, report.failures) == ("finished", 12, ())


def test_one_wrong_tool_costs_one_step_and_one_chain(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model))
    report = build_report(log, "r")
    shares = {name: (share.numerator, share.denominator) for name, share in report.scorers.items() if share.denominator}
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


def test_no_proxy_of_the_shell_gets_to_see_the_prompts(log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with fake_model(right) as model:
        replay(log, request(model, limit=1))
    assert len(model.requests) == 3


def test_a_wrong_tag_is_told_without_asking_the_server(log: ToolLog) -> None:
    with pytest.raises(NothingMatchedError, match="'wrong'"):
        replay(log, RunRequest("r", "wrong", "http://127.0.0.1:9", Overrides("m")))


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


def test_the_name_of_a_run_is_taken_once(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model, limit=1))
        with pytest.raises(ConfigError, match="called 'r' already"):
            replay(log, request(model, limit=1))


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
        connection.exec_driver_sql("DELETE FROM score WHERE scorer = 'step' AND trial_id % 3 = 0")
    assert figures(build_report(log, "r")) != before
    assert build_report(log, "r").asked.unscored > 0
    assert score_run(log, "r") == 12
    assert figures(build_report(log, "r")) == before


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
    assert found.scorers["step"].denominator == found.asked.total
    assert found.scorers["arguments_strict"].numerator == found.scorers["arguments_strict"].denominator > 10


def test_a_call_in_the_text_is_no_call_and_the_report_says_that_it_would_have_been_right(log: ToolLog) -> None:
    leaked = saying('<tool_call>\n{"name": "recall", "arguments": {"query": "home"}}\n</tool_call>')
    with fake_model(lambda body: right(body) if results_since(body) else leaked) as model:
        replay(log, request(model))
    (failure,) = build_report(log, "r").failures
    assert ("unparsed_tool_call", 4) == (failure.code, failure.count)
    assert failure.example["finding"]["would_have_been_right"] is True
    assert {"(answer)"} == {row["actual"] for row in trial_rows(log, "r") if row["step_no"] == 1}


def test_scenarios_without_logged_answers_are_not_given_again(log: ToolLog, tmp_path: Path) -> None:
    line = {"messages": [{"role": "user", "content": "Hi"}], "tools": [], "expected": {"answer": True}}
    (tmp_path / "own.jsonl").write_text(json.dumps(line))
    import_file(log, tmp_path / "own.jsonl", "own")
    with pytest.raises(ConfigError, match="no logged answers"):
        replay(log, RunRequest("r", "own", "recorded:", Overrides("log")))
