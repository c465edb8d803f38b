"""One person's way through the pages of ``toollog ui``: find what fails, read it, correct it, follow what comes in.

What the person sees on the way is kept as pictures in the folder that TOOLLOG_ARTIFACTS names.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tarx_toollog.store.log import ToolLog
from tarx_toollog.web import addresses
from tests.browser.pictures import IMAGES, PICTURES, make_log, served_logs, take_pictures
from tests.browser.test_overview import contrast, luminance
from tests.support.browsing import words_on
from tests.support.builders import TOOLS, assistant, call, exchange, result, user
from tests.support.dialogues import hint
from tests.support.tool_log import HOSTILE_TOOL
from tests.support.web_pages import SCRIPT, TURNED, started_ui

ROOT = Path(__file__).parents[2]
ARTIFACTS = Path(os.environ.get("TOOLLOG_ARTIFACTS") or ROOT / "artifacts")
LATE_S = 5_600_000
"""Later than all that was made up."""
HOSTILE_UID = "01a20000-0000-7000-8000-0000000000ff"
PAYLOAD = f'{SCRIPT}<a href="javascript:alert(3)" onclick="alert(4)">x</a> {TURNED} {{{{ 7 * 7 }}}}'
LARGEST = 120_000
"""Bytes of a picture in the documents."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return four weeks of a Workbench."""
    return make_log(tmp_path_factory.mktemp("journey") / "example.db")


@pytest.fixture(scope="module")
def database(example: Path) -> Path:
    """Return the same, with one dialogue that tries to get out of the text."""
    path = example.with_name("t.db")
    shutil.copy(example, path)
    options = {"tools": TOOLS, **hint("hostile")}
    asked = [user(PAYLOAD)]
    made = assistant(PAYLOAD, call(HOSTILE_TOOL, {"to": PAYLOAD, PAYLOAD: 1}, "h1"))
    back = [*asked, made, result("h1", {"error": PAYLOAD})]
    with ToolLog.open(path, read_only=False) as log:
        log.write([exchange(asked, made, uid=HOSTILE_UID, at_s=LATE_S, **options)])
        log.write([exchange(back, assistant(PAYLOAD), at_s=LATE_S + 2, **options)])
    return path


@pytest.fixture(scope="module")
def url(database: Path) -> Iterator[str]:
    with started_ui(database) as url:
        yield url


