"""The proxy in front of a raw server: what passes is what would have passed without it."""

import gzip
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tarx_toollog import Settings, ToolLogProxy
from tests.support.asgi import recording
from tests.support.upstream import (
    CHUNKED,
    DONE,
    JSON,
    SSE,
    Answer,
    Connection,
    Request,
    Script,
    Upstream,
    chat_body,
    chat_request,
    dialled,
    read_answer,
    request_bytes,
    running,
    stream,
    talk,
    text_events,
    whole,
)
from tests.support.workers import serving


class Switch:
    """A script that a test can change while the server runs."""

    def __init__(self) -> None:
        self.script: Script = whole(b"")

    def __call__(self, request: Request, connection: Connection) -> None:
        self.script(request, connection)


class Pair:
    """A server and the proxy in front of it."""

    def __init__(self, up: Upstream, url: str, switch: Switch, settings: Settings) -> None:
        self.up = up
        self.url = url
        self.settings = settings
        self._switch = switch

    def both(self, data: bytes, script: Script) -> tuple[Answer, Answer]:
        """Send the same bytes directly and through the proxy; the requests end up in ``self.requests``."""
        self._switch.script = script
        self.up.requests.clear()
        return talk(self.up.url, data), talk(self.url, data)

    @property
    def requests(self) -> tuple[Request, Request]:
        direct, proxied = self.up.requests
        return direct, proxied


@contextmanager
def pair(folder: Path, host: str = "127.0.0.1") -> Iterator[Pair]:
    with ExitStack() as stack:
        switch = Switch()
        up = stack.enter_context(running(switch, host))
        settings = stack.enter_context(recording(folder, upstream=up.url))
        yield Pair(up, stack.enter_context(serving(ToolLogProxy(settings=settings))), switch, settings)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("proxy")) as made:
        yield made


def same(direct: Answer, proxied: Answer) -> None:
    assert (direct.status, direct.body, direct.end_to_end) == (proxied.status, proxied.body, proxied.end_to_end)
    assert (True, True) == (direct.is_whole, proxied.is_whole)


def headers_of(request: Request) -> list[tuple[bytes, bytes]]:
    return sorted((name, value) for name, value in request.headers if name not in (b"host", b"connection"))


@pytest.mark.parametrize(
    "script",
    [
        whole(chat_body()),
        whole(b"", 200),
        whole(b"not json \xff\xfe", 500, ("content-type", "text/plain")),
        whole(b'{"error":{}}', 404),
        whole(b"", 307, ("location", "http://127.0.0.1:1/elsewhere")),
        whole(b"moved", 301, ("location", "/again")),
        whole(gzip.compress(chat_body() * 50), 200, JSON, ("content-encoding", "gzip")),
        whole(b"x", 200, ("content-encoding", "gzip")),
        whole(b"x", 200, ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-twice", "1"), ("X-Twice", "2")),
        whole(b"x", 200, ("server", "llama.cpp"), ("date", "yesterday")),
        whole(b"x", 200, ("x-large", "l" * 20_000)),
        whole(b"x" * 5_000_000),
        stream([*text_events(), DONE]),
        stream([b"x" * 100_000] * 50),
        stream([bytes([n]) for n in range(256)]),
    ],
    ids=lambda value: None,
)
def test_an_answer_comes_through_as_it_is(proxied: Pair, script: Script) -> None:
    same(*proxied.both(chat_request(), script))


def no_length(_request: Request, connection: Connection) -> None:
    connection.head(200, JSON, ("connection", "close"))
    connection.send(chat_body())
    connection.sock.shutdown(socket.SHUT_WR)


def test_an_answer_without_a_length_ends_with_the_connection(proxied: Pair) -> None:
    same(*proxied.both(chat_request(), no_length))


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(proxied: Pair, status: int) -> None:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(status, ("etag", "x"))

    same(*proxied.both(chat_request(), script))


def test_a_length_that_does_not_count_is_not_passed_on(proxied: Pair) -> None:
    """With both, Transfer-Encoding wins (RFC 9112 §6.3); who believes the other one waits, or reads too much."""

    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, JSON, CHUNKED, ("content-length", "3"), ("connection", "close"))
        connection.chunk(chat_body())
        connection.chunk(b"")

    _direct, answer = proxied.both(chat_request(), script)

    # Whatever the library makes of it (aiohttp refuses it): never a body of another length than announced.
    assert answer.is_whole
    assert (answer.status, answer.body) == (200, chat_body()) or answer.status == 502


