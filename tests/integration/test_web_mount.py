"""The pages in other applications: mounted at a place, under the proxy, and who gets in there."""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from tarx_toollog.capture.proxy import ToolLogProxy
from tarx_toollog.config import Settings
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.app import toollog_pages
from tarx_toollog.web.guard import Access
from tests.support.web_pages import CALLS, running
from tests.unit.replay.support import Chat, calling, fake_model, saying

TOKEN = "t0k3n"
JSON = {"content-type": "application/json"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        Chat(log, "c").turn("u", calling(CALLS[0]), saying("done"))
    return Settings(database=str(tmp_path / "t.db"))


def uid_of(settings: Settings) -> str:
    with ToolLog.open(settings=settings) as log:
        (turn,) = log.trajectories()
        return turn.steps[0].exchange_uid


def workbench(pages: Any) -> FastAPI:
    app = FastAPI()
    app.add_api_route("/labels", lambda: PlainTextResponse("the Workbench's own"))
    app.mount("/tools/toollog", pages)
    return app


@pytest.fixture
def mounted(settings: Settings) -> Iterator[httpx.Client]:
    app = workbench(toollog_pages(settings, annotator="ann"))
    with running(app) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def test_every_link_form_and_redirect_of_mounted_pages_stays_where_they_are_mounted(
    mounted: httpx.Client, settings: Settings
) -> None:
    uid = uid_of(settings)
    for path in ("/", "/labels/queue", f"/labels/one?uid={uid}", f"/exchanges/{uid}", "/replay", "/no/such/page"):
        text = mounted.get(f"/tools/toollog{path}", follow_redirects=True).text
        places = re.findall(r'(?:href|action|src)="([^"#][^"]*)"', text)
        assert places
        assert [] == [place for place in places if not place.startswith("/tools/toollog/")]
    assert 200 == mounted.get("/tools/toollog/static/ui.css").status_code
    assert "the Workbench's own" == mounted.get("/labels").text


def test_a_form_of_mounted_pages_leads_back_to_them(mounted: httpx.Client, settings: Settings) -> None:
    page = f"/tools/toollog/labels/one?uid={uid_of(settings)}"
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', mounted.get(page).text))
    sent = mounted.post("/tools/toollog/labels", data={**fields, "verdict": "good"})
    assert (303, f"{page}&notice=labelled") == (sent.status_code, sent.headers["location"])
    without = {name: value for name, value in fields.items() if name != "back"}
    came_from = {"referer": str(mounted.base_url) + "/tools/toollog/replay?x=1&notice=labelled"}
    sent = mounted.post("/tools/toollog/labels", data={**without, "verdict": "bad"}, headers=came_from)
    assert "/tools/toollog/replay?x=1&notice=labelled" == sent.headers["location"]
    elsewhere = mounted.post("/tools/toollog/labels", data={**fields, "verdict": "bad", "back": "/labels"})
    assert "/tools/toollog/?notice=labelled" == elsewhere.headers["location"]


def test_the_token_of_mounted_pages_is_kept_for_their_place_alone(settings: Settings) -> None:
    with running(workbench(toollog_pages(settings, access=Access(token=TOKEN)))) as url:
        assert 401 == httpx.get(f"{url}/tools/toollog/replay").status_code
        sent = httpx.get(f"{url}/tools/toollog/replay?token={TOKEN}&a=1")
        assert (303, "/tools/toollog/replay?a=1") == (sent.status_code, sent.headers["location"])
        assert "Path=/tools/toollog;" in sent.headers["set-cookie"]
        assert 200 == httpx.get(f"{url}/tools/toollog/replay", cookies=dict(sent.cookies)).status_code
        bearer = {"authorization": f"Bearer {TOKEN}"}
        uid = uid_of(settings)
        assert 200 == httpx.get(f"{url}/tools/toollog/api/labels?exchange={uid}", headers=bearer).status_code
        assert 401 == httpx.get(f"{url}/tools/toollog/api/labels?exchange={uid}&token={TOKEN}").status_code


@pytest.mark.parametrize(
    ("client", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("::ffff:192.168.1.7", 403), ("192.168.1.7", 403)],
)
def test_without_a_token_mounted_pages_answer_this_machine_alone(settings: Settings, client: str, status: int) -> None:
    async def ask() -> int:
        transport = httpx.ASGITransport(workbench(toollog_pages(settings)), client=(client, 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            return (await asking.get("/tools/toollog/replay")).status_code

    assert status == asyncio.run(ask())


@contextlib.contextmanager
def proxied(settings: Settings) -> Iterator[tuple[httpx.Client, list[Any]]]:
    with fake_model(lambda body: saying("hello")) as model:
        served = settings.model_copy(update={"upstream": model.url})
        app = ToolLogProxy(settings=served, pages=toollog_pages(served))
        with running(app) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
            yield client, model.requests


def test_the_proxy_shows_the_pages_in_its_own_place_and_passes_on_the_rest(settings: Settings) -> None:
    with proxied(settings) as (client, asked):
        assert (307, "/toollog/") == (
            client.get("/toollog").status_code, client.get("/toollog").headers["location"]
        )  # fmt: skip
        assert "What is worth a label" in client.get("/toollog/labels/queue").text
        assert "ok" == client.get("/toollog/healthz").json()["status"]
        assert [] == asked
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        answer = client.post("/v1/chat/completions", json=body)
        assert ("hello", [body]) == (answer.json()["choices"][0]["message"]["content"], asked)
        assert "content-security-policy" not in answer.headers
        for path in ("/toollogger", "/labels/queue", "/v1/toollog"):
            assert 404 == client.get(path).status_code  # the model server's answer
            assert "content-security-policy" not in client.get(path).headers


def test_what_is_sent_to_the_pages_of_the_proxy_is_not_logged_as_a_chat(settings: Settings) -> None:
    with proxied(settings) as (client, _):
        chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        assert 400 == client.post("/toollog/api/labels", json=chat).status_code
        label = {"exchange": uid_of(settings), "value": 1}
        assert 201 == client.post("/toollog/api/labels", content=json.dumps(label), headers=JSON).status_code
    with ToolLog.open(settings=settings) as log:
        assert 1 == len(Labels(log).labels())
        assert 2 == len(list(log.query("SELECT uid FROM exchange").rows))


def test_a_server_in_front_may_take_the_place_off_or_leave_it(settings: Settings) -> None:
    async def ask(path: str) -> str:
        pages = toollog_pages(settings)

        async def under(scope: Any, receive: Any, send: Any) -> None:
            await pages({**scope, "root_path": "/front"}, receive, send)

        transport = httpx.ASGITransport(under)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            return (await asking.get(path)).text

    for path in ("/front/labels/queue", "/labels/queue"):
        assert 'href="/front/labels/queue" aria-current="page"' in asyncio.run(ask(path))
