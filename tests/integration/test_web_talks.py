"""The pages of conversations, exchanges, search and what happens live, under a real server."""

import html
import json
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from click.testing import CliRunner

from tarx_toollog import ToolLog
from tarx_toollog.cli.main import cli
from tarx_toollog.store.search import catch_up
from tests.integration.test_web_replay import Page, read
from tests.support.builders import TOOLS, assistant, call, exchange, user
from tests.support.dialogues import hint
from tests.support.http_server import Handler, served_by
from tests.support.talk_pages import STEPS, write_long, write_talks
from tests.support.web_pages import SCRIPT, served_pages

MOST_BYTES = 150_000
FIRST = "00000000-0000-7000-8000-000001000000"
BROKEN = "00000000-0000-7000-8000-000004000000"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_talks(tmp_path_factory.mktemp("talks") / "t.db")
    with ToolLog.open(path, read_only=False) as log:
        write_long(log)
        catch_up(log.engine)
    return path


@pytest.fixture(scope="module")
def client(database: Path) -> Iterator[httpx.Client]:
    with served_pages(database) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def conversations_in(page: Page) -> list[str]:
    return [found[1] for link in page.links if (found := re.fullmatch(r"/conversations/([^/?]+)", link))]


def named(uids: list[str]) -> list[str]:
    """Return the uids that a client gave: the split of the others is drawn anew in each run."""
    return [uid for uid in uids if uid.startswith("talk-")]


def copied(client: httpx.Client, address: str) -> list[str]:
    """Return the texts of a page that are there to be copied."""
    found = re.findall(r"<pre data-copy>(.*?)</pre>", client.get(address).text, re.DOTALL)
    return [html.unescape(text) for text in found]


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_conversations_are_listed_newest_first_and_filtered(client: httpx.Client) -> None:
    assert 12 == len(conversations_in(read(client, "/conversations")))
    assert ["talk-7"] == conversations_in(read(client, "/conversations?tool=tarx_fly"))
    assert ["talk-9"] == conversations_in(read(client, "/conversations?outcome=upstream_error&since=&until="))
    assert ["talk-5"] == named(conversations_in(read(client, "/conversations?split=eval")))
    labelled = read(client, "/conversations?label=quality%3Dbad")
    assert (["talk-1"], True) == (conversations_in(labelled), "1 bad" in labelled.words)
    assert "1 corrected" in read(client, "/conversations?label=expected").words
    assert "No conversation is like that." in read(client, "/conversations?tool=nothing").words


def test_a_filter_stays_in_the_form_and_in_the_links(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.web.routes.conversations.SIZE", 2)
    address, seen = "/conversations?tool=tarx_recall&split=train", []
    while address:
        answer = client.get(address)
        assert 'value="tarx_recall"' in answer.text
        assert "<option selected>train</option>" in answer.text
        page = Page(answer.text)
        seen += conversations_in(page)
        address = next((link for link in page.links if "before=" in link), "")
        assert not address or "tool=tarx_recall" in address
    assert ["talk-8", "talk-6", "talk-3", "talk-2", "talk-1"] == named(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/conversations?since=yesterdayish", "cannot read the time"),
        ("/exchanges?outcome=nice", "unknown outcome"),
        ("/exchanges?where=1;drop", "cannot stand here"),
        ("/exchanges?fill=11", "cannot be read"),
        ("/conversations?before=x", "cannot be read"),
        ("/conversations/talk-1?turn=99999999999", "cannot be read"),
        ("/search?q=...", "no word to look for"),
    ],
)
def test_what_cannot_be_read_in_an_address_is_said(client: httpx.Client, address: str, words: str) -> None:
    assert words in read(client, address, 400).words


def test_exchanges_are_listed_with_calls_and_faults_and_filtered_by_how_full_the_context_was(
    client: httpx.Client,
) -> None:
    page = read(client, "/exchanges?conversation=talk-4")
    assert "against its schema" in page.words
    assert "error result" in page.words
    links = read(client, "/exchanges?fill=10").links
    assert 1 == sum("000002000003" in link for link in links)
    assert 1 == len([link for link in links if re.fullmatch(r"/exchanges/[0-9a-f-]+", link)])


# ---- one conversation -----------------------------------------------------------------------------------------------


def test_a_conversation_reads_like_a_chat(client: httpx.Client) -> None:
    words = re.sub(r"\s+", " ", read(client, "/conversations/talk-4").words)
    assert re.search(
        r"Remember that I like tiles\. .*call tarx_remember against its schema .*right would be .*"
        r"result an error .*value is missing.*call tarx_remember ok .*Done\.",
        words,
    )
    refused = read(client, "/conversations/talk-6").words
    assert "not for training: a call of the answer has arguments that are not a JSON object" in refused


