from contextlib import closing
from pathlib import Path

from tarx_toollog.export.report import ExportReport, report_page
from tarx_toollog.export.stages import Captured, StageCount, log_stages, stage_counts
from tarx_toollog.export.write import FormatCounts
from tarx_toollog.store.spool import Entry, Spool


def test_a_reason_that_only_a_format_of_somebody_else_has_counts_as_writing(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db")) as spool:
        for key, reason in enumerate((None, "no_answer", "too_quiet"), 1):
            spool.add(Entry(key, None, "chat", reason=reason), None)

        stages = {one.stage: (one.n_in, one.n_out, dict(one.dropped)) for one in stage_counts(spool)}

    assert (3, 2, {"no_answer": 1}) == stages["gate"]
    assert (2, 1, {"too_quiet": 1}) == stages["write"]


def test_steps_that_were_there_and_could_not_be_read_any_more_are_told(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db")) as spool:
        for key in range(1, 5):
            spool.add(Entry(key, None, "chat"), None)

        select, assemble = log_stages(Captured(n_exchanges=12, n_steps=10, n_meant=7), 4, spool)

    assert (12, 4, {"no_step": 2, "not_meant": 3, "gone": 3}) == (select.n_in, select.n_out, dict(select.dropped))
    assert (4, 4, {}) == (assemble.n_in, assemble.n_out, dict(assemble.dropped))


def test_every_count_of_the_page_has_its_thousands_apart(tmp_path: Path) -> None:
    stage = StageCount("write", 5000, 2500, {"needs_mask": 2500})
    report = ExportReport(
        build=None,
        out=tmp_path,
        config={},
        stages=(stage,),
        sources={},
        splits={},
        tokens={"min": 1, "max": 1, "mean": 1, "histogram": {}, "from": {}},
        formats={"trl": FormatCounts({"train": 2500}, {"needs_mask": 2500})},
        warnings=("in 2 answers the model calls itself a\n\x1b[31mb",),
    )

    page = report_page(report)

    assert "| write | 5,000 | 2,500 | 2,500 × the format learns" in page
    assert "| trl | train | 2,500 | 2,500 × `needs_mask` |" in page
    assert "- in 2 answers the model calls itself a\ufffd\ufffd[31mb\n" in page
