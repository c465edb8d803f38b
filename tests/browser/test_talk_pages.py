"""What a person does with conversations, search and the live view, in a real browser. Its console stays empty."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tarx_toollog.store.log import ToolLog
from tests.browser.test_replay_pages import NARROW
from tests.support.browsing import watched
from tests.support.builders import TOOLS, assistant, call, exchange, user
from tests.support.dialogues import hint
from tests.support.talk_pages import write_talks
from tests.support.web_pages import SCRIPT, served_pages


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talks(tmp_path_factory.mktemp("browser") / "t.db")


@pytest.fixture(scope="module")
def url(database: Path) -> Iterator[str]:
    with served_pages(database) as url:
        yield url


def test_a_person_searches_reads_the_conversation_and_labels_a_call(page: Page) -> None:
    page.goto("/search")
    page.get_by_label("words").fill('tiles "I like"')
    page.get_by_role("button", name="search").click()
    expect(page.locator("mark").first).to_be_visible()
    page.get_by_role("link", name="in its conversation, turn 1, step 1").click()
    expect(page.locator("#step-1-1")).to_be_in_viewport()
    wrong = page.locator(".call").first
    expect(wrong).to_contain_text("against its schema")
    wrong.get_by_role("button", name="bad").click()
    expect(page.get_by_role("status")).to_contain_text("Kept")
    expect(wrong).to_contain_text("ann")
    page.get_by_role("link", name="request and answer").first.click()
    expect(page.get_by_role("heading", name="In training data?")).to_be_visible()


def test_a_person_filters_conversations_with_the_keyboard(page: Page) -> None:
    page.goto("/conversations")
    page.get_by_label("tool").fill("tarx_fly")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("tool=tarx_fly"))
    rows = page.locator("table.log tbody tr")
    expect(rows).to_have_count(1)
    rows.get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Turn 1")).to_be_visible()
    expect(page.locator(".call")).to_contain_text("not offered")


def test_a_button_copies_the_command(browser: Browser, url: str) -> None:
    context = browser.new_context(base_url=url, permissions=["clipboard-read", "clipboard-write"])
    with closing(context), watched(context, url) as page:
        page.goto("/conversations/talk-1")
        page.get_by_text("copy as SQL, JSON, or a scenario").click()
        page.get_by_role("button", name="copy", exact=True).first.click()
        expect(page.get_by_role("button", name="copied")).to_be_visible()
        assert "v_turns WHERE conversation_uid = 'talk-1'" in page.evaluate("navigator.clipboard.readText()")


def test_an_exchange_appears_as_it_begins_and_changes_when_it_ends(page: Page, database: Path) -> None:
    page.goto("/live")
    expect(page.get_by_role("status")).to_contain_text("Following")
    first = page.locator("#live tbody tr").first
    ids = {"uid": "01a20000-0000-7000-8000-00000000000b", "at_s": 4_000_000, **hint("live")}
    with ToolLog.open(database, read_only=False) as log:
        log.write([exchange([user("Are you awake?")], None, end=False, open_ended=True, **ids)])
        expect(first).to_contain_text("Are you awake?")
        expect(first).to_contain_text("open")
        expect(page.get_by_role("status")).to_contain_text("1 new")
        count = page.locator("#live tbody tr").count()
        made = assistant("", call("tarx_recall", {"query": "me"}, "l1"))
        log.write([exchange([user("Are you awake?")], made, tools=TOOLS, **ids)])
        expect(first).to_contain_text("tarx_recall")
        expect(first).to_contain_text("completed")
        assert count == page.locator("#live tbody tr").count()
        page.get_by_role("button", name="pause").click()
        log.write([exchange([user("And now?")], assistant("Yes."), at_s=4_000_009, **hint("live"))])
        expect(page.get_by_role("status")).to_contain_text("Paused")
        expect(first).not_to_contain_text("And now?")
        page.get_by_role("button", name="go on").click()
        expect(first).to_contain_text("And now?")


def test_hostile_texts_do_nothing(page: Page) -> None:
    for address in ("/conversations", "/conversations/hostile", "/exchanges?conversation=hostile", "/search?q=script"):
        page.goto(address)
        expect(page.get_by_text(SCRIPT[:24]).first).to_be_attached()
        assert 0 == page.locator("main script, main img").count()


def test_without_scripts_everything_is_there(browser: Browser, url: str) -> None:
    with closing(browser.new_context(base_url=url, java_script_enabled=False)) as context:
        page = context.new_page()
        page.goto("/live")
        assert page.get_by_text("Load the page again").is_visible()
        assert page.locator("#live tbody tr").count() > 10
        page.goto("/conversations/talk-4")
        page.locator(".call").first.get_by_role("button", name="good").click()
        expect(page.get_by_role("status")).to_contain_text("Kept")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_scheme_of_the_system_and_fits_a_telephone(
    browser: Browser, url: str, scheme: Literal["light", "dark"]
) -> None:
    with (
        closing(browser.new_context(base_url=url, color_scheme=scheme, viewport=NARROW)) as context,
        watched(context, url) as page,
    ):
        for address in ("/conversations", "/conversations/hostile", "/conversations/talk-1", "/exchanges", "/live"):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], address
