"""Pages of other sites in a real browser, in front of a model server that would let them: nothing comes through."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tarx_toollog.capture.proxy import ToolLogProxy
from tarx_toollog.config import Settings
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.app import toollog_pages
from tests.support.asgi import recording, stored
from tests.support.browsing import started_browser
from tests.support.http_server import Handler, served_by
from tests.support.upstream import JSON, Connection, Request, Upstream, chat_body, running, whole
from tests.support.waiting import eventually
from tests.support.workers import serving
from tests.unit.replay.support import Chat, saying

POISON = "p01s0n"
CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": POISON}]})
FRIEND = "friend.example"


class Site(Handler):
    """Any site: an empty page on every path."""

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>site</title><body>")


def careless(request: Request, connection: Connection) -> None:
    """Answer as servers do that want to be used from anywhere."""
    origin = dict(request.headers).get(b"origin", b"*").decode()
    lets = [(f"access-control-allow-{what}", value) for what, value in
            (("origin", origin), ("methods", "*"), ("headers", "*"), ("private-network", "true"))]  # fmt: skip
    whole(chat_body(), 200, JSON, *lets)(request, connection)


@dataclass
class Scene:
    """The proxy, the model server behind it, and the sites of others."""

    url: str
    sites_port: int
    up: Upstream
    settings: Settings

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def site(self, name: str) -> str:
        return f"http://{name}:{self.sites_port}/"

    def hears_nothing(self) -> None:
        """Say that nothing has come to the model server, and nothing to the log."""
        heard = [request.target for request in self.up.requests]
        assert [] == [target for target in heard if target != b"/favicon.ico"]  # a browser asks for that by itself
        assert 1 == len(stored(self.settings))
        with ToolLog.open(self.settings.database) as log:
            assert [] == Labels(log).labels()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        up = stack.enter_context(running(careless))
        sites = stack.enter_context(served_by(Site))
        sites_port = int(sites.rpartition(":")[2])
        folder: Path = tmp_path_factory.mktemp("sites")
        allowed = (f"http://{FRIEND}:{sites_port}",)
        settings = stack.enter_context(recording(folder, upstream=up.url, allowed_origins=allowed))
        with ToolLog.open(Path(settings.database), read_only=False) as log:
            Chat(log, "c").turn("hello", saying("hi"))
        url = stack.enter_context(serving(ToolLogProxy(settings=settings, pages=toollog_pages(settings))))
        yield Scene(url, sites_port, up, settings)


@pytest.fixture(scope="module")
def browser(scene: Scene) -> Iterator[Browser]:
    # Newer browsers ask people before a site may speak to their own machine. Older ones do not, and people say yes.
    unasked = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
    with started_browser("--host-resolver-rules=MAP *.example 127.0.0.1", unasked) as started:
        yield started


@pytest.fixture
def page(browser: Browser, scene: Scene) -> Iterator[Page]:
    scene.up.requests.clear()
    with closing(browser.new_context()) as context:
        opened = context.new_page()
        opened.set_default_timeout(10_000)
        yield opened


# What a script gets to see: the status and the text, `opaque`, or `refused` by the browser.
SEND = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return answer.type === "opaque" ? "opaque" : `${answer.status} ${await answer.text()}`;
  } catch (error) { return "refused"; }
}"""
AS_JSON: dict[str, object] = {"method": "POST", "headers": {"content-type": "application/json"}, "body": CHAT}
AS_TEXT: dict[str, object] = {"method": "POST", "headers": {"content-type": "text/plain"}, "body": CHAT}


ATTEMPTS: list[tuple[dict[str, object], str]] = [
    (AS_JSON, "refused"),
    (AS_TEXT, "refused"),
    (AS_TEXT | {"mode": "no-cors"}, "opaque"),
    (AS_TEXT | {"mode": "no-cors", "credentials": "include", "referrerPolicy": "no-referrer"}, "opaque"),
    ({"method": "GET"}, "refused"),
    ({"method": "GET", "mode": "no-cors"}, "opaque"),
    ({"method": "DELETE"}, "refused"),
]


