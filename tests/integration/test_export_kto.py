"""Judged answers: how many are good and bad stands in the report, and decides what they count for."""

from pathlib import Path

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import bad_chat, good_chat, write_log


def test_good_and_bad_answers_are_counted_and_weighed(tmp_path: Path) -> None:
    settings = write_log(tmp_path / "log.db", good_chat(), bad_chat())
    with ToolLog.open(settings=settings) as log:
        report = run_export(log, tmp_path / "out", ExportOptions(formats=("trl",), task="kto"), record=False)

    labels = report.accounting["labels"]
    assert (report.accounting["rows"], True) == (sum(labels.values()), labels["good"] > labels["bad"] > 0)
    script = (tmp_path / "out/trl/kto.py").read_text("utf-8")
    assert f"{labels['good']} good ones and {labels['bad']} bad ones" in script
    assert f"\nBAD_WEIGHT = {labels['good'] / labels['bad']}\n" in script
    assert f"Good answers: {labels['good']}; bad ones: {labels['bad']}." in (tmp_path / "out/REPORT.md").read_text()
