"""The first page in a real browser: from a chart to the calls behind it, with the pointer and with the keyboard."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browsing import watched
from tests.support.tool_log import write_tool_log
from tests.support.web_pages import served_pages


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path: Path = tmp_path_factory.mktemp("overview") / "t.db"
    write_tool_log(path)
    with served_pages(path) as url:
        yield url


def test_a_person_finds_the_failing_tool_and_reads_its_conversation_in_three_clicks(page: Page) -> None:
    page.goto("/")
    chart = page.get_by_role("img", name="Calls that failed, by tool")
    chart.locator("a", has=page.locator("title", has_text="tarx_recall, bad call")).click()
    page.wait_for_url(re.compile(r"/calls\?.*tool=tarx_recall"))
    page.locator("table.calls-list tbody tr").first.locator("td a[href*='/conversations/']").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "/conversations/talk-" in page.url


def test_the_table_behind_a_chart_leads_there_by_the_keyboard(page: Page) -> None:
    page.goto("/")
    page.locator("summary", has_text="Calls over time").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("a:focus")).to_have_text("2026-09-21")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/calls\?since=2026-09-21&until=2026-09-22"))


def test_a_filter_takes_effect_when_it_is_chosen(page: Page) -> None:
    page.goto("/")
    page.locator("select[name=tool]").select_option("tarx_remember")
    page.wait_for_url(re.compile(r"\?.*tool=tarx_remember"))
    expect(page.locator("#kinds tbody tr")).to_have_count(1)
    expect(page.locator("#kinds tbody")).to_contain_text("tarx_remember")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shapes_and_words_can_be_told_from_the_paper(
    browser: Browser, url: str, scheme: Literal["light", "dark"]
) -> None:
    with closing(browser.new_context(base_url=url, color_scheme=scheme)) as context, watched(context, url) as page:
        page.goto("/")
        paper = luminance(page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor"))
        assert (paper < 0.1) == (scheme == "dark")
        for style in ("ok", "faulty", "error", "pending", "a", "b", "c", "d"):
            shape = page.locator(f".chart .{style}, .key.{style}").first
            fill = luminance(shape.evaluate("one => getComputedStyle(one).fill"))
            assert contrast(fill, paper) >= 3, style
        words = luminance(page.locator(".chart text").first.evaluate("one => getComputedStyle(one).fill"))
        assert contrast(words, paper) >= 4.5


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """Return the contrast of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
