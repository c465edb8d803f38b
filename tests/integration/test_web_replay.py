"""The pages of replay under a real server, on a log in which hostile texts stand."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.web_pages import HOSTILE, HOSTILE_RUN, HUGE, make_log, served_pages


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_log(tmp_path_factory.mktemp("web") / "t.db")


@pytest.fixture(scope="module")
def client(database: Path) -> Iterator[httpx.Client]:
    with served_pages(database) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


class Page(HTMLParser):
    """A page, read: its links and its text. Fails on what would run or load something that is not ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert tag not in ("iframe", "object", "embed", "style", "img")
        assert not any(name.startswith("on") or name == "style" for name in given)
        assert re.fullmatch(r"/static/[a-z]+\.js", given.get("src", "/static/ui.js"))
        if tag == "a":
            self.links.append(given["href"])

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def text(self) -> str:
        """Its words, with one space between them."""
        return " ".join(self.words.split())


def read(client: httpx.Client, address: str, status: int = 200) -> Page:
    answer = client.get(address)
    assert status == answer.status_code, answer.text[-2000:]
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    return Page(answer.text)


def wrong_step(client: httpx.Client, run: str, code: str) -> str:
    """Return the address of the first step of a run that went wrong like that."""
    listed = read(client, f"/replay/runs/{run}/steps?code={code}")
    return next(link for link in listed.links if re.search(r"/steps/[^/?]+/\d+$", link))


def test_the_suites_and_runs_are_listed_with_how_often_they_were_right(client: httpx.Client) -> None:
    page = read(client, "/replay")
    assert "5 scenarios, 15 steps" in page.words
    assert "15 of 15" in page.words
    assert 2 == page.words.count("11 of 15")


def test_every_page_leads_to_replay_and_says_where_it_is(client: httpx.Client) -> None:
    assert "/replay" in read(client, "/").links
    assert 1 == client.get("/replay").text.count('aria-current="page"')
    assert '<a href="/replay" aria-current="page">' in client.get("/replay/runs/worse").text


def test_a_run_says_its_verdict_its_depths_and_what_went_wrong(client: httpx.Client) -> None:
    page = read(client, "/replay/runs/worse")
    assert "20.0 %" in page.words
    assert "1/5" in page.words
    assert "Nobody has verified" in page.words
    assert "breaks by step 2" in page.words
    assert re.search(r"2\s*wrong_tool", page.words)


def test_steps_are_filtered_by_verdict_code_tool_and_depth(client: httpx.Client) -> None:
    def count(**filters: str) -> int:
        links = read(client, str(httpx.URL("/replay/runs/worse/steps", params=filters))).links
        return sum(bool(re.search(r"/steps/[^/?]+/\d+$", link)) for link in links)

    assert [4, 15, 11, 0] == [count(state=state) for state in ("wrong", "all", "right", "unjudged")]
    assert [2, 2] == [count(code="wrong_tool"), count(code="wrong_tool", depth="2")]
    assert [2, 2, 5, 0] == [
        count(tool="save"), count(tool="recall"), count(tool="recall", state="all"), count(tool="call")
    ]  # fmt: skip
    assert [0, 5] == [count(depth="3"), count(depth="3", state="right")]
    assert [4, 4, 4] == [count(state="nonsense"), count(depth="x"), count(depth="")]