def keep(page: Page, name: str) -> None:
    """Keep a picture of what is seen."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"journey-{name}.png", animations="disabled")


def asked(database: Path, *arguments: str) -> Any:
    """Return what ``toollog db query`` answers."""
    command = [sys.executable, "-m", "tarx_toollog", "--database", str(database), "db", "query", *arguments, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_a_person_finds_the_failing_tool_corrects_a_call_and_asks_for_the_label_in_sql(
    page: Page, database: Path
) -> None:
    page.goto("/")
    keep(page, "1-overview")
    page.get_by_role("img", name="Calls that failed, by tool").locator("a").first.click()  # the first click
    worst = asked(database, "--ready", "failing_tools")[0]["tool"]
    expect(page.get_by_role("heading", level=1)).to_contain_text(worst)
    keep(page, "2-its-failed-calls")
    page.locator("table.calls-list tbody tr").first.locator("a[href*='/conversations/']").click()  # the second
    step = page.locator(f"[id='{urlsplit(page.url).fragment}']")
    expect(step).to_be_in_viewport()
    expect(page.locator(".user pre").first).not_to_be_empty()
    wrong = step.locator(".call").filter(has=page.locator(".made .bad")).first
    uid = (wrong.get_attribute("id") or "").removeprefix("call-")
    keep(page, "3-conversation")
    wrong.get_by_role("link", name="correct or comment").click()  # the third
    _correct(page)
    said = page.locator(f"[id='call-{uid}'] .said")
    expect(said).to_contain_text("eve")
    expect(said).to_contain_text("Porto")
    keep(page, "5-corrected")
    given = asked(database, f"SELECT name, correction, comment FROM label WHERE target_uid = '{uid}' ORDER BY id")
    right = '{"name":"weather","arguments":{"place":"Porto"}}'
    assert {"name": "expected", "correction": right, "comment": "it is about the weather"} == given[-1]
    (mine,) = (row for row in asked(database, "--ready", "labels") if row["annotator"] == "eve")
    assert (1, 1) == (mine["labels"], mine["corrections"])


def _correct(page: Page) -> None:
    """Say in the form which call would have been right."""
    page.get_by_label("wrong: it should have called one tool").check()
    page.get_by_label("tool", exact=True).fill("weather")
    page.get_by_label("arguments, as JSON").fill('{"place": "Porto"}')
    page.get_by_label("why").fill("it is about the weather")
    page.get_by_label("your name").fill("eve")
    keep(page, "4-form")
    page.get_by_role("button", name="label", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Kept")


def test_a_person_follows_a_live_exchange_and_finds_it_again_by_its_words(page: Page, database: Path) -> None:
    page.goto("/")
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_role("status")).to_contain_text("Following")
    asks, first = [user("Where do the zeppelins moor?")], page.locator("#live tbody tr").first
    made = assistant("", call("tarx_recall", {"query": "zeppelins"}, "z1"))
    back = [*asks, made, result("z1", {"facts": ["they moor at the mast"]})]
    with ToolLog.open(database, read_only=False) as log:
        log.write([exchange(asks, made, tools=TOOLS, at_s=LATE_S + 60, **hint("live"))])
        expect(first).to_contain_text("tarx_recall")
        log.write([exchange(back, assistant("At the mast."), tools=TOOLS, at_s=LATE_S + 62, **hint("live"))])
    expect(page.get_by_role("status")).to_contain_text("2 new")
    keep(page, "6-live")
    first.get_by_role("link", name="zeppelins").click()
    page.get_by_role("link", name="the steps before").click()
    expect(page.locator(".came").first).to_contain_text("at the mast")
    page.get_by_role("link", name="Search").click()
    page.get_by_label("words").fill("zeppelin*")
    page.get_by_role("button", name="search").click()
    expect(page.locator("mark").first).to_have_text(re.compile("zeppelins"))
    keep(page, "7-search")
    page.get_by_role("link", name=re.compile("in its conversation")).first.click()
    expect(page.get_by_text("At the mast.")).to_be_visible()


def test_light_and_dark_have_colours_of_their_own_and_all_words_can_be_read(page: Page) -> None:
    page.goto("/calls?kind=bad")
    talk = page.locator("table.calls-list a[href*='/conversations/']").first.get_attribute("href") or ""
    for name in ("/", "/conversations", talk, "/calls?kind=bad", "/tools", "/live", "/search?q=a*", "/labels/queue"):
        seen = {}
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(name)
            found = words_on(page)
            assert [] == [one for one in found if contrast(luminance(one.ink), luminance(one.paper)) < 4.5], name
            seen[scheme] = {(one.ink, one.paper) for one in found}
            assert len(found) > 2
        assert set() == seen["light"] & seen["dark"], name
        if name in ("/", talk):
            keep(page, "8-dark-overview" if name == "/" else "9-dark-conversation")


def test_a_hostile_dialogue_stays_text_on_every_page_that_shows_it(page: Page, database: Path) -> None:
    sql = f"SELECT conversation_uid, call_uid FROM v_tool_calls WHERE exchange_uid = '{HOSTILE_UID}'"
    ((talk, call_uid),) = (row.values() for row in asked(database, sql))
    pages = [
        addresses.overview(tool=HOSTILE_TOOL), addresses.tools(), addresses.tool(HOSTILE_TOOL),
        addresses.calls(tool=HOSTILE_TOOL), addresses.conversations(), addresses.conversation(talk),
        addresses.exchanges(conversation=talk), addresses.exchange(HOSTILE_UID), addresses.live(),
        addresses.search(q="onerror"), addresses.label(call_uid),
    ]  # fmt: skip
    for address in pages:
        answer = page.goto(address)
        assert answer is not None
        assert 200 == answer.status, address
        main = page.locator("main")
        assert "</script><scr" in (main.text_content() or ""), address
        assert 0 == main.locator("script, img, a[href^='javascript'], [onclick], [onerror]").count(), address
        assert [] == re.findall("[\u202e\u2066]", main.inner_text()), address
    keep(page, "10-hostile")


def test_the_pictures_of_the_documents_are_those_that_can_be_taken_again(browser: Browser, example: Path) -> None:
    with served_logs(example) as urls:
        take_pictures(browser, urls, ARTIFACTS / "documents")

    there = {path.name: path for path in IMAGES.iterdir()}
    assert {f"{picture.name}.png" for picture in PICTURES} == there.keys()
    assert [] == [name for name, path in there.items() if path.stat().st_size > LARGEST]
