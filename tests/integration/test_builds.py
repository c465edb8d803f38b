"""From an exchange through a tap to the row that says which build answered, and to the command line."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogProxy, ToolLogTransport
from tarx_toollog.capture import probe
from tarx_toollog.capture.recorder import recorder_for
from tests.support.asgi import answering, drive, outcomes, piece, query, recording, start
from tests.support.builders import assistant, call
from tests.support.described import BAD, LLAMA_CPP, MODEL, routes
from tests.support.ollama_server import MODEL as OLLAMA_MODEL
from tests.support.ollama_server import Answer, ollama
from tests.support.upstream import Connection, Request, Script, Upstream, chat_body, running, whole
from tests.support.workers import serving
from tests.unit.cli.samples import run

CHAT = "/v1/chat/completions"
CALLING = assistant("", call("tarx_recall", {"query": "city"}, "call-1"))
ANSWER = json.dumps(
    json.loads(chat_body()) | {"model": MODEL, "choices": [{"index": 0, "finish_reason": "stop", "message": CALLING}]}
).encode()
BODY = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}


def serves(others: Script) -> Script:
    """Return a server that answers chats, and on other routes what the script says."""

    def play(request: Request, connection: Connection) -> None:
        (whole(ANSWER) if request.target == CHAT.encode() else others)(request, connection)

    return play


@contextmanager
def proxied(folder: Path, others: Script, **options: Any) -> Iterator[tuple[Upstream, Settings, str]]:
    """Serve the proxy in front of a server, with the probe on."""
    with running(serves(others)) as up, recording(folder, upstream=up.url, probe=True, **options) as settings:
        with serving(ToolLogProxy(settings=settings)) as url:
            yield up, settings, url
        up.go_on.set()


def chat(url: str) -> None:
    answer = httpx.post(url + CHAT, json=BODY, timeout=10)
    assert (200, ANSWER) == (answer.status_code, answer.content)


def builds(settings: Settings) -> list[tuple[str | None, int | None]]:
    """Return the build's file and the context of each exchange, in order."""
    found = query(
        settings,
        "SELECT b.file_name, e.ctx_limit FROM exchange e LEFT JOIN model_build b ON b.id = e.model_build_id "
        "ORDER BY e.id",
    )
    return [(row["file_name"], row["ctx_limit"]) for row in found]


def wait_sightings(settings: Settings, n: int) -> None:
    end = time.monotonic() + 10
    while len(query(settings, "SELECT id FROM model_sighting")) < n:
        assert time.monotonic() < end
        recorder_for(settings).flush()
        time.sleep(0.02)


def wait_builds(settings: Settings, expected: list[tuple[str | None, int | None]]) -> None:
    end = time.monotonic() + 10
    while True:
        recorder_for(settings).flush()
        found = builds(settings)
        if found == expected or time.monotonic() > end:
            assert expected == found
            return
        time.sleep(0.02)


FILE = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
KNOWN = (FILE, 32768)


def test_every_exchange_gets_the_build_also_those_that_ended_before_the_answer_of_the_probe(tmp_path: Path) -> None:
    with proxied(tmp_path, routes(LLAMA_CPP)) as (up, settings, url):
        for _ in range(3):
            chat(url)
        wait_builds(settings, [KNOWN] * 3)
        chat(url)
        wait_builds(settings, [KNOWN] * 4)

        assert ["GET"] * 3 == [request.method.decode() for request in up.requests if request.method == b"GET"]
        assert (0, 0) == (recorder_for(settings).lost, recorder_for(settings).failures)


def test_the_build_of_ollama_has_the_context_that_the_model_is_loaded_with(tmp_path: Path) -> None:
    with ollama(Answer("hello")) as server, recording(tmp_path, upstream=server.url, probe=True) as settings:
        with serving(ToolLogProxy(settings=settings)) as url:
            body = {"model": OLLAMA_MODEL, "messages": BODY["messages"], "stream": False}
            assert 200 == httpx.post(f"{url}/api/chat", json=body, timeout=10).status_code
        recorder_for(settings).close()
        (row,) = query(
            settings, "SELECT b.*, e.ctx_limit FROM exchange e JOIN model_build b ON b.id = e.model_build_id"
        )

    assert {
        "server": "ollama",
        "server_version": "0.13.0",
        "model": OLLAMA_MODEL,
        "quantization": "Q4_1",
        "n_ctx": 4096,
        "ctx_limit": 4096,
        "n_ctx_train": 8192,
    }.items() <= row.items()
    assert ["/api/chat", "/api/version", "/api/ps", "/api/show"] == server.paths


def test_a_server_that_comes_back_with_another_file_under_the_same_name_makes_another_build(tmp_path: Path) -> None:
    answers = dict(LLAMA_CPP)
    with proxied(tmp_path, lambda *both: routes(answers)(*both)) as (_up, settings, url):
        chat(url)
        wait_builds(settings, [KNOWN])
        answers["/props"] = answers["/props"] | {"model_path": "finetune-v2.gguf"}
        # What a failed request says to the recorder.
        run_of = recorder_for(settings)._run
        assert run_of is not None
        run_of._prober.gone(settings.upstream)
        chat(url)

        # The second exchange lies between two probes that disagree: whose it is, nobody can tell.
        wait_sightings(settings, 2)  # an exchange that is still open has no build, either
        wait_builds(settings, [KNOWN, (None, None)])
        chat(url)
        wait_builds(settings, [KNOWN, (None, None), ("finetune-v2.gguf", 32768)])