def test_a_script_of_another_site_gets_nothing_through(page: Page, scene: Scene) -> None:
    page.goto(scene.site("evil.example"))
    paths = ("/v1/chat/completions", "/s/x/v1/messages", "/api/chat", "/toollog/api/labels")
    tried = [(f"http://{host}:{scene.port}{path}", *attempt) for host in ("127.0.0.1", "localhost") for path in paths
             for attempt in ATTEMPTS]  # fmt: skip
    seen = [(url, options, page.evaluate(SEND, [url, options])) for url, options, _ in tried]
    # The pages tell the browser to show them to nobody else.
    expected = [(url, options, "refused" if "/toollog/" in url else what) for url, options, what in tried]
    assert expected == seen
    scene.hears_nothing()


def test_nor_does_one_of_another_port_of_this_machine(page: Page, scene: Scene) -> None:
    page.goto(scene.site("127.0.0.1"))
    for options in (AS_JSON, AS_TEXT, {"method": "GET"}):
        assert "refused" == page.evaluate(SEND, [f"{scene.url}/v1/chat/completions", options])
    scene.hears_nothing()


SUBMIT = """([url, encoding, text]) => {
  const form = Object.assign(document.createElement("form"), { action: url, method: "POST", enctype: encoding });
  form.append(Object.assign(document.createElement("input"), { name: text.slice(0, -1), value: "}" }));
  document.body.append(form);
  form.submit();
}"""


def test_a_form_of_another_site_is_refused(page: Page, scene: Scene) -> None:
    forms = {
        "/v1/chat/completions": "text/plain",
        "/toollog/labels": "application/x-www-form-urlencoded",
        "/toollog/api/labels": "text/plain",
    }
    for path, encoding in forms.items():
        page.goto(scene.site("evil.example"))
        with page.expect_navigation() as leaving:
            page.evaluate(SUBMIT, [f"{scene.url}{path}", encoding, CHAT])
        assert (path, 403) == (path, leaving.value.status)
    scene.hears_nothing()


def test_beacons_images_scripts_and_frames_of_another_site_are_refused(page: Page, scene: Scene) -> None:
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if answer.url.startswith(scene.url) else None)
    page.goto(scene.site("evil.example"))
    page.evaluate(
        """async ([url, text]) => {
          navigator.sendBeacon(`${url}/v1/chat/completions`, text);
          const made = ["img", "script", "iframe"].flatMap((tag) => ["/v1/models", "/toollog/"].map((path) =>
            Object.assign(document.createElement(tag), { src: url + path })));
          await Promise.all(made.map((one) => new Promise((done) => {
            one.onload = one.onerror = done;
            document.body.append(one);
          })));
        }""",
        [scene.url, CHAT],
    )
    assert {403} == set(statuses)
    scene.hears_nothing()


def test_a_name_that_was_made_to_point_here_reaches_nothing(page: Page, scene: Scene) -> None:
    own = f"http://evil.example:{scene.port}"
    # As if the name had pointed to the site's own server while its page was loaded.
    page.route(f"{own}/lure", lambda route: route.fulfill(body="<title>lure</title>", content_type="text/html"))
    page.goto(f"{own}/lure")
    assert "lure" == page.title()
    for path in ("/v1/chat/completions", "/toollog/", "/toollog/healthz", "/toollog/api/labels"):
        for options in (AS_JSON, AS_TEXT, {"method": "GET"}):
            said = page.evaluate(SEND, [path, options])
            assert re.match(r"421 .*allowed_hosts", said), said
    visit = page.goto(f"{own}/v1/models")
    assert visit is not None
    assert 421 == visit.status
    scene.hears_nothing()


def test_pages_of_its_own_and_of_a_site_that_the_settings_name_are_answered_and_logged(
    page: Page, scene: Scene
) -> None:
    answer = f"200 {chat_body().decode()}"
    page.goto(f"{scene.url}/toollog/")
    assert answer == page.evaluate(SEND, ["/v1/chat/completions", AS_JSON])
    assert page.evaluate(SEND, ["/v1/chat/completions", AS_TEXT]).startswith("415 ")
    page.goto(scene.site(FRIEND))
    assert answer == page.evaluate(SEND, [f"{scene.url}/v1/chat/completions", AS_JSON])
    assert page.evaluate(SEND, [f"{scene.url}/v1/chat/completions", AS_TEXT]).startswith("415 ")
    assert "refused" == page.evaluate(SEND, [f"{scene.url}/toollog/api/labels", AS_JSON])  # the pages are no part of it
    assert ["POST", "POST"] == [request.method.decode() for request in scene.up.requests]
    assert eventually(lambda: 3 == len(stored(scene.settings)))
