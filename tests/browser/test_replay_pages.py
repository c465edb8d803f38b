"""What a person does with the pages of replay, in a real browser. Nothing may go wrong in its console on the way."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tarx_toollog.replay.reports.details import details
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.report_html import report_html
from tarx_toollog.store.log import ToolLog
from tests.support.browsing import watched
from tests.support.web_pages import HOSTILE_RUN, SCRIPT, make_log, served_pages

NARROW: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_log(tmp_path_factory.mktemp("browser") / "t.db")


@pytest.fixture(scope="module")
def report(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run as a file, made before anybody accepts anything."""
    path = tmp_path_factory.mktemp("report") / "worse.html"
    with ToolLog.open(database) as log:
        page = report_html(build_report(log, "worse"), details(log, "worse"))
    path.write_text(page, "utf-8", errors="replace")
    return path


@pytest.fixture(scope="module")
def url(database: Path, report: Path) -> Iterator[str]:
    with served_pages(database) as url:
        yield url


def labels(database: Path) -> list[tuple[str, str | None, str, str | None]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT name, correction, annotator, comment FROM label ORDER BY id").fetchall()


def chosen(page: Page, label: str, option: str) -> None:
    """Choose a filter when the page has its script, which sends it."""
    page.wait_for_load_state()
    page.get_by_label(label).select_option(option)


def test_a_person_accepts_an_answer_and_labels_a_logged_one(page: Page, database: Path) -> None:
    page.goto("/replay")
    page.get_by_role("link", name="worse", exact=True).click()
    expect(page.locator("#headline")).to_contain_text("1/5")

    chosen(page, "code", "wrong_tool")
    page.wait_for_url(re.compile(r"/steps\?.*code=wrong_tool"))
    rows = page.locator("table.steps tbody tr")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link").click()

    expect(page.locator("#verdict")).to_have_text("wrong")
    expect(page.locator("table.calls")).to_contain_text("save")
    why = page.get_by_label("why").first
    why.fill("as good")
    page.get_by_role("button", name="accept this answer too").click()
    expect(page.get_by_role("status")).to_contain_text("Accepted")
    expect(page.locator("#verdict")).to_have_text("right")
    page.reload()
    expect(page.locator("#verdict")).to_have_text("right")

    page.get_by_role("link", name="worse", exact=True).click()
    expect(page.locator("#headline")).to_contain_text("2/5")

    chosen(page, "code", "wrong_tool")
    page.wait_for_url(re.compile("code=wrong_tool"))
    expect(rows).to_have_count(1)
    rows.first.get_by_role("link").click()
    calls = page.get_by_label("these tools, as JSON")
    expect(calls).to_be_hidden()
    page.get_by_label("wrong: it should have called", exact=True).check()
    expect(calls).to_be_visible()
    calls.fill('[{"name": "recall", "arguments": {"query": "home"}}]')
    page.locator("#label").get_by_label("your name").fill("eve")
    page.get_by_role("button", name="label", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Kept")
    expect(page.get_by_role("listitem")).to_contain_text("by eve")

    assert [
        ("also_right", None, "ann", "as good"),
        ("expected", '{"name":"recall","arguments":{"query":"home"}}', "eve", None),
    ] == labels(database)


def test_a_person_says_what_is_right_for_each_argument(page: Page) -> None:
    page.goto("/replay/runs/worse/steps?code=arg_extra")
    page.locator("table.steps tbody a").first.click()
    expect(page.locator("#verdict")).to_have_text("wrong")
    form = page.locator("#by-rule")
    form.get_by_label("recall/query").select_option(label="this value too")
    form.get_by_role("button").click()  # the browser wants a choice for the other argument
    expect(page.locator("#verdict")).to_have_text("wrong")
    form.get_by_label("recall/limit").select_option(label="any value, or none")
    form.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Accepted")
    expect(page.locator("#verdict")).to_have_text("right")
    expect(page.locator("#rules")).to_contain_text("recall/limit: whatever it is, also left out")


def test_hostile_texts_do_nothing_on_any_page(page: Page) -> None:
    page.goto("/replay")
    page.get_by_role("link", name=HOSTILE_RUN, exact=True).click()
    chosen(page, "show", "all")
    page.wait_for_url(re.compile("state=all"))
    page.get_by_role("link", name=SCRIPT[:40]).first.click()
    expect(page.get_by_text(SCRIPT).first).to_be_attached()
    assert 0 == page.locator("main script, main img").count()
    page.get_by_role("link", name="request and answer as they were sent").click()
    expect(page.get_by_role("heading", name="Exchange")).to_be_visible()


def test_without_scripts_everything_works(browser: Browser, url: str) -> None:
    with closing(browser.new_context(base_url=url, java_script_enabled=False)) as context:
        page = context.new_page()
        page.goto("/replay/runs/good/steps?state=all")
        page.get_by_label("step").select_option("3")
        page.get_by_role("button", name="filter").click()
        page.wait_for_url(re.compile("depth=3"))
        assert 5 == page.locator("table.steps tbody tr").count()
        page.locator("table.steps a").first.click()
        assert page.get_by_label("these tools, as JSON").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_scheme_of_the_system_and_fits_a_telephone(
    browser: Browser, url: str, scheme: Literal["light", "dark"]
) -> None:
    with (
        closing(browser.new_context(base_url=url, color_scheme=scheme, viewport=NARROW)) as context,
        watched(context, url) as page,
    ):
        for address in ("/replay", "/replay/runs/worse", "/replay/compare?first=good&second=worse"):
            page.goto(address)
            paper, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
            assert (scheme == "dark") == (_brightness(paper) < _brightness(ink))
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_the_page_of_a_run_as_a_file_is_filtered_by_its_script(browser: Browser, report: Path) -> None:
    with closing(browser.new_context()) as context, watched(context, "file:") as page:
        page.goto(report.as_uri())
        shown = page.locator("details[data-state]:not([hidden])")
        expect(shown).to_have_count(4)
        page.locator("#code").select_option("wrong_tool")
        expect(shown).to_have_count(2)
        page.locator("#state").select_option("all")
        page.locator("#code").select_option("any")
        expect(shown).to_have_count(15)
        page.locator("#text").fill("three")
        expect(shown).to_have_count(3)
        expect(page.locator("#count")).to_have_text("3 of 15")


def test_a_link_to_a_step_of_the_file_opens_it_also_where_the_list_leaves_it_out(
    browser: Browser, report: Path
) -> None:
    with closing(browser.new_context()) as context, watched(context, "file:") as page:
        page.goto(report.as_uri())
        right = page.locator("details[data-state=right]").first
        expect(right).to_be_hidden()
        place = right.get_attribute("id")
    with closing(browser.new_context()) as context, watched(context, "file:") as page:
        page.goto(f"{report.as_uri()}#{place}")
        expect(page.locator("details[open]")).to_have_count(1)
        expect(page.locator("details[open]")).to_contain_text("expected")


def _brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
