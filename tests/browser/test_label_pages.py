"""What a person does with the queue and the forms that label, in a real browser."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tarx_toollog.store.log import ToolLog
from tests.support.browsing import started_browser, watched
from tests.support.web_pages import SCRIPT, served_pages
from tests.unit.replay.support import Chat, calling, saying

TOOLS = ("zero", "one", "two", "three", "four")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a log in which five tools were called that nobody had offered."""
    path = tmp_path / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        for name in TOOLS:
            Chat(log, name).turn(f"{SCRIPT} {name}", calling((name, {"text": SCRIPT})), saying("done"), result=SCRIPT)
    return path


@pytest.fixture
def url(database: Path) -> Iterator[str]:
    with served_pages(database) as url:
        yield url


@pytest.fixture
def browser(url: str) -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with closing(browser.new_context(base_url=url)) as context, watched(context, url) as page:
        yield page


def labels(database: Path) -> list[tuple[Any, ...]]:
    columns = "target_uid, name, value_num, correction, comment, annotator"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(f"SELECT {columns} FROM label ORDER BY id").fetchall()


def uid_of(article: Locator) -> str:
    return (article.get_attribute("id") or "").removeprefix("e-")


def test_a_person_goes_through_the_queue_with_keys_alone(page: Page, database: Path) -> None:
    page.goto("/labels/queue")
    articles = page.locator("article.proposal")
    expect(articles).to_have_count(len(TOOLS))
    first, second, third, fourth, fifth = (uid_of(articles.nth(place)) for place in range(5))
    expect(articles.first).to_be_focused()
    expect(page.locator("#keys p")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#keys p")).to_be_visible()

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(articles.nth(1)).to_be_focused()
    page.keyboard.press("g")
    expect(page.get_by_role("status")).to_contain_text("Kept")
    expect(articles).to_have_count(4)
    expect(page.locator(f'[id="e-{third}"]')).to_be_focused()  # the one after it, not the one that comes first
    page.keyboard.press("b")
    expect(articles).to_have_count(3)
    expect(page.locator(f'[id="e-{fourth}"]')).to_be_focused()
    page.keyboard.press("s")
    expect(articles).to_have_count(2)
    expect(page.locator(f'[id="e-{fifth}"]')).to_be_focused()

    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_have_text("Label a call")
    page.get_by_label("wrong: it should have called one tool").check()
    page.get_by_label("tool", exact=True).fill("remember")
    page.get_by_label("arguments, as JSON").fill('{"text": "Porto"}')
    page.get_by_label("why").fill("it had to be kept")
    page.get_by_label("your name").fill("eve")
    page.get_by_role("button", name="label", exact=True).click()
    expect(articles).to_have_count(1)
    page.keyboard.press("Control+g")  # a key of the browser's own
    expect(articles).to_have_count(1)

    assert [
        (second, "quality", 1.0, None, None, "ann"),
        (third, "quality", -1.0, None, None, "ann"),
        (fourth, "skipped", None, None, None, "ann"),
        (fifth, "expected", None, '{"name":"remember","arguments":{"text":"Porto"}}', "it had to be kept", "eve"),
    ] == labels(database)
    assert [first] == [uid_of(articles.first)]


def test_the_form_shows_what_an_answer_needs_and_the_schemas_of_the_tools(page: Page) -> None:
    page.goto("/labels/queue")
    page.get_by_role("link", name="correct or comment").first.click()
    arguments = page.get_by_label("arguments, as JSON")
    expect(arguments).to_be_hidden()
    page.get_by_label("wrong: it should have called one tool").check()
    expect(arguments).to_be_visible()
    page.locator(".when-call summary").get_by_text("recall").click()
    expect(page.get_by_text('"query"').first).to_be_visible()
    expect(page.get_by_label("value")).to_be_hidden()
    page.get_by_label("something else").check()
    expect(arguments).to_be_hidden()
    page.get_by_label("name", exact=True).fill("tone")
    page.get_by_label("value").fill("curt")
    page.get_by_role("button", name="label", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Kept")


def test_without_scripts_the_queue_and_the_form_work(browser: Browser, url: str, database: Path) -> None:
    with closing(browser.new_context(base_url=url, java_script_enabled=False)) as context:
        page = context.new_page()
        page.goto("/labels/queue")
        page.get_by_role("button", name="bad").nth(1).click()
        page.wait_for_url(re.compile("notice=labelled#e-"))
        expect(page.locator("article.proposal")).to_have_count(4)
        page.get_by_role("link", name="correct or comment").first.click()
        page.get_by_label("wrong: it should have asked the user").check()
        page.get_by_role("button", name="label", exact=True).click()
        expect(page.locator("article.proposal")).to_have_count(3)
    assert [None, {"ask": True}] == [None if row[3] is None else json.loads(row[3]) for row in labels(database)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_texts_do_nothing_and_the_pages_fit_a_telephone(
    browser: Browser, url: str, scheme: Literal["light", "dark"]
) -> None:
    with (
        closing(
            browser.new_context(base_url=url, color_scheme=scheme, viewport={"width": 360, "height": 740})
        ) as context,
        watched(context, url) as page,
    ):
        page.goto("/labels/queue")
        expect(page.get_by_text(SCRIPT).first).to_be_visible()
        for _ in range(2):
            assert 0 == page.locator("main script, main img").count()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            paper, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
            assert (scheme == "dark") == (_brightness(paper) < _brightness(ink))
            if page.url.endswith("queue"):
                page.get_by_role("link", name="correct or comment").first.click()
                page.wait_for_url("**/labels/one*")  # with its style sheet: without it everything is wider
        assert "/labels/one" in page.url


def _brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