def test_hop_by_hop_headers_of_an_answer_stay_behind(proxied: Pair) -> None:
    script = whole(b"x", 200, ("connection", "x-mine"), ("x-mine", "1"), ("keep-alive", "timeout=5"), ("x-kept", "1"))
    answer = proxied.both(chat_request(), script)[1]

    assert {b"content-length", b"x-kept"} == {name for name, _ in answer.end_to_end}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_every_method_arrives_with_its_body_and_without_invented_headers(
    proxied: Pair, method: str, body: bytes
) -> None:
    headers = () if body else (("content-length", "0"),)
    same(*proxied.both(request_bytes(method, "/v1/models", body, headers), whole(b"ok")))

    direct, through = proxied.requests
    assert (direct.method, direct.target, direct.body) == (through.method, through.target, through.body)
    assert headers_of(direct) == headers_of(through)


def test_head_has_the_headers_and_no_body(proxied: Pair) -> None:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, ("content-length", "12345"), ("etag", "x"))

    direct, answer = proxied.both(request_bytes("HEAD", "/v1/models", headers=()), script)

    assert (direct.status, direct.end_to_end) == (answer.status, answer.end_to_end)


def test_request_headers_arrive_as_they_are_and_repeated_ones_stay_apart(proxied: Pair) -> None:
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("x-twice", "1"),
        ("x-twice", "2, 3"),
        ("cookie", "a=1; b=2"),
        ("authorization", "Bearer x"),
        ("x-utf8", "Gr\u00c3\u00bc\u00c3\u009fe"),  # the bytes of UTF-8, written as Latin-1
        ("x-empty", ""),
        ("accept-encoding", "br"),
        ("user-agent", "Mine/1"),
    ]
    proxied.both(request_bytes(body=b"{}", headers=headers), whole(b"ok"))

    direct, through = proxied.requests
    assert headers_of(direct) == headers_of(through)


def test_hop_by_hop_headers_of_a_request_stay_behind(proxied: Pair) -> None:
    headers = [
        ("connection", "close, x-mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("x-kept", "1"),
    ]
    _direct, answer = proxied.both(request_bytes(body=b"{}", headers=headers), whole(b"ok"))

    assert {b"content-length", b"x-kept"} == {name for name, _ in headers_of(proxied.requests[1])}
    assert (b"connection", b"close") in answer.headers  # our side of the connection: asked for, and done


def test_a_chunked_upload_arrives_whole(proxied: Pair) -> None:
    head = request_bytes(headers=[("transfer-encoding", "chunked")])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (b"abc", b"x" * 70_000, b""))
    same(*proxied.both(head + chunks, whole(b"ok")))

    direct, through = proxied.requests
    assert direct.body == through.body == b"abc" + b"x" * 70_000
    assert headers_of(direct) == headers_of(through)


def test_a_length_beside_chunked_cannot_smuggle(proxied: Pair) -> None:
    headers = [("transfer-encoding", "chunked"), ("content-length", "3")]
    data = request_bytes(headers=headers) + b"5\r\nabcde\r\n0\r\n\r\n"
    proxied.up.requests.clear()
    answer = talk(proxied.url, data)

    lengths = [value for request in proxied.up.requests for name, value in request.headers if name == b"content-length"]
    assert answer.status in (200, 400)
    assert [] == lengths


def test_five_megabytes_go_up(proxied: Pair) -> None:
    body = bytes(range(256)) * 20_000
    same(*proxied.both(request_bytes(body=body), whole(b"ok")))

    assert body == proxied.requests[1].body


def test_a_client_that_expects_to_be_told_to_continue_is_served(proxied: Pair) -> None:
    """The model server may not know the word; then nobody would ever send the body."""
    proxied.up.requests.clear()
    head, _, body = request_bytes(body=b"{}", headers=[("expect", "100-continue")]).partition(b"\r\n\r\n")
    with dialled(proxied.url, head + b"\r\n\r\n") as connection:
        assert b"HTTP/1.1 100" == connection.read_head()[0][:12]
        connection.send(body)
        assert 200 == read_answer(connection).status

    assert (b"{}", False) == (proxied.up.requests[0].body, b"expect" in dict(proxied.up.requests[0].headers))


