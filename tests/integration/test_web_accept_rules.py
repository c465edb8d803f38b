"""The forms of a step's page that accept: by rules for its arguments, and the attempt that is shown."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.labels import LabelRow, Labels
from tarx_toollog.store.log import ToolLog
from tests.support.web_pages import TURNED, served_pages
from tests.unit.replay.support import (
    EVERY_SPLIT,
    Chat,
    Json,
    calling,
    fake_model,
    last_user,
    results_since,
    saying,
    tool,
)

LOGGED: tuple[str, Json] = ("recall", {"query": "the colour of the cat Miez", TURNED: 1})
MADE: dict[str, tuple[str, Json]] = {
    "wording": ("recall", {"query": "the cat Miez: the colour of it", TURNED: 2}),
    "another": ("recall", {"query": "dog", TURNED: 1, "limit": 3}),
    "less": ("recall", {"query": LOGGED[1]["query"]}),
    "tool": ("remember", {"text": "cat"}),
}
TOOLS = [
    tool("recall", {"query": {"type": "string"}, TURNED: {"type": "integer"}, "limit": {"type": "integer"}}, ["query"]),
    tool("remember", {"text": {"type": "string"}}, ["text"]),
]


def answering(body: Json) -> Json:
    """Answer otherwise than the log, and still otherwise at the second attempt."""
    if results_since(body):
        return saying("black")
    return calling(MADE[last_user(body)] if body["seed"] == 7 else ("recall", {"query": "second"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("web") / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        for user in MADE:
            Chat(log, user, tools=TOOLS).turn(user, calling(LOGGED), saying("black"))
        build(log, "t", EVERY_SPLIT)
        with fake_model(answering) as served:
            for name in ("a", "b"):
                replay(log, RunRequest(name, "t", served.url, Overrides("m", 0.8, seed=7), attempts=2))
    return path.read_bytes()


@pytest.fixture
def database(made: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    path.write_bytes(made)
    return path


@pytest.fixture
def client(database: Path) -> Iterator[httpx.Client]:
    with served_pages(database) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def address_of(client: httpx.Client, user: str, run: str = "a") -> str:
    """Return the page of the first step of a user's turn."""
    listed = client.get(f"/replay/runs/{run}/steps", params={"state": "all", "depth": "1"}).text
    addresses: list[str] = re.findall(rf'"(/replay/runs/{run}/steps/[^/?"]+/1)"', listed)
    return next(one for one in addresses if f'<pre dir="auto">{user}</pre>' in client.get(one).text)


def rule_form(page: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the hidden fields of the form for rules, and what can be chosen for each argument."""
    form = page[page.index('id="by-rule"') :]
    form = form[: form.index("</form>")]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    choices = {
        unescape(name): re.findall(r'<option value="(\w+)">', options)
        for name, options in re.findall(r'<select name="([^"]*)" required>(.*?)</select>', form)
    }
    return fields, choices


def verdict(page: str) -> str:
    found = re.search(r'<span id="verdict"><b class="(\w+)">', page)
    assert found is not None
    return found[1]


def labels(database: Path) -> list[LabelRow]:
    with ToolLog.open(database) as log:
        return Labels(log).labels()


def test_each_argument_that_differs_can_get_a_rule_that_would_do(client: httpx.Client) -> None:
    _, choices = rule_form(client.get(address_of(client, "wording")).text)
    assert {
        'rule:"recall/query"': ["oneof", "text", "present", "ignore"],
        'rule:"recall/\\u202egnp.exe\\u2066"': ["oneof", "present", "ignore"],
    } == choices
    _, others = rule_form(client.get(address_of(client, "another")).text)
    assert {'rule:"recall/query"': ["oneof", "present", "ignore"], 'rule:"recall/limit"': ["oneof", "ignore"]} == others


def test_an_argument_that_was_left_out_may_be_left_out(client: httpx.Client) -> None:
    address = address_of(client, "less")
    page = client.get(address).text
    fields, choices = rule_form(page)
    assert ([["oneof", "ignore"]], True) == (list(choices.values()), ">also without it</option>" in page)
    client.post(f"{address}/accept", data={**fields, **dict.fromkeys(choices, "oneof")})
    assert "right" == verdict(client.get(address).text)


def test_where_another_tool_was_called_no_rule_would_do(client: httpx.Client) -> None:
    page = client.get(address_of(client, "tool")).text
    assert (True, False) == ("accept this answer too" in page, "accept with these rules" in page)


def test_an_answer_is_accepted_by_rules_and_the_page_says_who_said_which(client: httpx.Client, database: Path) -> None:
    address = address_of(client, "wording")
    fields, choices = rule_form(client.get(address).text)
    query, hidden = choices
    sent = client.post(
        f"{address}/accept", data={**fields, query: "text", hidden: "ignore", "by": "bob", "comment": "as good"}
    )

    assert (303, f"{address}?notice=accepted_there_too") == (sent.status_code, sent.headers["location"])
    (label,) = labels(database)
    rules = {"recall": {"/query": {"rule": "text"}, f"/{TURNED}": {"rule": "ignore"}}}
    assert ("also_right", "bob", "as good", {"rules": rules}) == (
        label.name, label.annotator, label.comment, label.correction
    )  # fmt: skip
    page = unescape(client.get(address).text)
    assert "right" == verdict(page)
    assert "a rule allows it" in page
    assert "bob accepted it with a rule" in page
    assert f"<code>recall/query</code>: the same facts, in other words; bob, {label.created_at:%Y-%m-%d}" in page
    other = client.get(address_of(client, "wording", "b")).text
    assert ("wrong", True) == (verdict(other), 'id="rules"' in other)


def test_rules_that_do_not_make_it_right_are_refused(client: httpx.Client, database: Path) -> None:
    address = address_of(client, "another")
    fields, _ = rule_form(client.get(address).text)
    for more, words in (
        ({'rule:"recall/query"': "present"}, "the answer would still be wrong: arg_extra at recall/limit"),
        ({'rule:"recall/query"': "present", 'rule:"recall/limit"': ""}, "must be one of exact, text"),
        ({"rule:recall/query": "present"}, "the form names no argument"),
    ):
        sent = client.post(f"{address}/accept", data={**fields, **more})
        assert (400, True) == (sent.status_code, words in unescape(sent.text)), sent.text
    assert [] == labels(database)


def test_the_attempt_that_is_shown_is_the_one_that_is_accepted(client: httpx.Client, database: Path) -> None:
    address = address_of(client, "another")
    fields, _ = rule_form(client.get(f"{address}?attempt=2").text)
    sent = client.post(f"{address}/accept", data=fields)

    assert f"{address}?attempt=2&notice=accepted" == sent.headers["location"].replace("_there_too", "")
    shown = [verdict(client.get(f"{address}?attempt={number}").text) for number in (1, 2)]
    assert ["wrong", "right"] == shown
    assert [None] == [label.correction for label in labels(database)]
