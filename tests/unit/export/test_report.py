from contextlib import closing
from pathlib import Path

from tarx_toollog.export.stages import stage_counts
from tarx_toollog.store.spool import Entry, Spool


def test_a_reason_that_only_a_format_of_somebody_else_has_counts_as_writing(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db")) as spool:
        for key, reason in enumerate((None, "no_answer", "too_quiet"), 1):
            spool.add(Entry(key, None, "chat", reason=reason), None)

        stages = {one.stage: (one.n_in, one.n_out, dict(one.dropped)) for one in stage_counts(spool)}

    assert (3, 2, {"no_answer": 1}) == stages["gate"]
    assert (2, 1, {"too_quiet": 1}) == stages["write"]