def test_branches_are_folded_beside_the_main_line(client: httpx.Client) -> None:
    uid = next(
        uid
        for uid in conversations_in(read(client, "/conversations"))
        if "Where do I live?" in client.get(f"/conversations/{uid}").text
    )
    page = re.sub(r"\s+", " ", client.get(f"/conversations/{uid}").text)
    assert re.search(r"<details class=.branch.><summary>answered another time: 1 step .*?You live in Porto\.", page)
    assert re.search(r"<details class=.branch.><summary>asked otherwise: 1 step .*?Since when\?.*?Since May\.", page)


def test_a_turn_of_many_steps_comes_in_pages_that_are_small(client: httpx.Client) -> None:
    address, steps, pages = "/conversations/long", [], 0
    while address:
        answer = client.get(address)
        assert 200 == answer.status_code
        assert len(answer.content) < MOST_BYTES
        steps += [int(no) for no in re.findall(r'id="step-1-(\d+)"', answer.text)]
        following = re.findall(r'rel="next" href="([^"]+)"', answer.text)
        address, pages = html.unescape(following[0]) if following else "", pages + 1
    assert list(range(1, STEPS + 1)) == steps
    assert pages < 20


def test_a_link_to_a_late_step_of_a_long_turn_leads_to_it(client: httpx.Client) -> None:
    links = read(client, "/exchanges?conversation=long").links
    late = next(link for link in links if link.endswith(f"#step-1-{STEPS}"))
    assert f'id="step-1-{STEPS}"' in client.get(late).text


def test_hostile_texts_stay_texts_on_every_page(client: httpx.Client) -> None:
    for address in ("/conversations", "/conversations/hostile", "/exchanges?conversation=hostile"):
        page = read(client, address)
        assert SCRIPT[:30] in page.words
        assert not re.search("[\x00\u202e\u2066\ud800]", page.words)
        assert "<script>alert" not in client.get(address).text
        assert len(client.get(address).content) < MOST_BYTES


def test_every_page_that_is_linked_is_there(client: httpx.Client) -> None:
    seen: set[str] = set()
    waiting = ["/conversations/talk-4", "/conversations/hostile", "/search?q=porto", "/exchanges?conversation=talk-1"]
    while waiting and len(seen) < 40:
        address = waiting.pop(0).partition("#")[0]
        if address in seen or not re.match(r"/(conversations|exchanges|search|live)\b", address):
            continue
        seen.add(address)
        answer = client.get(address)
        assert 200 == answer.status_code, address
        if answer.headers["content-type"].startswith("text/html"):
            assert len(answer.content) < MOST_BYTES, address
            waiting += [urljoin(address, link) for link in Page(answer.text).links]
    assert 40 == len(seen)


# ---- what is copied -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [FIRST, BROKEN, "hostile", "long"])
def test_the_command_sends_the_very_request_again(client: httpx.Client, uid: str, tmp_path: Path) -> None:
    if uid in ("hostile", "long"):
        links = read(client, f"/exchanges?conversation={uid}").links
        uid = next(found[1] for link in links if (found := re.fullmatch(r"/exchanges/([0-9a-f-]{36})", link)))
    sent = client.get(f"/exchanges/{uid}/json?part=request").json()
    command = next(text for text in copied(client, f"/exchanges/{uid}") if text.startswith("curl"))
    (tmp_path / "request.json").write_bytes(client.get(f"/exchanges/{uid}/json?part=request").content)
    got: list[tuple[str, str | None, object]] = []

    class Model(Handler):
        def do_POST(self) -> None:  # noqa: N802 - as the server calls it
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, self.headers["content-type"], json.loads(body)))
            self.answer(200, b"{}")

    with served_by(Model) as url:
        command = re.sub(r"http://[^/']+", url, command, count=1)
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (0, b"{}", b"") == (done.returncode, done.stdout, done.stderr)
    assert [("/v1/chat/completions", "application/json", sent)] == got


def test_the_statements_run(client: httpx.Client, database: Path) -> None:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        statements = next(text for text in copied(client, f"/exchanges/{BROKEN}") if text.startswith("SELECT"))
        counts = [len(connection.execute(line).fetchall()) for line in statements.splitlines()]
        assert [1, 1, 2] == counts
        turns = next(text for text in copied(client, "/conversations/talk-1") if text.startswith("SELECT"))
        assert 2 == len(connection.execute(turns).fetchall())