TARGETS = [
    "/v1/models?a=1&a=2&b=%20+%2B&c",
    "/v1/%2e%2e/%2F/%41%c3%bc%zz",
    "/a//b/./../c;d=1/:@!$&'()*,=~",
    "/v1/models?q=%41&url=http://x/?y=%26#",
    "//double",
    "/%",
    '/"<>\\^`{|}',
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_arrives_as_it_was_written(proxied: Pair, target: str) -> None:
    target = target.rstrip("#")
    proxied.both(request_bytes("GET", target, headers=()), whole(b"ok"))

    direct, through = proxied.requests
    assert direct.target == through.target == target.encode()


# No shrinking: where a server hangs, each attempt would take seconds.
@hypothesis_settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    target=st.text(
        alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=30
    ),
    query=st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=20),
    body=st.binary(max_size=2000),
    pieces=st.lists(st.binary(min_size=1, max_size=3000), max_size=5),
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
)
def test_anything_comes_through(
    proxied: Pair, target: str, query: str, body: bytes, pieces: list[bytes], status: int
) -> None:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(status, SSE, CHUNKED)
        for data in [*pieces, b""]:
            connection.chunk(data)

    where = f"/{target}?{query}" if query else f"/{target}"
    same(*proxied.both(request_bytes(target=where, body=body), script))

    direct, through = proxied.requests
    assert (direct.target, direct.body) == (through.target, through.body)


@pytest.mark.parametrize(
    "target", ["@{other}/v1/models", "http://{other}/v1/elsewhere", "*", "?x", ":1@{other}/", "x@{other}/"]
)
def test_no_target_names_another_server(proxied: Pair, target: str) -> None:
    with running(whole(b"secret")) as other:
        place = target.format(other=f"127.0.0.1:{other.port}")
        try:
            answer = talk(proxied.url, request_bytes("GET", place, headers=()))
        except ValueError:
            pytest.fail("no answer")
        assert other.requests == []
        if target.startswith("http://"):  # whatever it names, its path is asked of our own server (RFC 9112 §3.2.2)
            assert b"/v1/elsewhere" in [request.target for request in proxied.up.requests]
        else:
            assert answer.status in (400, 404), answer


def test_the_cookies_of_one_client_are_not_given_to_the_next(tmp_path: Path) -> None:
    with pair(tmp_path, host="localhost") as made:
        made.both(request_bytes(body=b"{}"), whole(b"ok", 200, ("set-cookie", "who=first; path=/")))
        made.both(request_bytes(body=b"{}"), whole(b"ok"))

        assert [False, False] == [b"cookie" in dict(request.headers) for request in made.requests]


def test_a_path_and_a_login_of_the_upstream_are_used_and_the_login_is_told_to_nobody(tmp_path: Path) -> None:
    with running(whole(chat_body())) as up, ExitStack() as stack:
        address = f"http://me:canary-pass@127.0.0.1:{up.port}/base/"
        settings = stack.enter_context(recording(tmp_path, upstream=address))
        url = stack.enter_context(serving(ToolLogProxy(settings=settings)))
        talk(url, chat_request())
        talk(url, chat_request(headers=[("authorization", "Bearer own")]))
        health = talk(url, request_bytes("GET", "/toollog/healthz", headers=()))
        found = [(r.target, dict(r.headers)[b"authorization"]) for r in up.requests]
        expected = [b"Basic bWU6Y2FuYXJ5LXBhc3M=", b"Bearer own"]
        assert [(b"/base/v1/chat/completions", value) for value in expected] == found
    with ExitStack() as stack:  # now nothing listens there any more
        settings = stack.enter_context(recording(tmp_path, upstream=address))
        url = stack.enter_context(serving(ToolLogProxy(settings=settings)))
        answer = talk(url, chat_request())

    assert 502 == answer.status
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"canary-pass" in data for data in [answer.body, health.body, *files])


def test_health_says_where_it_passes_on_to_and_is_not_recorded(proxied: Pair) -> None:
    answer = talk(proxied.url, request_bytes("GET", "/toollog/healthz", headers=()))

    assert (200, b'"ok"') == (answer.status, re.search(rb'"status": ("\w+")', answer.body)[1])  # type: ignore[index]


def test_one_proxy_serves_again_after_it_was_stopped(tmp_path: Path) -> None:
    with running(whole(chat_body())) as up, recording(tmp_path, upstream=up.url) as settings:
        app = ToolLogProxy(settings=settings)
        for _ in range(2):
            with serving(app) as url:
                assert 200 == talk(url, chat_request()).status
        for _ in range(2):  # and without a lifespan, each time in another event loop
            with serving(app, lifespan="off") as url:
                assert 200 == talk(url, chat_request()).status


def test_a_stream_is_passed_on_piece_by_piece(tmp_path: Path) -> None:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        connection.chunk(text_events()[1])
        assert connection.upstream.go_on.wait(5)
        connection.chunk(DONE)
        connection.chunk(b"")

    with (
        running(script) as up,
        recording(tmp_path, upstream=up.url) as settings,
        serving(ToolLogProxy(settings=settings)) as url,
        dialled(url, chat_request(streamed=True)) as connection,
    ):
        connection.read_until(b'"Hello"')
        up.go_on.set()
        connection.read_until(b"[DONE]")
