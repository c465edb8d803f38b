"""Who may use the proxy, what of a request is kept, and who can read that: ``toollog serve`` as a person starts it.

Whatever has to be refused says ``POISON``: at the end no file of the log may hold it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.store import quarantine
from tarx_toollog.store.log import ToolLog
from tests.support.upstream import (
    JSON,
    Answer,
    Connection,
    Request,
    Upstream,
    chat_body,
    dialled,
    read_answer,
    request_bytes,
    running,
    talk,
    whole,
)
from tests.support.waiting import eventually
from tests.unit.cli.samples import rows as rows_of
from tests.unit.cli.samples import run

POISON = "p01s0n"
SECRET = "s3cr3t-0f-th3-cl13nt"
ORIGIN = "http://localhost:3000"
CHAT = "/v1/chat/completions"
PATIENCE_S = 20.0
CORS_OF_UPSTREAM = (("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true"))
Pairs = Sequence[tuple[str, str]]


@dataclass
class Served:
    """A running ``toollog serve``, and the model server behind it."""

    up: Upstream
    database: Path
    process: subprocess.Popen[str]
    url: str
    said: str

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def ask(self, method: str = "POST", target: str = CHAT, headers: Pairs = (), text: str = POISON,
            host: str = "localhost", kind: str = "application/json") -> Answer:  # fmt: skip
        """Send a request, a chat unless it only reads."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
        has_body = method not in ("GET", "HEAD", "OPTIONS")
        own = [("content-type", kind)] if has_body and kind else []
        data = request_bytes(method, target, body if has_body else b"", [*own, *headers])
        return talk(self.url, data.replace(b"host: localhost", f"host: {host}".encode(), 1))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE_S) == 0

    def files(self) -> list[Path]:
        return [path for path in self.database.parent.rglob("*") if path.is_file()]


def error_of(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["message"])


@cache
def bomb() -> bytes:
    """Return a small body that unpacks to 360 MB."""
    packer = zlib.compressobj(1, wbits=31)
    packed = [packer.compress(b"word, " * 200_000) for _ in range(300)]
    return b"".join([*packed, packer.flush()])


def answer_of_model(request: Request, connection: Connection) -> None:
    if request.target.startswith(b"/bomb"):
        whole(bomb(), 200, JSON, ("content-encoding", "gzip"))(request, connection)
    elif request.target.startswith(b"/moved"):
        whole(b"", 307, ("location", f"http://127.0.0.1:{connection.upstream.port}/trap"))(request, connection)
    else:
        cookie = ("set-cookie", f"session={SECRET}")
        whole(chat_body(), 200, JSON, cookie, *CORS_OF_UPSTREAM)(request, connection)


@contextmanager
def serve(folder: Path, *arguments: str, **environment: str) -> Iterator[Served]:
    database = folder / "data" / "log.db"
    command = [sys.executable, "-m", "tarx_toollog", "--database", str(database), "serve", "--port", "0", *arguments]
    dead = "http://127.0.0.1:9"  # nobody: who went by the proxies of the environment would get no answer
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), dead)
    with running(answer_of_model) as up:
        process = subprocess.Popen(
            [*command, "--upstream", up.url],
            env=os.environ | proxies | {"TOOLLOG_PROBE": "false", "PYTHONUNBUFFERED": "1"} | environment,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o022,
        )
        assert process.stderr is not None
        lines: list[str] = []
        try:
            last = "clients need " if "--host" in arguments else "pages: "
            while not lines or not lines[-1].startswith(last):
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            port = lines[0].partition(",")[0].rpartition(":")[2]
            yield Served(up, database, process, f"http://127.0.0.1:{port}", "".join(lines))
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    allowed = {"TOOLLOG_ALLOWED_HOSTS": "box.lan, 192.168.7.7", "TOOLLOG_ALLOWED_ORIGINS": f"{ORIGIN},app://desk"}
    with serve(tmp_path_factory.mktemp("security"), **allowed) as made:
        yield made


@pytest.fixture
def served(started: Served) -> Served:
    started.up.requests.clear()
    return started


