"""Every outcome that a real model server can bring about, brought about by it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.local_model import launch
from tarx_toollog import Settings, ToolLogProxy
from tarx_toollog.capture.recorder import recorder_for
from tests.support.asgi import query
from tests.support.model_server import ModelServer, free_port, running_model_server
from tests.support.workers import serving, worker

TOOLS = json.loads(launch.TOOLS.read_text(encoding="utf-8"))
CALL = {
    "messages": [
        {"role": "user", "content": "Remember that I like the yellow trams of Lisbon on a rainy Sunday morning."}
    ],
    "tools": TOOLS,
    "stream": True,
    "temperature": 0,
    "max_tokens": 120,
}
ENDLESS = {"messages": [{"role": "user", "content": "Count."}], "stream": True, "max_tokens": 2000, "ignore_eos": True}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database=str(tmp_path / "t.db"), checkpoint_ms=50)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ModelServer]:
    """Return a model server that the test may kill."""
    with running_model_server(tmp_path / "server.log") as server:
        yield server


def only_row(settings: Settings) -> dict[str, Any]:
    recorder_for(settings).close()
    (row,) = query(settings, "SELECT * FROM exchange")
    return row


def calls(settings: Settings) -> list[dict[str, Any]]:
    return query(settings, "SELECT name, arguments, complete, argument_state FROM tool_call ORDER BY id")


def read_until_arguments(answer: httpx.Response) -> Iterator[bytes]:
    """Read the stream up to the middle of a call's arguments; return the rest of it."""
    seen, pieces = b"", answer.iter_raw()
    for piece in pieces:
        seen += piece
        if seen.count(b'"arguments"') > 3:
            return pieces
    raise AssertionError(f"the call was over too soon: {seen[-500:]!r}")


def test_a_client_that_hangs_up_in_mid_call_leaves_the_partial_call(
    model_server: ModelServer, settings: Settings
) -> None:
    settings = settings.model_copy(update={"upstream": model_server.base_url})
    with serving(ToolLogProxy(settings=settings)) as url, httpx.Client(timeout=60) as client:
        with client.stream("POST", f"{url}/v1/chat/completions", json=CALL) as answer:
            read_until_arguments(answer)
        time.sleep(0.3)
    assert "client_disconnected" == only_row(settings)["outcome"]
    (call,) = calls(settings)
    assert ("tarx_remember", 0, "incomplete") == (call["name"], call["complete"], call["argument_state"])
    assert call["arguments"].startswith("{")


def test_a_server_that_is_killed_in_mid_call_leaves_the_partial_call(
    own_server: ModelServer, settings: Settings
) -> None:
    settings = settings.model_copy(update={"upstream": own_server.base_url})
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=CALL, timeout=60) as answer,
    ):
        rest = read_until_arguments(answer)
        os.kill(own_server.pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            list(rest)
    assert "upstream_error" == only_row(settings)["outcome"]
    (call,) = calls(settings)
    assert ("tarx_remember", 0, "incomplete") == (call["name"], call["complete"], call["argument_state"])


def test_a_server_that_comes_up_is_first_unreachable_then_loading_then_there(
    settings: Settings, tmp_path: Path
) -> None:
    port = free_port()
    settings = settings.model_copy(update={"upstream": f"http://127.0.0.1:{port}"})
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    with serving(ToolLogProxy(settings=settings)) as url, httpx.Client(timeout=60) as client:
        process = subprocess.Popen(
            launch.command(port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 60
            while client.post(f"{url}/v1/chat/completions", json=body).status_code != 200:
                assert time.monotonic() < deadline
        finally:
            process.kill()
            process.wait()
    recorder_for(settings).close()
    found = query(settings, "SELECT DISTINCT outcome, http_status, error_type FROM exchange ORDER BY id")
    assert [
        ("proxy_error", 502, "ConnectError"),
        ("upstream_error", 503, "unavailable_error"),
        ("completed", 200, None),
    ] == [(row["outcome"], row["http_status"], row["error_type"]) for row in found]


def test_our_own_process_killed_in_mid_call_leaves_the_partial_call(
    model_server: ModelServer, settings: Settings
) -> None:
    settings = settings.model_copy(update={"upstream": model_server.base_url})
    with (
        worker("proxy", settings) as ours,
        httpx.stream("POST", f"{ours.url}/v1/chat/completions", json=CALL, timeout=60) as answer,
    ):
        rest = read_until_arguments(answer)
        time.sleep(0.2)  # more than a checkpoint
        ours.kill()
        with pytest.raises(httpx.TransportError):
            list(rest)
    recorder = recorder_for(settings)
    recorder.hold()  # what the next process does when it starts
    assert recorder.flush()
    assert "interrupted" == only_row(settings)["outcome"]
    (call,) = calls(settings)
    assert ("tarx_remember", 0, "incomplete") == (call["name"], call["complete"], call["argument_state"])


def test_a_generation_that_fills_the_context_is_no_error_but_says_so(settings: Settings, tmp_path: Path) -> None:
    with running_model_server(tmp_path / "small.log", ctx=256) as small:
        settings = settings.model_copy(update={"upstream": small.base_url})
        with serving(ToolLogProxy(settings=settings)) as url, httpx.Client(timeout=60) as client:
            # Most of the context is filled by the prompt: reading is faster than writing.
            body = ENDLESS | {"messages": [{"role": "user", "content": "Count. " * 60}]}
            assert b"[DONE]" in client.post(f"{url}/v1/chat/completions", json=body).content
    row = only_row(settings)
    assert ("completed", "length") == (row["outcome"], row["finish_reason"])
