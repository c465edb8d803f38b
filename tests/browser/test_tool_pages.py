"""From a tool that fails to the calls behind it, in a real browser. Nothing may go wrong in its console on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.tool_log import HOSTILE_TOOL, write_tool_log
from tests.support.web_pages import served_pages


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path: Path = tmp_path_factory.mktemp("browser-tools") / "t.db"
    write_tool_log(path)
    with served_pages(path) as url:
        yield url


def test_a_person_finds_out_why_a_tool_fails(page: Page) -> None:
    page.goto("/tools")
    page.get_by_label("sort by").select_option(label="failing calls")
    page.get_by_role("button", name="filter").click()
    rows = page.locator("table.tools tbody tr")
    expect(rows.first.get_by_role("rowheader")).to_have_text("weather")
    rows.first.get_by_role("rowheader").get_by_role("link").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("weather")
    expect(page.locator(".reasons")).to_contain_text("the service is busy")
    expect(page.get_by_role("img", name="Calls by day")).to_be_visible()
    expect(page.locator(".diff ins").first).to_contain_text("Say how it will be")
    page.locator(".reasons").get_by_role("link", name="result is an error").first.click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("result is an error")
    calls = page.locator("table.calls-list tbody tr")
    expect(calls).to_have_count(2)
    page.get_by_label("show").select_option(label="cut off")
    page.get_by_role("button", name="filter").click()
    expect(calls).to_have_count(1)
    expect(calls.first).to_contain_text("cut off")


def test_figures_are_reached_by_the_keyboard(page: Page) -> None:
    page.goto("/tools/one?name=weather")
    summary = page.get_by_text("Calls by day, as a table")
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/calls?since=2026-09-21&until=2026-09-22&tool=weather")


def test_a_hostile_tool_stays_text(page: Page) -> None:
    page.goto("/calls?kind=not_offered")
    page.get_by_role("link", name="fly/").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE_TOOL.replace("\u202e", "⟦202E⟧"))
