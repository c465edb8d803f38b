"""How fast answers are scored, beside BFCL's own checker on the same answers; and how fast reports and pages are made.

Ours is ``judge``: the calls are read from their texts, held against the schemas of all offered tools and against the
expectation, and scored under all profiles, one process. BFCL's checker (``ast_checker``) gets its answers read.

``python -m bench replay``; needs ``sh scripts/consumers.sh bfcl``.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tarx_toollog import Settings, ToolLog
from tarx_toollog.canonical import json_text
from tarx_toollog.model import LoggedCall
from tarx_toollog.replay.reports.details import details
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.report_html import report_html
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scenario import Recorded, ScenarioStep
from tarx_toollog.replay.scoring import judge
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.replays import Answer
from tests.bfcl.mutations import outputs
from tests.bfcl.places import canonical
from tests.bfcl.ruler import python_of_bfcl, read_cases, seconds, with_calls
from tests.support.web_pages import served_pages
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, saying

SCENARIOS = 1000
_ADDRESSES = {
    "list": "/replay",
    "run": "/replay/runs/r",
    "steps": "/replay/runs/r/steps?state=all&tool=recall",
    "compare": "/replay/compare?first=r&second=again",
}
_LOOKS = 4  # at each page
_EACH = 4  # answers of a case: the right one, and some with a fault

Figures = dict[str, Any]


def measure() -> Figures:
    """Return all figures."""
    return {"baseline": "ast_checker of bfcl-eval 2026.3.23, the same answers, same run", **_scoring(), **_report()}


def _scoring() -> Figures:
    python = python_of_bfcl()
    asked = with_calls(read_cases(python))
    answers = [(one, [made.calls for made in outputs(one.case)][:_EACH]) for one in asked]
    units = [
        (
            ScenarioStep(1, "", (), tuple(one.case.tools), {}, tuple(canonical(one.case)), Recorded({}, None, None)),
            Answer(tuple(_logged(call.name, call.arguments) for call in made)),
        )
        for one, several in answers
        for made in several
    ]
    began = time.perf_counter()
    for step, answer in units:
        judge(step, answer)
    ours = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        theirs = seconds(python, answers, Path(folder))
    return {
        "answers": len(units),
        "steps_per_s": round(len(units) / ours),
        "bfcl_answers_per_s": round(len(units) / theirs),
        "times_bfcl": round(ours / theirs, 2),
    }


def _logged(name: str, arguments: Any) -> LoggedCall:
    return LoggedCall("u", name, json_text(arguments), "ok", "ok", True, True, "native", "id")


def _report() -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database=str(Path(folder) / "t.db"), probe=False)
        with ToolLog.open(settings=settings, read_only=False) as log:
            for number in range(SCENARIOS):
                call = calling(("recall", {"query": f"place {number}"}))
                Chat(log, f"c{number}").turn(f"Where is {number}?", call, saying("There."))
            build(log, "t", EVERY_SPLIT)
            replay(log, RunRequest("r", "t", "recorded:", Overrides("log")))
            replay(log, RunRequest("again", "t", "recorded:", Overrides("log")))
            began = time.perf_counter()
            report = build_report(log, "r")
            page = report_html(report, details(log, "r"))
            told = {"report_seconds": round(time.perf_counter() - began, 2), "page_kb": len(page) // 1024}
        return {"report_scenarios": SCENARIOS, **told, "pages": dict(_pages(Path(settings.database)))}


def _pages(database: Path) -> Iterator[tuple[str, Figures]]:
    """Yield for each page how long it takes first, when it is counted, and again, and what it weighs."""
    with served_pages(database) as url, httpx.Client(base_url=url, timeout=60) as client:
        for name, address in _ADDRESSES.items():
            took = []
            for _ in range(_LOOKS):
                began = time.perf_counter()
                answer = client.get(address).raise_for_status()
                took.append(round(1000 * (time.perf_counter() - began)))
            yield name, {"first_ms": took[0], "again_ms": min(took[1:]), "kb": len(answer.content) // 1024}
