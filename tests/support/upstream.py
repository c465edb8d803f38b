"""A model server made of sockets, which can do what no HTTP library lets a server do; and a client as raw."""

import json
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]

LONG_S = 5.0  # longer than anything should take


class PeerGoneError(Exception):
    """The other side closed the connection."""


@dataclass
class Request:
    """One request as it came over the wire."""

    method: bytes
    target: bytes
    headers: Headers
    """Names in lower case."""
    body: bytes


class Connection:
    """One connection: reads and writes bytes."""

    def __init__(self, sock: socket.socket, upstream: "Upstream | None" = None) -> None:
        self.sock = sock
        self._upstream = upstream
        self._buffer = b""

    @property
    def upstream(self) -> "Upstream":
        """The server whose connection it is."""
        assert self._upstream is not None
        return self._upstream

    def read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        data, self._buffer = self._buffer or self.sock.recv(65536), b""
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Return everything up to and including ``mark``."""
        data = b""
        while mark not in data:
            more = self.read()
            if not more:
                raise PeerGoneError
            data += more
        head, _, self._buffer = data.partition(mark)
        return head + mark

    def read_exactly(self, size: int) -> bytes:
        data, self._buffer = bytearray(self._buffer), b""
        while len(data) < size:
            more = self.read()
            if not more:
                raise PeerGoneError
            data += more
        self._buffer = bytes(data[size:])
        return bytes(data[:size])

    def read_chunks(self) -> bytes:
        """Return a chunked body."""
        body = b""
        while True:
            size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
            body += self.read_exactly(size)
            self.read_until(b"\r\n")
            if not size:
                return body

    def read_head(self) -> tuple[bytes, Headers]:
        lines = self.read_until(b"\r\n\r\n")[:-4].split(b"\r\n")
        pairs = (line.partition(b":") for line in lines[1:])
        return lines[0], [(name.lower(), value.strip()) for name, _, value in pairs]

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, status: int = 200, *headers: tuple[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        """Send one HTTP chunk; an empty one ends the body."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_gone(self, timeout_s: float = LONG_S) -> bool:
        """Wait until the other side has closed; say whether it has."""
        try:
            while select.select([self.sock], [], [], timeout_s)[0]:
                if not self.sock.recv(65536):
                    return True
        except OSError:
            return True
        return False


Script = Callable[[Request, Connection], None]


@dataclass
class Upstream:
    """A running server."""

    url: str
    requests: list[Request] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set by scripts that see the other side hang up."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """Set by a test to let a script that waits go on."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def read_request(connection: Connection) -> Request:
    line, headers = connection.read_head()
    method, target, _ = line.split(b" ")
    found = dict(headers)
    if b"chunked" in found.get(b"transfer-encoding", b""):
        body = connection.read_chunks()
    else:
        body = connection.read_exactly(int(found.get(b"content-length", b"0")))
    return Request(method, target, headers, body)


@contextmanager
def running(script: Script, host: str = "127.0.0.1") -> Iterator[Upstream]:
    """Run a server; each connection is a thread that reads requests and plays the script for each."""
    listening = socket.create_server((host, 0), backlog=256)
    up = Upstream(f"http://{host}:{listening.getsockname()[1]}")
    open_sockets: list[socket.socket] = []

    def serve(sock: socket.socket) -> None:
        with sock:
            connection = Connection(sock, up)
            try:
                while True:
                    request = read_request(connection)
                    up.requests.append(request)
                    script(request, connection)
                    if sock.fileno() < 0:
                        return
                    if b"close" in dict(request.headers).get(b"connection", b""):
                        return
            except (PeerGoneError, OSError, ValueError):
                up.gone.set()

    def accept() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            open_sockets.append(sock)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield up
    finally:
        up.go_on.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for sock in open_sockets:
            sock.close()


# ---- what a model says ----------------------------------------------------------------------------------------------

SSE = ("content-type", "text/event-stream")
CHUNKED = ("transfer-encoding", "chunked")
JSON = ("content-type", "application/json")
DONE = b"data: [DONE]\n\n"


