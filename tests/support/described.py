"""Servers that say what they serve, as recorded and documented, and servers that do not."""

import json
from typing import Any

from tests.support.captures import CAPTURES, parse_http
from tests.support.upstream import LONG_S, Connection, Request, Script, whole

LLAMA_CPP = {
    route: json.loads(b"".join(parse_http((CAPTURES / f"{name}.response.raw").read_bytes()).body))
    for route, name in (
        ("/props", "meta_props"),
        ("/v1/models", "meta_v1_models"),
        ("/lora-adapters", "meta_lora_adapters"),
    )
}
MODEL = "qwen2.5-coder-1.5b-q4_k_m"
OLLAMA = {
    f"/api/{name}": json.loads((CAPTURES.parent / "ollama-documented" / f"api_{name}.json").read_text("utf-8"))
    for name in ("version", "ps", "show")
}


def routes(answers: dict[str, Any]) -> Script:
    """Return a server that has these routes and answers 404 to others."""

    def play(request: Request, connection: Connection) -> None:
        answer = answers.get(request.target.decode())
        body = json.dumps({"error": "not found"} if answer is None else answer).encode()
        whole(body, 404 if answer is None else 200)(request, connection)

    return play


# ---- servers that do not tell ---------------------------------------------------------------------------------------


def hang(_request: Request, connection: Connection) -> None:
    connection.upstream.go_on.wait(LONG_S * 2)


def hang_at_the_second_question(request: Request, connection: Connection) -> None:
    (routes(LLAMA_CPP) if request.target == b"/props" else hang)(request, connection)


def drip(_request: Request, connection: Connection) -> None:
    connection.head(200, ("content-type", "application/json"), ("content-length", "100000"))
    while not connection.upstream.go_on.wait(0.05):
        connection.send(b" ")


def hang_up(_request: Request, connection: Connection) -> None:
    connection.reset()


def garbage(_request: Request, connection: Connection) -> None:
    connection.send(b"\x00\xff rubbish\r\n\r\n")
    connection.reset()


DEEP = b"[" * 200_000
BAD = {
    "hangs": (hang, "ReadTimeout"),
    "hangs at the second question": (hang_at_the_second_question, "ReadTimeout"),
    "answers byte by byte": (drip, "no answer within"),
    "hangs up": (hang_up, "Error"),
    "is no HTTP server": (garbage, "RemoteProtocolError"),
    "sends 10 MB": (whole(b'"' + b"x" * 10 * 2**20 + b'"'), "more than 1048576 bytes"),
    "sends no JSON": (whole(b"<html>"), "does not tell"),
    "sends JSON without end": (whole(DEEP), "does not tell"),
    "sends no object": (whole(b"[1]"), "does not tell"),
    "wants a key": (whole(b"{}", 401), "wants a key"),
    "is loading": (whole(b'{"error": {"code": 503}}', 503), "HTTP 503"),
    "says that it speaks gzip": (whole(b"{}", 200, ("content-encoding", "gzip")), "does not tell"),
}
