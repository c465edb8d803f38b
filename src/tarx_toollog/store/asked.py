"""What the log knows of requests that a replay sends again: how long their prompts are, and how fast answers come."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tarx_toollog.store.schema import exchange, model_build, run
from tarx_toollog.store.tables import LogTables

_PAGE = 500  # uids a query: well below SQLite's limit of bound parameters
_COUNTED = ("usage", "timings", "eval_count")
"""Values of ``exchange.usage_source`` that are a server's own count."""
_MS_PER_S = 1000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One exchange of the log, as its server counted it."""

    input_tokens: int | None
    output_tokens: int | None
    chat_template_hash: str | None
    total_ms: float | None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a run answered."""

    run: str
    exchanges: int
    output_tokens: int
    total_ms: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens of answers in a second, reading the prompts included."""
        return self.output_tokens * _MS_PER_S / self.total_ms


class Asked(LogTables):
    """Reads figures of exchanges."""

    def logged(self, uids: Sequence[str]) -> dict[str, LoggedRequest]:
        """Return those of these exchanges that are in the log, by uid; counts that are not a server's are left out."""
        is_counted = exchange.c.usage_source.in_(_COUNTED)
        query = sa.select(
            exchange.c.uid,
            sa.case((is_counted, exchange.c.input_tokens)),
            sa.case((is_counted, exchange.c.output_tokens)),
            model_build.c.chat_template_hash,
            exchange.c.total_ms,
        ).outerjoin(model_build, model_build.c.id == exchange.c.model_build_id)
        found: dict[str, LoggedRequest] = {}
        with self._read() as connection:
            for start in range(0, len(uids), _PAGE):
                part = query.where(exchange.c.uid.in_(uids[start : start + _PAGE]))
                found |= {uid: LoggedRequest(*rest) for uid, *rest in connection.execute(part)}
        return found

    def speed_of(self, model: str) -> Speed | None:
        """Return how fast the newest run of a model answered; None when none has told."""
        query = (
            sa.select(
                run.c.name,
                sa.func.count(),
                sa.func.sum(exchange.c.output_tokens),
                sa.func.sum(exchange.c.total_ms),
            )
            .join(exchange, exchange.c.run_id == run.c.id)
            .where(run.c.model == model, exchange.c.output_tokens > 0, exchange.c.total_ms > 0)
            .group_by(run.c.id, run.c.name)
            .order_by(run.c.id.desc())
            .limit(1)
        )
        with self._read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Speed(row[0], row[1], int(row[2]), float(row[3]))
