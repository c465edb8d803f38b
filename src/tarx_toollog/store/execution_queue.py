"""Reports on runs of tools between the journal and the database."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store.engine import exclude_writers, is_store_trouble
from tarx_toollog.store.frames import ExecutionReport, Frame, read_execution

if TYPE_CHECKING:
    from tarx_toollog.store.writer import Writer

BATCH = 64  # reports in one transaction

logger = logging.getLogger("tarx_toollog.ingest")


class ExecutionQueue:
    """Holds what was read of the journal until it is in the database.

    A transaction of its own follows those of the exchanges: the calls are there by then, and a report that cannot be
    stored costs no exchange.
    """

    def __init__(self) -> None:
        self._waiting: list[ExecutionReport] = []

    def read(self, frame: Frame) -> None:
        """Take an EXECUTION frame.

        Raises:
            JournalError: It cannot be read.
        """
        self._waiting.append(read_execution(frame))

    def commit(self, engine: sa.Engine | None, writer: "Writer", redactor: Redactor | None) -> list[str]:
        """Write what waits, without what must not be stored; return what had to be given up, a line each."""
        lost: list[str] = []
        size = BATCH
        while batch := self._waiting[:size]:
            assert engine is not None
            assert redactor is not None
            try:
                with engine.begin() as connection:
                    exclude_writers(connection)
                    for report in batch:
                        kind, text = (
                            None if said is None else redactor.text(said)[0]
                            for said in (report.error_type, report.error_text)
                        )
                        writer.write_execution(connection, replace(report, error_type=kind, error_text=text))
                    writer.settle(connection)
            except Exception as error:
                writer.forget()
                if is_store_trouble(error):
                    raise
                if size > 1:
                    size = 1  # a bug of ours, met by one of them: let the others through
                    continue
                logger.exception("the execution %s cannot be stored", batch[0].uid)
                lost.append(f"{batch[0].uid}: {type(error).__name__}: {error}")
            del self._waiting[: len(batch)]
        return lost