def test_the_other_commands_run(client: httpx.Client, database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "t.db"
    copy.write_bytes(database.read_bytes())
    commands = [*copied(client, "/conversations/talk-1"), *copied(client, f"/exchanges/{BROKEN}")]
    commands = [text for text in commands if text.startswith("toollog ")]
    assert 4 == len(commands)
    for command in commands:
        given = shlex.split(command)[1:]
        given = [str(tmp_path / "out") if word == "out" else word for word in given]
        result = CliRunner().invoke(cli, ["--database", str(copy), *given])
        assert 0 == result.exit_code, f"{command}: {result.output}"


# ---- one exchange ---------------------------------------------------------------------------------------------------


def test_an_exchange_says_whether_it_is_learned_and_why_not(client: httpx.Client) -> None:
    assert "An export would leave it out: a call of the answer breaks" not in read(client, f"/exchanges/{FIRST}").words
    page = read(client, "/exchanges/00000000-0000-7000-8000-000006000000")
    assert "An export would leave it out: a call of the answer has arguments that are not a JSON object" in page.words


def test_of_an_exchange_the_request_alone_is_a_file(client: httpx.Client) -> None:
    answer = client.get(f"/exchanges/{FIRST}/json?part=request")
    assert 'attachment; filename="request.json"' == answer.headers["content-disposition"]
    assert "You are TARX." == answer.json()["messages"][0]["content"]
    assert {"uid", "request", "answer"} == client.get(f"/exchanges/{FIRST}/json").json().keys()
    assert 400 == client.get(f"/exchanges/{FIRST}/json?part=other").status_code


# ---- search ---------------------------------------------------------------------------------------------------------


def test_a_search_marks_the_words_and_leads_to_the_step(client: httpx.Client) -> None:
    page = client.get("/search?q=trams&role=user")
    assert 3 == page.text.count("<mark>trams</mark>")
    link = next(link for link in Page(page.text).links if link.startswith("/conversations/talk-3"))
    assert link.endswith("#step-1-1")
    assert 'id="step-1-1"' in client.get(link).text
    assert 0 == client.get("/search?q=trams&role=user&place=arguments").text.count("<mark>")
    assert 6 == client.get("/search?q=trams&place=arguments").text.count("<mark>")


def test_a_result_that_was_found_is_shown_beside_its_call(client: httpx.Client) -> None:
    page = read(client, "/search?q=%22value+is+missing%22&role=tool")
    link = next(link for link in page.links if link.startswith("/conversations/talk-4"))
    assert link.endswith("#step-1-1")
    step = re.findall(r'id="step-1-1".*?</article>', client.get(link).text, re.DOTALL)[0]
    assert "value is missing" in step


def test_a_search_with_a_condition_heeds_it(client: httpx.Client) -> None:
    condition = "conversation_uid+%3D+%27talk-2%27"
    links = read(client, f"/search?q=trams&role=user&where={condition}").links
    assert ["talk-2"] == [link[15:21] for link in links if link.startswith("/conversations/")]


def test_a_search_goes_on_behind_its_page(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.web.routes.search.SIZE", 2)
    first = read(client, "/search?q=trams&role=user")
    following = next(link for link in first.links if "before=" in link)
    assert [2, 1] == [
        sum("/conversations/talk-" in link for link in page.links) for page in (first, read(client, following))
    ]


def test_a_search_for_nothing_shows_how(client: httpx.Client) -> None:
    assert "All words have to be there" in read(client, "/search").words
    assert "Nothing that was read has all of these words." in read(client, "/search?q=xylophone").words


# ---- live -----------------------------------------------------------------------------------------------------------


def test_what_comes_and_what_ends_is_told_and_else_nothing_is_sent(client: httpx.Client, database: Path) -> None:
    address = re.findall(r'data-rows="([^"]+)"', client.get("/live").text)[0]
    first = client.get(address)
    again = client.get(address, headers={"if-none-match": first.headers["etag"]})
    assert (304, b"") == (again.status_code, again.content)

    ids = {"uid": "01a20000-0000-7000-8000-00000000000a", "at_s": 4_000_000, **hint("live")}
    with ToolLog.open(database, read_only=False) as log:
        log.write([exchange([user("Are you there?")], None, end=False, open_ended=True, **ids)])
        begun = client.get(address, headers={"if-none-match": first.headers["etag"]})
        assert ids["uid"] in begun.text
        assert 'class="open"' in begun.text
        made = assistant("", call("tarx_recall", {"query": "me"}, "l1"))
        log.write([exchange([user("Are you there?")], made, tools=TOOLS, **ids)])
    ended = client.get(address, headers={"if-none-match": begun.headers["etag"]})
    assert 200 == ended.status_code
    assert 'class="open"' not in ended.text
    row = re.sub(r"\s+", " ", ended.text[ended.text.index(ids["uid"]) :])
    assert re.search(r"completed.*?tarx_recall", row)
    assert json.loads(client.get(f"/exchanges/{ids['uid']}/json").text)["answer"] is not None
