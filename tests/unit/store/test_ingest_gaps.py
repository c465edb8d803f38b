"""What the ingester cannot read is counted."""

from pathlib import Path

import pytest

from tarx_toollog import Settings, ToolLog
from tarx_toollog.store import journal as jr
from tarx_toollog.store.ingest import Ingester


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
