"""The pages of runs that are not one answer to each logged step: closed loops, and several attempts."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP
from tests.support.web_pages import CALLS, chain, served_pages
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, last_user, results_since


def own_way(body: Json) -> Json:
    """Answer as in the log, but go on after the end for one user."""
    done = results_since(body)
    return calling(CALLS[min(done, 1)]) if last_user(body) == "one" else chain()[min(done, 2)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    path: Path = tmp_path_factory.mktemp("loop") / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        for user in ("one", "two"):
            Chat(log, user).turn(user, *chain())
        build(log, "t", EVERY_SPLIT)
        with fake_model(own_way) as served:
            replay(log, RunRequest("loop", "t", served.url, Overrides("m"), mode=CLOSED_LOOP))
            replay(log, RunRequest("twice", "t", served.url, Overrides("m"), attempts=2))
    with served_pages(path) as url, httpx.Client(base_url=url) as client:
        yield client


def test_turns_are_counted_where_steps_have_no_verdict(client: httpx.Client) -> None:
    assert "1 of 2 turns" in client.get("/replay").text
    assert "2 of 2 turns asked" in client.get("/replay/runs/loop").text


def test_the_turn_that_went_wrong_shows_its_course_and_no_form_to_accept_it(client: httpx.Client) -> None:
    listed = client.get("/replay/runs/loop/steps").text
    (address,) = re.findall(r'"(/replay/runs/loop/steps/[^/?"]+/\d+)"', listed)
    page = unescape(client.get(address).text)
    assert "In a closed loop the model goes its own way" in page
    course = page[page.index("it called") :]
    assert ["recall", "remember"] == re.findall(r"<li><code>(\w+)</code> <small>", course)[:2]
    assert "accept this answer too" not in page
    assert "Was the logged answer right?" in page


def test_of_several_attempts_the_first_is_listed_and_the_others_can_be_looked_at(client: httpx.Client) -> None:
    listed = client.get("/replay/runs/twice/steps?state=all").text
    addresses = re.findall(r'"(/replay/runs/twice/steps/[^/?"]+/\d+)"', listed)
    assert (6, 6) == (len(addresses), len(set(addresses)))
    assert f'attempt <b>1</b> <a href="{addresses[0]}?attempt=2">2</a>' in client.get(addresses[0]).text
    assert f'<a href="{addresses[0]}?attempt=1">1</a> <b>2</b>' in client.get(f"{addresses[0]}?attempt=2").text
    assert 404 == client.get(f"{addresses[0]}?attempt=3").status_code
