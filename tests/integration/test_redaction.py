"""Redaction from end to end: a live chat, and the command."""

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tarx_toollog import ToolLog, ToolLogMiddleware, ToolLogProxy, tool_execution
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.config import Settings
from tarx_toollog.model import Exchange
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tests.support.asgi import outcomes, query, recording
from tests.support.builders import TOOLS, assistant, call, exchange, user
from tests.support.redaction import (
    API_KEY,
    DB,
    MAIL,
    SECRETS,
    WIFI,
    content_of,
    dialogue,
    failed,
    fill,
    plain,
    run,
    stored_bytes,
)
from tests.support.upstream import DONE, chat_request, running, stream, talk, text_events, tool_events
from tests.support.workers import serving, workbench
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, fake_model, saying


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)  # a toollog.toml of the person who runs the tests must not be read
    return Settings(database=str(tmp_path / "t.db"))


@pytest.mark.parametrize("tap", ["middleware", "proxy"])
def test_no_byte_of_a_secret_in_a_chat_reaches_database_and_log(
    tmp_path: Path, tap: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pieces = [f"Your key is {API_KEY[:9]}", API_KEY[9:20], API_KEY[20:], ", keep it"]
    script = stream(
        [*text_events(pieces), *tool_events(arguments=json.dumps({"password": WIFI})), b"data: {broken\n\n", DONE]
    )
    with ExitStack() as stack:
        up = stack.enter_context(running(script))
        settings = stack.enter_context(recording(tmp_path, upstream=up.url, keep_raw="always"))
        app: Any = ToolLogProxy(settings=settings)
        if tap == "middleware":
            app = ToolLogMiddleware(workbench(up.url), settings=settings)
        url = stack.enter_context(serving(app))
        answer = talk(url, chat_request(streamed=True, text=f"DB_PASSWORD={DB}", headers=[("authorization", API_KEY)]))
        assert API_KEY[9:20].encode() in answer.body  # the client gets what the model said
        assert 1 == len(outcomes(settings))
        found = {path.name: path.read_bytes() for path in tmp_path.glob("toollog.db*") if path.is_file()}
        texts = [row["content"] for row in query(settings, "SELECT content FROM message ORDER BY id")]

    assert {"toollog.db", "toollog.db-wal"} <= set(found)
    assert [] == [name for name, data in found.items() for secret in SECRETS if secret.encode() in data]
    assert not any(secret in caplog.text for secret in SECRETS)
    assert ["DB_PASSWORD=⟦SECRET:", "Your key is ⟦OPENAI_"] == [text[:20] for text in texts]


def test_what_a_script_writes_goes_through_the_rules_as_well(settings: Settings) -> None:
    with ToolLog.open(settings=settings, read_only=False) as log:
        log.write(dialogue())

    left = stored_bytes(settings)
    assert [False, False, False, True] == [secret.encode() in left for secret in (*SECRETS, MAIL)]
    assert query(settings, "SELECT DISTINCT rule FROM redaction ORDER BY rule")


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_no_value_and_changes_nothing_unless_asked(settings: Settings) -> None:
    fill(settings, [*dialogue(), failed()])
    before = content_of(settings)

    ran = run(settings, "redact", "--level", "all", "--json").check_ok()

    report = json.loads(ran.output)
    assert not any(secret in ran.output for secret in (*SECRETS, MAIL))
    assert report["applied"] is False
    assert {"openai_key", "secret_field", "email", "url_password"} <= {row["rule"] for row in report["rules"]}
    assert before == content_of(settings)


def test_the_command_takes_out_secrets_but_no_personal_data_by_default(settings: Settings) -> None:
    fill(settings, dialogue())

    run(settings, "redact", "--apply").check_ok()

    left = stored_bytes(settings)
    assert [False, False, False, True] == [secret.encode() in left for secret in (*SECRETS, MAIL)]


def test_the_command_uses_rules_of_a_file(settings: Settings, tmp_path: Path) -> None:
    fill(settings, [plain()])
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = 'weather'\npattern = 'wea(th)er'\ngroup = 1\n")

    ran = run(settings, "redact", "--rules", str(rules), "--apply").check_ok()

    assert "weather" in ran.output
    assert b"What is the wea\xe2\x9f\xa6WEATHER:" in stored_bytes(settings)


def test_a_rules_file_that_is_wrong_is_named(settings: Settings, tmp_path: Path) -> None:
    fill(settings, [plain()])
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = 'broken'\npattern = '('\n")

    ran = run(settings, "redact", "--rules", str(rules))

    assert 2 == ran.code
    assert f"{rules}: rule 'broken'" in ran.output


def test_the_command_says_what_it_searched_the_file_for(settings: Settings) -> None:
    fill(settings, [*dialogue(), with_pin()])

    ran = run(settings, "redact", "--apply").check_ok()
    fill(settings, dialogue()[:1])
    report = json.loads(run(settings, "redact", "--apply", "--json").check_ok().output)
    again = run(settings, "redact", "--apply").check_ok()

    assert "the file and its log were searched for 3 values, and hold none of them (1 is too short" in ran.output
    assert {"searched": 3, "too_short": 0, "left": 0, "places": []} == report["check"]
    assert "nothing to take out" in again.output


def test_the_command_owns_up_to_a_value_that_stands_where_no_rule_looks(settings: Settings) -> None:
    # Names of tools and ids of calls are left alone: they link.
    named = call("tarx_recall", {"query": f"mail {API_KEY}"}, f"call-{API_KEY}")
    fill(settings, [exchange([user("find it")], assistant(None, named), tools=TOOLS)])

    ran = run(settings, "redact", "--apply").check_ok()

    assert "1 of 1 values still stands in the file, in message.extra, tool_call.call_id" in ran.output
    assert "hold none" not in ran.output
    assert API_KEY not in ran.output


def test_what_a_tool_calls_its_error_goes_through_the_rules(tmp_path: Path) -> None:
    refused = type(f"Refused {API_KEY}", (RuntimeError,), {})
    with recording(tmp_path, redact="secrets") as settings:
        with pytest.raises(refused), tool_execution("call-1", "fetch", settings=settings):
            raise refused("no")
        recorder_for(settings).flush()
        rows = query(settings, "SELECT error_type FROM tool_execution")

    assert ["Refused ⟦OPENAI_KEY"] == [row["error_type"].partition(":")[0] for row in rows]


def with_pin() -> Exchange:
    return exchange([user("My PIN is 4931.")], assistant("Noted."), at_s=700, client_key="c7")


def test_the_error_of_a_trial_goes_through_the_rules(settings: Settings) -> None:
    def refusing(body: Json) -> Response | Json:
        if "one" not in json.dumps(body):
            return saying("Hello.")  # a plain question, whether it works at all
        return JSONResponse({"error": {"type": API_KEY, "message": f"no {API_KEY}"}}, 500)

    with ToolLog.open(settings=settings, read_only=False) as log:
        Chat(log, "one").turn("one", saying("done"))
        build(log, "t", EVERY_SPLIT)
        with fake_model(refusing) as model:
            replay(log, RunRequest("r", "t", model.url, Overrides("m")))
        rows = list(log.query("SELECT status, error FROM trial").rows)

    assert ["model_error"] == [status for status, _ in rows]
    assert "⟦OPENAI_KEY:" in rows[0][1]
    assert API_KEY.encode() not in stored_bytes(settings)