def test_steps_come_in_pages_each_once(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.web.paging.page.__defaults__", (4,))
    seen: list[str] = []
    address, pages = "/replay/runs/worse/steps?state=all", 0
    while True:
        links = read(client, address).links
        seen += [link for link in links if re.search(r"/steps/[^/?]+/\d+$", link)]
        pages += 1
        following = [link for link in links if re.search(r"after=\d+", link)]
        if not following:
            break
        address = following[0]
    assert (4, 15, 15) == (pages, len(seen), len(set(seen)))


@pytest.mark.parametrize("code", ["wrong_tool", "missing_call", "arg_extra"])
def test_what_a_model_or_a_user_wrote_stays_text(client: httpx.Client, code: str) -> None:
    page = read(client, wrong_step(client, "worse", code))
    if code != "arg_extra":
        assert "<script>alert(1)</script>" in page.words
        assert "{{ 7 * 7 }}" in page.words
        assert "⟦202E⟧gnp.exe⟦2066⟧" in page.words
        assert "half ⟦D800⟧ and NUL ⟦0000⟧ ⟦061C⟧⟦200B⟧" in page.words
        assert "שלום" in page.words
    assert not re.search("[\x00\u202e\u2066\ud800]", page.words)
    assert len(page.words) < 60_000


def test_every_page_that_is_linked_is_there(client: httpx.Client) -> None:
    seen: set[str] = set()
    waiting = ["/replay"]
    while waiting:
        address = waiting.pop()
        if address in seen or not address.startswith("/"):
            continue
        seen.add(address)
        answer = client.get(address)
        assert 200 == answer.status_code, address
        if address.startswith("/replay") and answer.headers["content-type"].startswith("text/html"):
            waiting += [urljoin(address, link) for link in Page(answer.text).links]
    assert len(seen) > 30
    assert any("/exchanges/" in address for address in seen)


def test_a_run_whose_name_is_no_part_of_an_address_has_one_all_the_same(client: httpx.Client) -> None:
    links = [link for link in read(client, "/replay").links if link.startswith("/replay/runs/")]
    assert 3 == len(links)
    (odd,) = set(links) - {"/replay/runs/good", "/replay/runs/worse"}
    page = read(client, odd)
    assert HOSTILE_RUN in page.words


def test_two_runs_side_by_side_begin_with_the_regressions(client: httpx.Client) -> None:
    page = read(client, "/replay/compare?first=good&second=worse")
    assert page.words.index("Regressions: right before, wrong now (4)") < page.words.index("Figures")
    assert "good and worse are not told apart" in page.words  # four of five chains: that may be chance
    assert "0.0625" in page.words
    assert "Gains: wrong before, right now (4)" in read(client, "/replay/compare?first=worse&second=good").words


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/replay/runs/nothing", 404, "no run called 'nothing'"),
        ("/replay/runs/<script>alert(1)<%2fscript>", 404, "there is no such page"),
        ("/replay/runs/<script>", 404, "no run called '<script>'"),
        ("/replay/runs/worse/steps/none/1", 404, "has not asked step 1"),
        ("/replay/runs/worse/steps/none/x", 400, "cannot be read"),
        ("/replay/runs/worse/steps?after=99999999999999999999", 400, "cannot be read"),
        ("/replay/compare?first=good", 400, "cannot be read"),
        (f"/replay/runs/worse/steps?depth={'9' * 5000}", 200, "Steps"),
        ("/replay/compare?first=good&second=none", 404, "no run called"),
        ("/exchanges/none", 404, "no exchange"),
        ("/no/such/page", 404, "there is no such page"),
        ("/docs", 404, "there is no such page"),
        ("/openapi.json", 404, "there is no such page"),
        ("/static/../app.py", 404, "there is no such page"),
    ],
)
def test_what_cannot_be_shown_is_said(client: httpx.Client, address: str, status: int, words: str) -> None:
    assert words in read(client, address, status).words


def test_the_request_and_the_answer_can_be_fetched_whole(client: httpx.Client) -> None:
    page = read(client, wrong_step(client, "worse", "missing_call"))
    _, replayed = (link for link in page.links if link.startswith("/exchanges/"))
    whole = client.get(f"{replayed}/json")
    assert "attachment" in whole.headers["content-disposition"]
    assert HOSTILE == whole.json()["request"]["messages"][0]["content"]
    assert HOSTILE + HUGE == whole.json()["answer"]["choices"][0]["message"]["content"]
    assert HOSTILE[:40] in read(client, replayed).words


def test_a_database_that_is_away_is_said_and_heals(tmp_path: Path, database: Path) -> None:
    with served_pages(tmp_path / "no.db") as url, httpx.Client(base_url=url) as client:
        assert "no database at" in read(client, "/replay", 503).words
        (tmp_path / "no.db").write_bytes(database.read_bytes())
        assert "5 scenarios" in read(client, "/replay").words
