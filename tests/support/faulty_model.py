"""A model server that answers by a deterministic rule, and can fail in every way in which servers fail.

It is made of the sockets of ``tests.support.upstream``, because no HTTP library lets a server break the protocol.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.upstream import JSON, Connection, Request, Upstream, running

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]

PROPS: Json = {
    "model_path": "/models/a.gguf",
    "model_ftype": "Q4_K - Medium",
    "chat_template": "{{ x }}",
    "total_slots": 2,
    "default_generation_settings": {"n_ctx": 8192},
}
MODELS: Json = {"data": [{"id": "fake", "meta": {"ftype": "Q4_K - Medium"}}]}


class Answering:
    """What a test lets the server do: by default it answers with what ``say`` returns.

    Args:
        say: Body of a request → message of the assistant.
        props: What ``/props`` answers.
    """

    def __init__(self, say: Callable[[Json], Json], props: Json | None = None) -> None:
        self.requests: list[Json] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.fault: Callable[[Json, Connection], bool] = lambda _body, _connection: False
        """Gets a request; returns True when it has dealt with it, in whatever way."""
        self.props = PROPS if props is None else props
        self.is_silent = False
        """Whether it says nothing of itself any more."""
        self._say = say
        self._lock = threading.Lock()

    def __call__(self, request: Request, connection: Connection) -> None:
        """Play: the script of one request."""
        with self._lock:
            self.headers.append(dict(request.headers))
        routes: dict[bytes, Any] = {b"/props": self.props, b"/v1/models": MODELS, b"/lora-adapters": []}
        if request.target in routes and self.is_silent:
            send(connection, 200 if request.target == b"/v1/models" else 404, {})
        elif request.target in routes:
            send(connection, 200, routes[request.target])
        elif request.target != b"/v1/chat/completions":
            send(connection, 404, {"error": {"message": "File Not Found", "code": 404}})
        else:
            body = json.loads(request.body)
            with self._lock:
                self.requests.append(body)
            if not self.fault(body, connection):
                send(connection, 200, completion(self._say(body), body))


def completion(message: Json, body: Json) -> Json:
    """Return the body of an answer, with the counts that llama.cpp gives."""
    n_prompt = len(json.dumps([body["messages"], body.get("tools")])) // 4
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
    usage = {"prompt_tokens": n_prompt, "completion_tokens": 20, "total_tokens": n_prompt + 20}
    return {"id": "c", "object": "chat.completion", "model": "fake", "choices": [choice], "usage": usage}


def send(connection: Connection, status: int, value: Any) -> None:
    """Send a whole answer; bytes go out as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    connection.head(status, JSON, ("content-length", str(len(data))))
    connection.send(data)


def like_llama(body: Json, connection: Connection) -> bool:
    """Refuse a history with arguments that are no JSON: a fault, as llama.cpp has it."""
    for message in body["messages"]:
        for call in message.get("tool_calls", ()):
            try:
                json.loads(call["function"]["arguments"])
            except ValueError:
                text = "Failed to parse tool call arguments as JSON"
                send(connection, 500, {"error": {"message": text, "type": "server_error", "code": 500}})
                return True
    return False


@contextmanager
def answering(script: Answering) -> Iterator[Upstream]:
    """Serve from threads of the test."""
    with running(script) as up:
        yield up


class Server:
    """A server in a process of its own, which can be killed."""

    def __init__(self, delay_s: float) -> None:
        command = [sys.executable, "-m", "tests.support.faulty_model", str(delay_s)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the server did not start"

    def kill(self) -> None:
        """End it as a crash does: open connections are reset, later ones refused."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def server(delay_s: float = 0.0) -> Iterator[Server]:
    """Run ``Server``, and make sure that it is gone at the end."""
    running_server = Server(delay_s)
    try:
        yield running_server
    finally:
        running_server.kill()
        assert running_server.process.stdout is not None
        running_server.process.stdout.close()


def scripted(body: Json) -> Json:
    """Answer by the place in the turn, and wrongly for some users: the same every time, whoever asks, and when."""
    user = next(message["content"] for message in reversed(body["messages"]) if message["role"] == "user")
    step = len(body["messages"]) - 1 - max(i for i, m in enumerate(body["messages"]) if m["role"] == "user")
    calls = [("recall", {"query": "home"}), ("remember", {"text": "Porto", "kind": "fact"})]
    if step // 2 >= len(calls):
        return {"role": "assistant", "content": "done"}
    name, arguments = calls[step // 2]
    if hash_of(user) % 4 == step // 2:
        name, arguments = "save", {"title": user}
    call = {"id": f"c{step}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def hash_of(text: str) -> int:
    """Return a number that depends on the text alone, in every process."""
    return sum(text.encode())


def _main(delay_s: float) -> None:
    def say(body: Json) -> Json:
        time.sleep(delay_s)
        return scripted(body)

    parent = os.getppid()
    with answering(Answering(say)) as up:
        print(up.url, flush=True)
        while os.getppid() == parent:
            time.sleep(0.2)


if __name__ == "__main__":
    _main(float(sys.argv[1]))