# ---- the name of the server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:11450", "[::1]:1", "LOCALHOST.", "box.lan:80", "192.168.7.7"])
def test_the_names_of_this_machine_and_of_the_settings_are_answered(served: Served, host: str) -> None:
    assert 200 == served.ask(host=host, text="hi").status
    assert "ok" == json.loads(served.ask("GET", "/toollog/healthz", host=host).body)["status"]
    assert 200 == served.ask("GET", "/toollog/labels/queue", host=host).status


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example@localhost", "10.0.0.1", ""])
@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", CHAT), ("GET", "/v1/models"), ("OPTIONS", CHAT), ("DELETE", "/"), ("GET", "/toollog/healthz"),
     ("GET", "/toollog/"), ("GET", "/toollog"), ("GET", "/toollog/api/labels"), ("GET", "/no/such/page")],
)  # fmt: skip
def test_by_any_other_name_nothing_is_answered(served: Served, method: str, target: str, host: str) -> None:
    answer = served.ask(method, target, host=host)

    assert 421 == answer.status
    assert "allowed_hosts" in error_of(answer)
    assert [] == served.up.requests


@pytest.mark.parametrize("more", [("host", "localhost"), ("host", "evil.example")])
def test_a_request_with_two_names_is_refused(served: Served, more: tuple[str, str]) -> None:
    assert served.ask(headers=[more]).status in (400, 421)  # uvicorn's own parser refuses it, too
    assert [] == served.up.requests


# ---- pages of other sites -------------------------------------------------------------------------------------------

FOREIGN: list[Pairs] = [
    [("origin", "http://evil.example")],
    [("origin", "null")],
    [("origin", "http://localhost:3001")],
    [("origin", "http://localhost.evil.example:3000")],
    [("origin", f"{ORIGIN}.evil.example"), ("sec-fetch-site", "cross-site")],
    [("sec-fetch-site", "cross-site")],
    [("sec-fetch-site", "same-site")],
    [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
    [("origin", "http://localhost"), ("sec-fetch-site", "cross-site")],
    [("origin", ORIGIN), ("origin", "http://evil.example")],
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_pages_of_other_sites_may_not_use_it(served: Served, method: str, headers: Pairs) -> None:
    answer = served.ask(method, headers=[*headers, ("access-control-request-method", "POST")])

    assert 403 == answer.status
    assert [] == [name for name, _ in answer.headers if name.startswith(b"access-control")]
    assert [] == served.up.requests


@pytest.mark.parametrize(
    "headers",
    [[], [("origin", "http://localhost")], [("sec-fetch-site", "same-origin"), ("origin", "http://localhost")]],
)
def test_programs_and_its_own_pages_may_and_the_model_server_says_nothing_about_origins(
    served: Served, headers: Pairs
) -> None:
    answer = served.ask(headers=headers, text="hi")

    assert (200, chat_body()) == (answer.status, answer.body)
    assert [] == [name for name, _ in answer.headers if name.startswith(b"access-control")]
    (request,) = served.up.requests
    assert b"origin" not in dict(request.headers)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_that_somebody_typed_may_only_read(served: Served, method: str) -> None:
    answer = served.ask(method, headers=[("sec-fetch-site", "none")])
    assert {"GET": 200, "POST": 403}[method] == answer.status


@pytest.mark.parametrize("origin", [ORIGIN, "app://desk"])
def test_an_origin_of_the_settings_may_and_hears_so_from_us(served: Served, origin: str) -> None:
    asking = [("origin", origin), ("sec-fetch-site", "same-site")]
    wanted = [("access-control-request-method", "POST"), ("access-control-request-headers", "authorization,x-a")]
    preflight = served.ask("OPTIONS", headers=[*asking, *wanted])

    assert (204, [], b"") == (preflight.status, served.up.requests, preflight.body)
    said = dict(preflight.headers)
    assert (origin.encode(), b"authorization,x-a") == (
        said[b"access-control-allow-origin"], said[b"access-control-allow-headers"]
    )  # fmt: skip
    assert b"POST" in said[b"access-control-allow-methods"]

    answer = served.ask(headers=asking, text="hi")
    assert (200, chat_body()) == (answer.status, answer.body)
    said_of_origins = sorted(pair for pair in answer.headers if pair[0].startswith(b"access-control"))
    assert [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", b"*"),
    ] == said_of_origins
    (request,) = served.up.requests
    assert b"origin" not in dict(request.headers)


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", ""])
def test_a_chat_that_a_browser_sends_is_json_by_its_type(served: Served, kind: str) -> None:
    for origin in ("http://localhost", ORIGIN):
        refused = served.ask(headers=[("origin", origin)], kind=kind)
        assert (415, origin == ORIGIN) == (refused.status, b"access-control-allow-origin" in dict(refused.headers))
        assert 415 == served.ask(target="/s/abc/v1/messages", headers=[("origin", origin)], kind=kind).status
    assert [] == served.up.requests
    assert 200 == served.ask(text="hi", kind=kind).status  # a program may be careless


# ---- between servers ------------------------------------------------------------------------------------------------


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"


def test_a_request_with_a_length_and_in_chunks_goes_no_further_nor_does_what_follows_it(served: Served) -> None:
    headers = [("content-type", "application/json"), ("content-length", "5"), ("transfer-encoding", "chunked")]
    with dialled(served.url, request_bytes(headers=headers) + SMUGGLED) as connection:
        assert 400 == read_answer(connection).status
        assert connection.wait_gone()
    assert [] == served.up.requests


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 5", "content-length: 6"],
        ["content-length: 5, 6"],
        ["content-length: +5"],
        ["content-length : 5"],
        ["content-length: 5", " transfer-encoding: chunked"],
        ["transfer-encoding: xchunked"],
        ["transfer-encoding: chunked, identity"],
        ["transfer-encoding: chunked", "transfer-encoding: chunked"],
        ["x: 1\rtransfer-encoding: chunked"],
    ],
)
def test_a_length_that_two_servers_could_read_in_two_ways_goes_no_further(served: Served, lines: list[str]) -> None:
    head = [f"POST {CHAT} HTTP/1.1", "host: localhost", *lines, "", ""]
    with dialled(served.url, "\r\n".join(head).encode() + SMUGGLED) as connection:
        assert read_answer(connection).status in (400, 501)
        assert connection.wait_gone()
    assert [] == served.up.requests