def test_a_short_program_learns_its_build_before_it_ends(tmp_path: Path) -> None:
    with running(serves(routes(LLAMA_CPP))) as up, recording(tmp_path, probe=True) as settings:
        with httpx.Client(transport=ToolLogTransport(settings=settings)) as client:
            client.post(up.url + CHAT, json=BODY)
        recorder_for(settings).close()

        assert [KNOWN] == builds(settings)


@pytest.mark.parametrize(("model", "expected"), [(MODEL, KNOWN), ("gpt-5", (None, None))])
def test_behind_the_middleware_the_server_of_the_settings_is_asked_and_must_serve_that_model(
    tmp_path: Path, model: str, expected: tuple[str | None, int | None]
) -> None:
    body = json.dumps(json.loads(ANSWER) | {"model": model}).encode()
    json_type = [(b"content-type", b"application/json")]
    app = answering([start(200, json_type), piece(body, more=False)])
    with running(routes(LLAMA_CPP)) as up, recording(tmp_path, upstream=up.url, probe=True) as settings:
        driven = asyncio.run(drive(ToolLogMiddleware(app, settings=settings)))
        assert driven.error is None
        recorder_for(settings).close()

        assert [expected] == builds(settings)
        assert 3 == len(up.requests)


@pytest.mark.parametrize("how", BAD)
def test_an_exchange_costs_nothing_when_the_server(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it does when it is asked about itself: the chat is passed on and logged, and nothing fails."""
    monkeypatch.setattr(probe, "_TOTAL_S", 0.3)
    with proxied(tmp_path, BAD[how][0]) as (_up, settings, url):
        chat(url)
        chat(url)
        recorder = recorder_for(settings)
        recorder.close()

        assert ["completed"] * 2 == outcomes(settings)
        assert [(None, None)] * 2 == builds(settings)
        assert (0, 0, None) == (recorder.lost, recorder.failures, recorder.last_error)


def test_an_exchange_costs_nothing_when_the_network_is_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def blocked(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the network is blocked")

    caplog.set_level("INFO", "tarx_toollog.capture")
    app = answering([start(200, [(b"content-type", b"application/json")]), piece(ANSWER, more=False)])
    with recording(tmp_path, probe=True) as settings:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "create_connection", blocked)
            patch.setattr(socket.socket, "connect", blocked, raising=False)
            driven = asyncio.run(drive(ToolLogMiddleware(app, settings=settings)))
            recorder = recorder_for(settings)
            recorder.close()

        assert (None, ANSWER) == (driven.error, driven.body)
        assert ["completed"] == outcomes(settings)
        assert (0, 0, None) == (recorder.lost, recorder.failures, recorder.last_error)
    assert "is not known: RuntimeError: the network is blocked" in caplog.text


def test_switched_off_no_server_is_asked(tmp_path: Path) -> None:
    with running(serves(routes(LLAMA_CPP))) as up, recording(tmp_path, upstream=up.url, probe=False) as settings:
        with serving(ToolLogProxy(settings=settings)) as url:
            chat(url)
        recorder_for(settings).close()

        assert [(None, None)] == builds(settings)
        assert [CHAT.encode()] == [request.target for request in up.requests]


# ---- command line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path: Path) -> Settings:
    """Return a log of one exchange with its build."""
    with proxied(tmp_path, routes(LLAMA_CPP)) as (_up, settings, url):
        chat(url)
        wait_builds(settings, [KNOWN])
    return settings


def rows(settings: Settings, *arguments: str) -> Any:
    result = run("--database", settings.database, *arguments, "--json")
    assert 0 == result.exit_code, result.stderr
    return json.loads(result.stdout)


def test_builds_are_listed_shown_and_named(logged: Settings) -> None:
    (row,) = rows(logged, "builds", "list")
    assert ("Q4_K_M", FILE, 1, None) == (row["quantization"], row["file_name"], row["n_exchanges"], row["label"])

    named = run("--database", logged.database, "builds", "label", row["build_uid"][:20], "base")
    assert (0, f"{row['build_uid']}: base\n") == (named.exit_code, named.stderr)
    shown = rows(logged, "builds", "show", "base")
    assert (row["build_uid"], "base") == (shown["build_uid"], shown["label"])
    assert [logged.upstream] == [period["upstream"] for period in shown["sightings"]]

    text = run("--database", logged.database, "builds", "show", "base").stdout
    assert f"file_name           {FILE}\n" in text
    assert f" at {logged.upstream} as {MODEL}\n" in text

    assert 0 == run("--database", logged.database, "builds", "label", "base", "").exit_code
    assert rows(logged, "builds", "show", row["build_uid"])["label"] is None


def test_every_view_and_list_can_be_split_by_build(logged: Settings) -> None:
    (build,) = rows(logged, "builds", "list")
    found = {
        view: rows(logged, "db", "query", f"SELECT DISTINCT build FROM {view}")
        for view in ("v_exchanges", "v_tool_calls", "v_tool_stats", "v_chains")
    }
    assert {view: [{"build": build["name"]}] for view in found} == found
    for command in (("log", "list"), ("tools", "list"), ("conversations", "list")):
        assert 1 == len(rows(logged, *command, "--build", build["name"]))
        assert [] == rows(logged, *command, "--build", "another")


def test_a_build_that_is_not_there_and_a_label_with_spaces_around_it_are_refused(logged: Settings) -> None:
    missing = run("--database", logged.database, "builds", "show", "nothing")
    assert (3, "error: no build 'nothing'\nhint: `toollog builds list` shows them\n") == (
        missing.exit_code,
        missing.stderr,
    )
    assert 2 == run("--database", logged.database, "builds", "label", "nothing", " x").exit_code
    away = Path(logged.database).with_name("new.db")
    assert 6 == run("--database", str(away), "builds", "label", "a", "b").exit_code
    assert not away.exists()