def event(delta: dict[str, object] | None = None, **choice: object) -> bytes:
    """Return one event of a streamed answer."""
    body = {
        "id": "chatcmpl-7",
        "object": "chat.completion.chunk",
        "model": "m-q4",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": None, **choice}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def text_events(words: Sequence[str] = ("Hello", " world")) -> list[bytes]:
    """Return the events of an answer, without ``[DONE]``."""
    return [event({"role": "assistant"}), *(event({"content": word}) for word in words), event(finish_reason="stop")]


def tool_events(name: str = "tarx_recall", arguments: str = '{"query":"city"}', call_id: str = "call_1") -> list[bytes]:
    """Return the events of an answer that calls a tool, its arguments in three pieces."""
    third = max(1, len(arguments) // 3)
    parts = [arguments[:third], arguments[third : 2 * third], arguments[2 * third :]]
    first = {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    return [
        event({"role": "assistant", "tool_calls": [first]}),
        *(event({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in parts),
        event(finish_reason="tool_calls"),
    ]


def chat_body(text: str = "Hello world") -> bytes:
    """Return an answer in one piece."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps({"id": "chatcmpl-7", "model": "m-q4", "choices": [choice]}).encode()


def whole(body: bytes, status: int = 200, *headers: tuple[str, str]) -> Script:
    """Return a script that answers with a body of known length."""

    def play(_request: Request, connection: Connection) -> None:
        connection.head(status, *(headers or (JSON,)), ("content-length", str(len(body))))
        connection.send(body)

    return play


def stream(pieces: Sequence[bytes], *, end: bool = True) -> Script:
    """Return a script that streams pieces, one HTTP chunk each."""

    def play(_request: Request, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        for data in pieces:
            connection.chunk(data)
        if end:
            connection.chunk(b"")

    return play


# ---- a raw client ---------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """A response as it came over the wire."""

    status: int
    headers: Headers
    body: bytes
    is_whole: bool
    """False when the connection broke before the end of the body."""

    @property
    def end_to_end(self) -> Headers:
        """The headers that a proxy has to pass on, in a fixed order."""
        hop = {b"connection", b"keep-alive", b"transfer-encoding"}
        return sorted((name, value) for name, value in self.headers if name not in hop)


def request_bytes(
    method: str = "POST",
    target: str = "/v1/chat/completions",
    body: bytes = b"",
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),),
) -> bytes:
    """Return a request as bytes, with nothing but what is asked for."""
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def dialled(url: str, data: bytes) -> Iterator[Connection]:
    """Connect, send ``data`` and hand over the connection."""
    host, port = re.fullmatch(r"http://([^:/]+):(\d+).*", url).groups()  # type: ignore[union-attr]
    with socket.create_connection((host, int(port)), timeout=LONG_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(data)
        yield Connection(sock)


def talk(url: str, data: bytes) -> Answer:
    """Send a request and return the answer."""
    with dialled(url, data) as connection:
        return read_answer(connection, is_head=data.startswith(b"HEAD "))


def read_answer(connection: Connection, *, is_head: bool = False) -> Answer:
    line, headers = connection.read_head()
    status, found = int(line.split(b" ")[1]), dict(headers)
    if is_head or status in (204, 304):
        return Answer(status, headers, b"", is_whole=True)
    body, is_chunked = bytearray(), b"chunked" in found.get(b"transfer-encoding", b"")
    try:
        if is_chunked:
            while True:
                size = int(connection.read_until(b"\r\n"), 16)
                body += connection.read_exactly(size)
                connection.read_until(b"\r\n")
                if not size:
                    return Answer(status, headers, bytes(body), is_whole=True)
        if b"content-length" in found:
            wanted = int(found[b"content-length"])
            while len(body) < wanted:
                more = connection.read()
                if not more:
                    raise PeerGoneError
                body += more
            return Answer(status, headers, bytes(body), is_whole=True)
        while more := connection.read():
            body += more
    except (PeerGoneError, ConnectionError):
        return Answer(status, headers, bytes(body), is_whole=False)
    return Answer(status, headers, bytes(body), is_whole=True)


def chat_request(*, streamed: bool = False, text: str = "hi", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return a chat request as bytes."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": streamed}
    return request_bytes(body=json.dumps(body).encode(), headers=[("content-type", "application/json"), *headers])
