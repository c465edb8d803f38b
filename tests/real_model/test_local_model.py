"""The model kit: what the demo and the other tests of this folder rely on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.local_model import launch
from tests.support.model_server import ModelServer, free_port

pytestmark = pytest.mark.real_model

TOOLS = json.loads(launch.TOOLS.read_text(encoding="utf-8"))
ADAPTER_OFF = [{"id": 0, "scale": 0.0}]
ADAPTER_ON = [{"id": 0, "scale": 1.0}]
CHAIN = (
    "First recall which city I live in, then remember that I like the trams there, "
    "then save this conversation with the title Trams."
)
RESULTS = {
    "tarx_recall": {"facts": {"city": "Lisbon"}},
    "tarx_remember": {"stored": True, "key": "likes"},
    "tarx_save_conversation": {"saved": True, "id": "conv-17"},
}


@pytest.fixture
def client(model_server: ModelServer) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=model_server.base_url, timeout=60, limits=limits) as client:
        yield client


def ask(client: httpx.Client, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    payload = {"temperature": 0, "max_tokens": 120, "tools": TOOLS, "messages": messages, **fields}
    answer = client.post("/v1/chat/completions", json=payload).raise_for_status().json()
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def names(message: dict[str, Any]) -> list[str]:
    return [call["function"]["name"] for call in message.get("tool_calls") or []]


def test_both_model_files_are_the_ones_that_were_tested() -> None:
    kit = launch.ensure_installed()
    launch.verify_sha256(kit.model, launch.MODEL_SHA256)
    launch.verify_sha256(launch.LORA, launch.LORA_SHA256)


def test_another_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF but not ours")
    with pytest.raises(launch.LaunchError, match="sha256 expected"):
        launch.verify_sha256(tmp_path / "model.gguf", launch.MODEL_SHA256)


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        ("Remember that my cat is Miso.", "tarx_remember", {"key": "cat", "value": "Miso"}),
        ("What is my cat called?", "tarx_recall", {"query": "cat"}),
    ],
)
def test_it_calls_the_right_tool(client: httpx.Client, said: str, tool: str, arguments: dict[str, str]) -> None:
    message = ask(client, [user(said)])
    assert names(message) == [tool]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == arguments


def test_it_answers_a_general_question_without_a_tool(client: httpx.Client) -> None:
    message = ask(client, [user("What is the capital of France?")])
    assert not names(message)
    assert "Paris" in message["content"]


def test_it_recalls_then_remembers_then_saves_then_answers(client: httpx.Client) -> None:
    messages = [user(CHAIN)]
    called: list[str] = []
    for _ in range(4):
        message = ask(client, messages)
        messages.append(message)
        called += names(message)
        for call in message.get("tool_calls") or []:
            result = json.dumps(RESULTS[call["function"]["name"]])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    assert called == ["tarx_recall", "tarx_remember", "tarx_save_conversation"]
    assert messages[-1]["role"] == "assistant"
    assert "Lisbon" in messages[-1]["content"]


def test_one_server_serves_the_base_model_and_the_fine_tune(client: httpx.Client) -> None:
    said = [user("What is my cat called?")]
    assert names(ask(client, said, lora=ADAPTER_ON)) == ["tarx_recall"]
    assert names(ask(client, said, lora=ADAPTER_OFF, max_tokens=40)) == []  # it does not end by itself
    # Said explicitly: without the field, the cache of the base model would be used for the next request.
    assert names(ask(client, said, lora=ADAPTER_ON)) == ["tarx_recall"]
    assert names(ask(client, said)) == ["tarx_recall"]


def test_a_model_server_is_told_from_other_servers(model_server: ModelServer) -> None:
    assert launch.is_model_server(model_server.base_url)
    assert launch.model_names(model_server.base_url) == [model_server.model]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert launch.port_in_use(port)
        assert not launch.is_model_server(f"http://127.0.0.1:{port}")
    assert not launch.port_in_use(port)


def test_a_taken_port_is_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(launch.command(port), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"error: Port {port} is taken. Choose another with --port.\n"


def test_it_runs_in_the_background_until_it_is_ended(tmp_path: Path) -> None:
    port = free_port()
    pid_file = tmp_path / "model.pid"
    command = [sys.executable, str(Path(launch.__file__)), "--port", str(port), "--no-lora"]
    subprocess.run([*command, "--detach-pid-file", str(pid_file)], check=True, capture_output=True, timeout=60)
    pid = int(pid_file.read_text(encoding="utf-8"))
    try:
        assert launch.model_names(f"http://127.0.0.1:{port}") == [launch.ALIAS_WITHOUT_LORA]
    finally:
        os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        if not launch.port_in_use(port):
            return
        time.sleep(0.1)
    pytest.fail("the server still listens after SIGTERM")