def test_redirects_are_for_the_client_and_proxies_of_the_environment_are_ignored(served: Served) -> None:
    answer = served.ask("GET", "/moved")

    assert 307 == answer.status
    assert [b"/moved"] == [request.target for request in served.up.requests]


def test_a_header_that_another_one_names_as_hop_by_hop_stays_behind(served: Served) -> None:
    served.ask(text="hi", headers=[("connection", "x-inner"), ("x-inner", "1"), ("te", "trailers"), ("x-kept", "1")])

    (request,) = served.up.requests
    assert {b"x-inner", b"te"}.isdisjoint(dict(request.headers))
    assert b"1" == dict(request.headers)[b"x-kept"]
    assert served.up.url == f"http://{dict(request.headers)[b'host'].decode()}"  # its own name, not the client's


# ---- the token ------------------------------------------------------------------------------------------------------


def test_on_other_addresses_everybody_needs_the_token_which_goes_no_further(tmp_path: Path) -> None:
    with serve(tmp_path, "--host", "0.0.0.0") as served:
        path = served.database.with_name("log.db.journal") / "chat.token"
        token = path.read_text().strip()
        assert (0o600, True) == (path.stat().st_mode & 0o777, len(token) >= 32)
        assert str(path) in served.said
        assert token not in served.said

        wrong: list[Pairs] = [
            [],
            [("authorization", "Bearer sk-local")],
            [("authorization", f"Bearer {token}x")],
            [("x-toollog-token", token[:-1])],
            [("cookie", f"toollog_ui={token}")],
        ]
        for headers in wrong:
            assert 401 == served.ask(headers=headers).status
            assert 401 == served.ask("GET", "/toollog/healthz", headers=headers).status
        assert 421 == served.ask(headers=[("x-toollog-token", token)], host="evil.example").status
        assert 403 == served.ask(headers=[("x-toollog-token", token), ("origin", "http://evil.example")]).status
        assert [] == served.up.requests
        pages = ("GET", "/toollog/labels/queue")
        assert 401 == served.ask(*pages, headers=[("authorization", f"Bearer {token}")]).status  # that is another one

        own_key = ("authorization", "Bearer key-of-the-model-server")
        right: list[Pairs] = [
            [("authorization", f"Bearer {token}")],
            [("x-api-key", token)],
            [("x-toollog-token", token), own_key],
        ]
        assert [200] * 3 == [served.ask(headers=headers, text="hi").status for headers in right]
        assert [[own_key]] == [
            [("authorization", value.decode()) for name, value in request.headers if name == b"authorization"]
            for request in served.up.requests[2:]
        ]
        for request in served.up.requests:
            assert token.encode() not in b"".join(value for _, value in request.headers)
        served.stop()
        assert not [file for file in served.files() if file != path and token.encode() in file.read_bytes()]


