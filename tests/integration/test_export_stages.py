"""The first and the last stages of an export: from exchanges to examples, and from rows to lines read again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport, report_page, report_text
from tarx_toollog.export.stages import StageCount
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import exchange, turn
from tests.unit.cli.samples import Chat, bad_chat, good_chat, write_log

REPLAY = (
    "INSERT INTO run (id, uid, name, tag, model, endpoint, mode, params, status, started_at) "
    "VALUES (1, 'r', 'r', 't', 'm', 'e', 'teacher_forced', '{}', 'finished', '2026-01-01')"
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of nine steps on main lines, an answer that was asked for again, and an exchange of a replay."""
    again = Chat("again", start_s=200).user("Hello").answer("Hm?")
    again.messages = again.messages[:-1]
    again.answer("Hello!").user("Thanks.").answer("Welcome.")
    replayed = Chat("replayed", start_s=300).user("Who are you?").answer("I am TARX.")
    settings = write_log(tmp_path / "log.db", good_chat(), bad_chat(), again, replayed)
    with ToolLog.open(settings=settings, read_only=False) as opened:
        with opened.engine.begin() as connection:
            connection.execute(sa.text(REPLAY))
            made = exchange.c.uid == replayed.exchanges[0].uid
            turns = sa.select(exchange.c.conversation_id).where(made).scalar_subquery()
            connection.execute(sa.delete(turn).where(turn.c.conversation_id == turns))
            connection.execute(sa.update(exchange).values(run_id=1, turn_no=None, step_no=None).where(made))
        yield opened


def export(log: ToolLog, out: Path, *formats: str, dry_run: bool = False, **options: Any) -> ExportReport:
    return run_export(log, out, ExportOptions(formats or ("canonical",), **options), dry_run=dry_run)


def stage(report: ExportReport, name: str) -> tuple[int, int, dict[str, int]]:
    (one,) = [one for one in report.stages if one.stage == name]
    return one.n_in, one.n_out, dict(one.dropped)


def test_an_answer_that_was_asked_for_again_is_no_step_and_a_replay_is_no_part_of_the_log(
    log: ToolLog, tmp_path: Path
) -> None:
    report = export(log, tmp_path / "out")

    assert (12, 11, {"no_step": 1}) == stage(report, "select")
    assert (11, 11, {}) == stage(report, "assemble")


def test_what_filters_and_limits_leave_out_is_counted(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out", filters=Filters(tools=frozenset({"tarx_recall"})))
    limited = export(log, tmp_path / "limited", filters=Filters(limit=1))

    assert (12, 2, {"no_step": 1, "not_meant": 9}) == stage(report, "select")
    assert (12, 2, {"no_step": 1, "not_meant": 9}) == stage(limited, "select")


def test_steps_that_become_dialogues_are_joined(log: ToolLog, tmp_path: Path) -> None:
    n_in, n_out, lost = stage(export(log, tmp_path / "out", unit="trajectory"), "assemble")

    assert (11, {"joined": 11 - n_out}) == (n_in, lost)
    assert n_out < n_in


def test_answers_beside_the_main_line_join_as_examples_of_pairs(log: ToolLog, tmp_path: Path) -> None:
    assert (11, 12, {}) == stage(export(log, tmp_path / "out", task="dpo"), "assemble")


def test_rows_of_files_are_selected_and_assembled_like_steps(log: ToolLog, tmp_path: Path) -> None:
    path = tmp_path / "identity.jsonl"
    rows = [
        {"question": f"Who are you, {n * 7919}?", "answer": f"I am TARX, {n}.", "cluster": f"c{n}"} for n in range(20)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")

    report = export(log, tmp_path / "out", identity=(path,))
    n_rows = report.sources["identity"]  # some questions come with two system prompts

    assert (12 + n_rows, 11 + n_rows, {"no_step": 1}) == stage(report, "select")
    assert (11 + n_rows, 11 + n_rows, {}) == stage(report, "assemble")


def test_the_lines_of_all_formats_are_read_again(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out", "canonical", "trl", "mlx", "openai")
    n_lines = sum(len(path.read_bytes().splitlines()) for path in (tmp_path / "out").rglob("*/*.jsonl"))

    assert (n_lines, n_lines, {}) == stage(report, "verify")
    assert f"verify {n_lines:>16} → {n_lines}" in report_text(report)
    assert f"| verify | {n_lines} | {n_lines} |  |" in report_page(report)


def test_each_stage_takes_what_the_one_before_it_gave(log: ToolLog, tmp_path: Path) -> None:
    stages = export(log, tmp_path / "out").stages

    def gives(one: StageCount) -> int:
        return one.n_in - sum(one.dropped.values())

    assert [one.n_out for one in stages] == [gives(one) for one in stages]
    assert [one.n_out for one in stages[:-2]] == [one.n_in for one in stages[1:-1]]
