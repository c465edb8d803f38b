"""Which chat template is the served one, which one is trained with, and what is said when they differ."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport
from tarx_toollog.model import EPOCH
from tarx_toollog.store.builds import write_build
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import exchange
from tarx_toollog.store.templates import served_templates
from tarx_toollog.wire.model_facts import ChatTemplate, ModelFacts
from tests.unit.cli.samples import Chat, good_chat, write_log

URL = "http://127.0.0.1:11435"
SAID = "<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c|tojson }}{% endfor %}"
BODY = f"{{{{ tools|tojson }}}}{{% for m in messages %}}{SAID}{{% endfor %}}"
BIG, SMALL, MINE = (f"[{name}]{BODY}" for name in "ABC")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of two builds with a template each: eight exchanges of ``big``, one of ``small``."""
    short = Chat("short", start_s=100)
    short.model = "small"
    short.user("What is my dog called, please?").answer("He is called Rex.")
    settings = write_log(tmp_path / "log.db", good_chat(), good_chat("twin", start_s=50), short)
    with ToolLog.open(settings=settings, read_only=False) as opened:
        answered_by(opened, "big", BIG)
        answered_by(opened, "small", SMALL, exchange.c.request_model == "small")
        yield opened


def answered_by(log: ToolLog, name: str, text: str | None, *which: sa.ColumnElement[bool]) -> None:
    """Let a build have answered, all exchanges by default; a server that does not tell its template has no text."""
    template = None if text is None else ChatTemplate(text)
    told = None if template is None else template.hash
    facts = ModelFacts(model=name, file_name=name, template=template, chat_template_hash=told)
    with log.engine.begin() as connection:
        key = write_build(connection, facts, URL, EPOCH)
        connection.execute(sa.update(exchange).where(*which).values(model_build_id=key))


def export(log: ToolLog, out: Path, *, builds: tuple[str, ...] = (), **options: Any) -> ExportReport:
    filters = Filters.parse(builds=builds)
    return run_export(log, out, ExportOptions(**{"formats": ("rendered", "mlx"), "filters": filters, **options}))


def served_file(out: Path) -> str | None:
    path = out / "mlx/served_template.jinja"
    return path.read_text("utf-8") if path.exists() else None


def first_prompt(out: Path) -> str:
    prompt: str = json.loads((out / "rendered/train.jsonl").read_text("utf-8").splitlines()[0])["prompt"]
    return prompt


def about_builds(report: ExportReport) -> list[str]:
    return [warning for warning in report.warnings if "builds" in warning]


def test_rows_of_one_build_have_the_template_of_that_build(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out", builds=("small",))

    assert (SMALL, "[B]", []) == (
        served_file(tmp_path / "out"),
        first_prompt(tmp_path / "out")[:3],
        about_builds(report),
    )


def test_of_several_builds_the_most_used_one_is_taken_and_the_others_are_named(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out")

    assert BIG == served_file(tmp_path / "out")
    [told] = about_builds(report)
    assert told.startswith(
        "rows come from several builds: the chat template of big is taken for the served one, and small"
    )


def test_the_most_used_build_is_that_of_the_exchanges_which_are_meant(log: ToolLog) -> None:
    found = served_templates(log.engine, Filters.parse(models=["small"]))

    assert ("small", ()) == (found.template.build if found.template else None, found.others)


def test_builds_with_one_template_are_no_reason_to_warn(log: ToolLog, tmp_path: Path) -> None:
    answered_by(log, "small-2", BIG, exchange.c.request_model == "small")

    assert [] == about_builds(export(log, tmp_path / "out"))


def test_a_build_that_never_told_its_template_gets_that_of_no_other(log: ToolLog, tmp_path: Path) -> None:
    answered_by(log, "silent", None, exchange.c.request_model == "small")

    alone = export(log, tmp_path / "alone", builds=("silent",), formats=("mlx",))
    beside = export(log, tmp_path / "beside")

    assert None is served_file(tmp_path / "alone")
    assert "the served chat template is not known: rows were not held against it" in alone.warnings
    assert ["silent"] == [name for name in ("silent", "small") if name in about_builds(beside)[0]]


def test_rows_whose_build_nobody_knows_are_held_against_what_the_log_was_served_with_most(
    log: ToolLog, tmp_path: Path
) -> None:
    with log.engine.begin() as connection:
        connection.execute(sa.update(exchange).where(exchange.c.request_model == "small").values(model_build_id=None))
    unknown = Filters.parse(models=["small"])

    run_export(log, tmp_path / "out", ExportOptions(filters=unknown))

    assert BIG == served_file(tmp_path / "out")


def test_a_template_from_a_file_is_trained_with_and_never_called_served(log: ToolLog, tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(MINE)

    report = export(log, tmp_path / "out", builds=("big",), template=str(tmp_path / "mine.jinja"))

    assert ("[C]", BIG) == (first_prompt(tmp_path / "out")[:3], served_file(tmp_path / "out"))
    assert 1 == sum("template_not_served" in warning for warning in report.warnings)


def test_the_served_template_from_a_file_is_no_reason_to_warn(log: ToolLog, tmp_path: Path) -> None:
    (tmp_path / "same.jinja").write_text(BIG)

    report = export(log, tmp_path / "out", builds=("big",), template=str(tmp_path / "same.jinja"))

    assert [] == [warning for warning in report.warnings if "template_not_served" in warning]


def test_where_the_served_template_is_not_known_none_is_written_as_such(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(MINE)
    with ToolLog.open(settings=write_log(tmp_path / "log.db", good_chat())) as unprobed:
        export(unprobed, tmp_path / "out", template=str(tmp_path / "mine.jinja"))

    assert ("[C]", None) == (first_prompt(tmp_path / "out")[:3], served_file(tmp_path / "out"))
