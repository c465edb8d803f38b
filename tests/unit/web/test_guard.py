"""What is let in before anything is routed."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from tarx_toollog.web.guard import Access, Guard, Receive, Send

LOCAL = {"host": "127.0.0.1:11451"}
Answer = tuple[int, dict[str, str]]


async def inner(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    kept = [(b"content-type", b"text/html"), (b"Cache-Control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": kept})
    await send({"type": "http.response.body", "body": b"in"})


def asked(headers: dict[str, str] | list[tuple[str, str]], method: str = "GET", path: str = "/replay",
          query: str = "", access: Access | None = None) -> Answer:  # fmt: skip
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
             "headers": [(name.encode(), value.encode()) for name, value in pairs]}  # fmt: skip
    asyncio.run(Guard(inner, access or Access())(scope, receive, send))
    return sent[0]["status"], {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(("path", "query"), [("/exchanges/\0", ""), ("/replay/runs/r/steps", "tool=a%00")])
def test_an_address_that_no_database_can_look_for_is_refused(path: str, query: str) -> None:
    assert 400 == asked(LOCAL, path=path, query=query)[0]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:11451", "localhost."])
def test_names_of_this_machine_are_let_in(host: str) -> None:
    assert 200 == asked({"host": host})[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "192.168.1.7",
        "0.0.0.0",
        "[::1",
        "",
        "[evil]",
    ],
)
@pytest.mark.parametrize("path", ["/replay", "/static/ui.css", "/no/such/page"])
def test_another_host_is_refused_on_every_path(host: str, path: str) -> None:
    assert 421 == asked({"host": host}, path=path)[0]


def test_no_host_and_two_hosts_are_refused() -> None:
    assert [421, 421] == [asked([])[0], asked([("host", "localhost"), ("host", "localhost")])[0]]


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("none", "navigate", "document", 200),  # typed, or a bookmark
        ("same-origin", "no-cors", "style", 200),
        ("cross-site", "navigate", "document", 200),  # a link
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "no-cors", "image", 403),
        ("same-site", "cors", "empty", 403),  # another port of this machine
        ("cross-site", "no-cors", "script", 403),
    ],
)
def test_another_site_may_link_here_and_nothing_else(site: str, mode: str, dest: str, status: int) -> None:
    headers = {**LOCAL, "sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert status == asked(headers)[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:11451"}, 200),
        ({"origin": "http://127.0.0.1:11451"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:11451"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:3000"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_our_own_pages_may_change_something(headers: dict[str, str], status: int, method: str) -> None:
    assert status == asked({**LOCAL, **headers}, method)[0]


def test_every_answer_forbids_scripts_frames_and_caches() -> None:
    for answer in (asked(LOCAL), asked({"host": "evil.example"})):
        headers = answer[1]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert ("nosniff", "DENY") == (headers["x-content-type-options"], headers["x-frame-options"])
        assert "no-store" == headers["cache-control"]
        assert "access-control-allow-origin" not in headers


def test_a_socket_is_closed() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(Guard(inner, Access())({"type": "websocket", "headers": []}, receive, send))
    assert [{"type": "websocket.close", "code": 1008}] == sent


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_on_this_machine_alone_no_token_is_needed(host: str) -> None:
    assert Access.on(host).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "box.lan"])
def test_on_any_other_address_a_token_of_its_own_is_needed(host: str) -> None:
    first, second = Access.on(host), Access.on(host)
    assert first.token is not None
    assert first.token != second.token
    assert len(first.token) >= 32


def test_a_server_on_all_addresses_goes_by_numbers_but_not_by_names() -> None:
    access = Access.on("0.0.0.0")
    assert [True, True, False] == [access.knows(name) for name in ("192.168.1.7:1", "[fe80::1]", "evil.example")]
    assert [True, False] == [Access.on("192.168.1.7").knows(name) for name in ("192.168.1.7:1", "192.168.1.8")]


class TestToken:
    """The token comes once in a link, then in a cookie."""

    access = Access(token="s3cret")

    def test_without_it_nothing_is_shown(self) -> None:
        for query in ("", "token=", "token=wrong", "token=s3cre"):
            assert 401 == asked(LOCAL, query=query, access=self.access)[0]

    def test_the_link_leads_to_the_page_without_it(self) -> None:
        status, headers = asked(LOCAL, path="/replay", query="a=1&token=s3cret", access=self.access)
        assert (303, "/replay?a=1") == (status, headers["location"])
        assert "token=" not in headers["location"]
        assert "HttpOnly" in headers["set-cookie"]

    def test_the_cookie_lets_in(self) -> None:
        cookie = asked(LOCAL, query="token=s3cret", access=self.access)[1]["set-cookie"].partition(";")[0]
        assert 200 == asked({**LOCAL, "cookie": f"a=b; {cookie}"}, access=self.access)[0]
        assert 401 == asked({**LOCAL, "cookie": f"{cookie}x"}, access=self.access)[0]

    def test_the_link_leads_nowhere_else(self) -> None:
        assert (
            "/evil.example/"
            == asked(LOCAL, path="//evil.example/", query="token=s3cret", access=self.access)[1]["location"]
        )

    def test_a_form_cannot_bring_it(self) -> None:
        headers = {**LOCAL, "sec-fetch-site": "same-origin"}
        assert 401 == asked(headers, "POST", query="token=s3cret", access=self.access)[0]

    def test_the_host_is_checked_before_it(self) -> None:
        assert 421 == asked({"host": "evil.example"}, query="token=s3cret", access=self.access)[0]


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "/api/labels", 200),
        ({}, "/labels", 403),
        ({}, "/labels/api/", 403),
        ({"sec-fetch-site": "none"}, "/api/labels", 403),
        ({"sec-fetch-site": "cross-site"}, "/api/labels", 403),
        ({"origin": "null"}, "/api/labels", 403),
        ({"origin": "http://evil.example"}, "/api/labels", 403),
        ({"origin": "http://127.0.0.1:11451"}, "/api/labels", 200),
    ],
)
def test_a_program_that_names_no_origin_may_post_where_programs_post(
    headers: dict[str, str], path: str, status: int
) -> None:
    assert status == asked({**LOCAL, **headers}, "POST", path)[0]


@pytest.mark.parametrize(("given", "status"), [("Bearer s3cret", 200), ("bearer  s3cret", 200), ("Bearer x", 401)])
def test_a_program_brings_the_token_as_a_bearer(given: str, status: int) -> None:
    assert status == asked({**LOCAL, "authorization": given}, path="/api/labels", access=Access(token="s3cret"))[0]


def test_programs_get_the_reason_as_json() -> None:
    assert "application/json" == asked({"host": "evil.example"}, path="/api/labels")[1]["content-type"]
    assert "text/plain; charset=utf-8" == asked({"host": "evil.example"}, path="/labels")[1]["content-type"]


def test_an_address_gets_the_token_that_opens_it() -> None:
    assert ["/a/", "/a/?token=s%20"] == [access.link("/a/") for access in (Access(), Access(token="s "))]
