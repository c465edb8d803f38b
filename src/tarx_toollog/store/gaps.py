"""The loss ledger on its way into the database: what could not be kept is counted, and a row of ``gap`` says why."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog.store.schema import gap, writer

MAX_DETAIL = 500


class Gap(NamedTuple):
    """One loss."""

    kind: str
    n: int
    """Exchanges, or reports, that were lost."""
    detail: str
    at: datetime

    @classmethod
    def now(cls, kind: str, n: int, detail: str) -> "Gap":
        """Return a loss of this moment."""
        return cls(kind, n, detail, datetime.now(UTC))


def write_gaps(
    connection: sa.Connection, gaps: Sequence[Gap], writer_uid: str, clean: Callable[[str], tuple[str, object]]
) -> None:
    """Write losses.

    Args:
        connection: The writer's connection.
        gaps: What was lost.
        writer_uid: The process that lost it.
        clean: Takes secrets out of a text: an error may quote what it failed on.
    """
    if not gaps:
        return
    signed = connection.execute(sa.select(writer.c.id).where(writer.c.uid == writer_uid)).scalar()
    rows = [
        {
            "kind": one.kind,
            "from_at": one.at,
            "to_at": one.at,
            "n": one.n,
            "detail": clean(one.detail)[0][:MAX_DETAIL],
            "writer_id": signed,
        }
        for one in gaps
    ]
    connection.execute(sa.insert(gap), rows)
