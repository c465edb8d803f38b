"""What the ingester cannot read is counted."""

from pathlib import Path

import pytest

from tarx_toollog import Settings, ToolLog
from tarx_toollog.store import journal as jr
from tarx_toollog.store.ingest import Ingester
from tests.support.redaction import API_KEY


def test_a_segment_that_somebody_deleted_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(database=str(tmp_path / "t.db"))
    gone = settings.journal_path / "w-000000.tlj"
    monkeypatch.setattr(jr, "list_segments", lambda *_: [gone])
    ingester = Ingester(settings, "w")
    ingester.open()
    try:
        ingester.poll()
    finally:
        ingester.close()

    with ToolLog.open(settings=settings) as log:
        assert [("journal", 1, "w-000000.tlj was deleted before it was read to its end")] == list(
            log.query("SELECT kind, n, detail FROM gap").rows
        )


def test_a_secret_that_an_error_quotes_does_not_reach_the_gap(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "t.db"))
    ingester = Ingester(settings, "w")
    ingester.open()
    ingester.note_gap("parse_error", 1, f"ValueError: cannot read {API_KEY!r}")
    ingester.close()

    with ToolLog.open(settings=settings) as log:
        ((detail,),) = log.query("SELECT detail FROM gap").rows
    assert "ValueError: cannot read '⟦OPENAI_KEY" == detail.rpartition(":")[0]