# ---- what is kept, and who can read it ------------------------------------------------------------------------------


def rss_mb(pid: int, what: str = "VmRSS") -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_bomb_comes_through_packed_and_is_unpacked_only_so_far(served: Served) -> None:
    served.ask(text="hi")
    before = rss_mb(served.process.pid)

    answer = served.ask(target=f"/bomb{CHAT}", text="hi")

    assert bomb() == answer.body

    def notes() -> list[Any]:
        with ToolLog.open(served.database) as log:
            return list(log.query("SELECT notes FROM exchange WHERE response_size > 300000 AND outcome <> 'open'").rows)

    assert eventually(lambda: bool(notes()), 30.0)
    assert "content_encoding_limit" in notes()[0][0]
    assert rss_mb(served.process.pid, "VmHWM") - before < 220  # some copies of 32 MB


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_no_key_is_kept_nothing_refused_is_and_all_files_are_for_their_owner(tmp_path: Path) -> None:
    keys = [("authorization", f"Bearer {SECRET}"), ("cookie", f"a={SECRET}"), ("x-api-key", SECRET)]
    with serve(tmp_path) as served:
        assert 200 == served.ask(target=f"{CHAT}?api_key={SECRET}", headers=keys, text="hello there").status
        assert 200 == served.ask(headers=[("origin", "http://localhost")], text="from a page").status
        for headers in FOREIGN:
            assert 403 == served.ask(headers=headers).status
        assert 421 == served.ask(host="evil.example").status
        folder = served.database.parent
        # While it runs, for the files of SQLite; with a umask of 022, as most people have it.
        assert (
            0 == run("--database", str(served.database), "db", "backup", str(folder / "backups" / "one.db")).exit_code
        )
        everything = modes(folder)
        served.stop()
    log_of = ("--database", str(served.database))
    assert 0 == run(*log_of, "export", "run", str(folder / "export"), "--for", "trl").exit_code
    quarantine.put(folder / "log.db.journal", "one", b"")
    everything |= modes(folder)

    assert {"log.db", "log.db-wal", "log.db-shm", "log.db.journal", "backups/one.db", "export"} <= set(everything)
    folders = {name for name in everything if (folder / name).is_dir() or name == "log.db.journal"}
    loose = {name: oct(mode) for name, mode in everything.items() if mode & 0o077}
    assert {} == loose
    assert {0o700} == {everything[name] for name in folders}
    assert 0o700 == folder.stat().st_mode & 0o777
    for path in served.files():
        data = path.read_bytes()
        assert (False, False) == (SECRET.encode() in data, POISON.encode() in data), path
    with ToolLog.open(served.database) as log:
        rows = list(log.query("SELECT client_kind, client_origin FROM v_exchanges ORDER BY started_at").rows)
    assert [("program", None), ("browser", "http://localhost")] == rows
    for condition in ("client_kind = 'program'", "client_origin IS NULL"):
        assert 1 == len(rows_of(*log_of, "log", "list", "--where", condition))
