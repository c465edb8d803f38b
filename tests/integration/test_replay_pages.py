"""Reports that are files: a page, JUnit and Markdown, of a run in which much went wrong."""

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tarx_toollog.replay.reports.details import StepDetail, confusion, details
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.report_html import report_html
from tarx_toollog.replay.running.runner import replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tests.integration.test_replay import CHAIN, request
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, last_user, results_since, saying

HOSTILE = "</script><script>alert(1)</script> | `*_[x](y)_*` \x07 ]]> & <b>"
USERS = ("a", "b", HOSTILE)


def worse(body: Json) -> Json:
    """Answer as in the log, but call something else for one user, and say nothing good to another."""
    if last_user(body) == "b" and results_since(body) == 1:
        return calling(("save", {"title": HOSTILE}))
    return (
        saying(HOSTILE)
        if last_user(body) not in ("a", "b") and results_since(body) == 0
        else CHAIN[results_since(body)]
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path_factory.mktemp("pages") / "t.db", read_only=False) as opened:
        for user in USERS:
            Chat(opened, user[:5]).turn(user, *CHAIN)
        build(opened, "t", EVERY_SPLIT)
        for name, model in (("good", lambda body: CHAIN[results_since(body)]), ("worse", worse)):
            with fake_model(model) as served:
                replay(opened, request(served, name))
        yield opened


def reported(log: ToolLog, *options: str) -> Any:
    return run("--database", log.settings.database, "replay", "report", "worse", *options)


class _Page(HTMLParser):
    """Collects the elements of a page, and sees whether scripts are ours alone."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in ("src", "style") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_shows_every_step_and_runs_no_code_but_its_own(log: ToolLog, tmp_path: Path) -> None:
    told = reported(log, "--html", str(tmp_path / "out.html"), "--against", "good")
    assert 0 == told.exit_code, told.output
    text = (tmp_path / "out.html").read_text("utf-8")
    page = _Page()
    page.feed(text)

    assert (1, 1) == (page.tags.count("script"), page.tags.count("style"))
    assert 9 == page.tags.count("details")
    assert "://" not in re.sub(r"http://127\.0\.0\.1:\d+", "", text)
    assert "alert(1)" in page.words
    assert "regressions (2)" in page.words
    assert page.words.index("regressions (2)") < page.words.index("How often it is right")
    assert "default-src 'none'" in text


def test_every_failure_is_one_in_junit_and_what_was_not_judged_is_skipped(log: ToolLog, tmp_path: Path) -> None:
    reported(log, "--junit", str(tmp_path / "out.xml"))
    root = ET.fromstring((tmp_path / "out.xml").read_bytes())

    (suite,) = root.findall("testsuite")
    assert ("9", "2", "0") == (suite.get("tests"), suite.get("failures"), suite.get("skipped"))
    failures = {failure.get("type") for failure in root.iter("failure")}
    assert {"wrong_tool", "missing_call"} == failures
    assert "1/3" == next(p.get("value") for p in root.iter("property") if p.get("name") == "chains_right")


def test_markdown_has_the_figures_and_escapes_what_a_model_said(log: ToolLog, tmp_path: Path) -> None:
    reported(log, "--md", str(tmp_path / "out.md"))
    text = (tmp_path / "out.md").read_text("utf-8")

    assert "| chains (agreement) | 33.3 % |" in text
    assert "## What went wrong (2 steps)" in text
    assert "<script>" not in text
    assert "\\<b\\>" in text
    assert "\x07" not in text


def test_the_text_is_told_all_the_same(log: ToolLog, tmp_path: Path) -> None:
    assert reported(log).output == reported(log, "--md", str(tmp_path / "out.md")).output


def test_a_file_that_cannot_be_written_is_named(log: ToolLog, tmp_path: Path) -> None:
    told = reported(log, "--html", str(tmp_path / "no" / "out.html"))
    assert (1, True) == (told.exit_code, "out.html: No such file or directory" in told.output)


def test_what_was_called_where_what_was_expected(log: ToolLog) -> None:
    rows, columns, counts = confusion(details(log, "worse"))

    assert ["(answer)", "recall", "remember"] == rows
    assert ["(answer)", "recall", "remember", "save"] == columns
    assert (1, 1) == (counts["remember", "save"], counts["recall", "(answer)"])


def test_a_thousand_scenarios_are_a_page_in_less_than_two_seconds(log: ToolLog) -> None:
    steps: list[StepDetail] = list(details(log, "worse"))
    many = [step for _ in range(1000 // len(USERS) + 1) for step in steps]
    report = build_report(log, "worse")

    began = time.process_time()
    page = report_html(report, many)

    assert time.process_time() - began < 2
    assert page.count("<details") >= 3000
