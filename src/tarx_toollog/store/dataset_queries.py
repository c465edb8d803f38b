"""What people ask about a build of training data: what is in it, and why an example is in or out.

Every function takes an engine that may only read. ``dataset_diff`` compares two builds.

*Theory.* An example is known by its content hash, because the same answer to the same question is the same example
whichever exchange it was taken from. Where an example was left out before it had a hash, or has another hash than in
another build (since the rules of redaction have changed, for example), the exchange that it comes from is what both
builds know. A dialogue has a row for each exchange that it is learned from: for an exchange, that row is told, for an
example the row of its line.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.datasets import IS_LINE
from tarx_toollog.store.named import begins_with
from tarx_toollog.store.schema import conversation, dataset_build, dataset_example, exchange

Row = dict[str, Any]

ABSENT = {
    "logged_later": "it was logged after the build had begun",
    "not_selected": "the filters of the build left it out, or its source did",
    "not_finished": "the build is not finished",
    "changed": "the build holds another example of the same exchange",
}
"""Why a build says nothing of an example, or says it of another one; reasons that stand in rows are the export's."""

_HEX = re.compile(r"[0-9a-f]{1,34}")
_MAX_KEYS = 100  # exchanges of one example that other builds are asked about; "hello" may have thousands

_SHOWN: sa.Select[Any] = (
    sa.select(
        dataset_build.c.name.label("build"),
        dataset_build.c.status.label("build_status"),
        dataset_build.c.id.label("build_id"),
        dataset_example.c.seq,
        dataset_example.c.example_hash,
        dataset_example.c.source,
        dataset_example.c.split,
        dataset_example.c.copies,
        dataset_example.c.reason,
        dataset_example.c.n_tokens,
        dataset_example.c.n_trained_tokens,
        dataset_example.c.tokens_from,
        dataset_example.c.origin,
        dataset_example.c.exchange_id,
        exchange.c.uid.label("exchange_uid"),
        conversation.c.uid.label("conversation_uid"),
        conversation.c.split.label("conversation_split"),
        exchange.c.turn_no,
        exchange.c.step_no,
    )
    .select_from(dataset_example)
    .join(dataset_build, dataset_build.c.id == dataset_example.c.dataset_build_id)
    .outerjoin(exchange, exchange.c.id == dataset_example.c.exchange_id)
    .outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
    .order_by(dataset_example.c.dataset_build_id, dataset_example.c.seq)
)


class _Meant(NamedTuple):
    """What a person has named: one of the three."""

    example_hash: bytes | None = None
    exchange_id: int | None = None
    origin: str | None = None

    @property
    def condition(self) -> sa.ColumnElement[bool]:
        if self.example_hash is not None:
            return (dataset_example.c.example_hash == self.example_hash) & IS_LINE
        if self.exchange_id is not None:
            return dataset_example.c.exchange_id == self.exchange_id
        return dataset_example.c.origin == self.origin


def parts(engine: sa.Engine, build_id: int) -> list[Row]:
    """Return what a build is made of: by source, split and reason, the examples, their copies and their tokens."""
    of_all = dataset_example.c.copies * dataset_example.c.n_trained_tokens
    keys = [dataset_example.c[name] for name in ("source", "split", "reason")]
    query = (
        sa.select(
            *keys,
            sa.func.count(sa.case((IS_LINE, 1))).label("n_examples"),
            sa.func.sum(sa.case((IS_LINE, dataset_example.c.copies), else_=0)).label("n_copies"),
            sa.func.coalesce(sa.func.sum(of_all), 0).label("n_trained_tokens"),
        )
        .where(dataset_example.c.dataset_build_id == build_id)
        .group_by(*keys)
    )
    with engine.connect() as connection:
        found = [row._asdict() for row in connection.execute(query)]
    return sorted(found, key=lambda row: (row["reason"] or "", row["source"], row["split"] or ""))


# ---- why ------------------------------------------------------------------------------------------------------------


def why(engine: sa.Engine, what: str, build: str | None = None) -> list[Row]:
    """Return for every build, oldest first, whether an example is in it, and why not.

    Args:
        engine: An engine that may read.
        what: The beginning of an example's id or of an exchange's uid, or a place in a file: ``identity.jsonl:12``.
        build: Name of the only build to ask.

    Returns:
        Rows with ``build``, ``state`` (``in`` or ``out``), ``split``, ``copies``, ``reason`` (of the export, or of
        ``ABSENT``) and where the example comes from.

    Raises:
        NothingMatchedError: There is no such example, exchange, line or build.
        ConfigError: Several fit.
    """
    with engine.connect() as connection:
        builds = _builds(connection, build)
        meant = _meant(connection, what.strip())
        found = _rows(connection, meant.condition, builds)
        if meant.example_hash is not None:
            found += _otherwise(connection, found, builds)
        found += _silent(connection, meant, found, builds)
    found.sort(key=lambda row: (row["build_id"], row["seq"] or 0))
    return found


def _builds(connection: sa.Connection, name: str | None) -> dict[int, sa.Row[Any]]:
    query: sa.Select[Any] = sa.select(
        dataset_build.c.id, dataset_build.c.name, dataset_build.c.status, dataset_build.c.last_exchange_id
    ).order_by(dataset_build.c.id)
    found = connection.execute(query if name is None else query.where(dataset_build.c.name == name)).all()
    if not found:
        missing = "no build yet" if name is None else f"no build called {name!r}"
        raise NothingMatchedError(missing, hint="`toollog export list` shows the builds")
    return {row.id: row for row in found}


def _meant(connection: sa.Connection, what: str) -> _Meant:
    if ":" in what:
        line = _Meant(origin=what)
        if connection.execute(sa.select(dataset_example.c.seq).where(line.condition).limit(1)).first() is None:
            raise NothingMatchedError(f"no build knows {what!r}", hint="FILE:LINE: see from_file in lineage.jsonl")
        return line
    found: list[tuple[str, _Meant]] = []
    if _HEX.fullmatch(what):
        low, high = (bytes.fromhex(what.ljust(2 * HASH_SIZE, digit)) for digit in "0f")
        within = dataset_example.c.example_hash.between(low, high)
        hashes = connection.scalars(sa.select(dataset_example.c.example_hash).where(within).distinct().limit(3))
        found += [(f"example {value.hex()}", _Meant(example_hash=value)) for value in hashes if value is not None]
    if what:
        uids = sa.select(exchange.c.uid, exchange.c.id).where(begins_with(exchange.c.uid, what))
        first = connection.execute(uids.order_by(exchange.c.uid).limit(3))
        found += [(f"exchange {uid}", _Meant(exchange_id=key)) for uid, key in first]
    if not found:
        raise NothingMatchedError(
            f"no example and no exchange {what!r}",
            hint="ids stand in lineage.jsonl, `toollog log list` shows exchanges",
        )
    if len(found) > 1:
        raise ConfigError(f"{what!r} fits {', '.join(name for name, _ in found[:3])}", hint="give more of the id")
    return found[0][1]


def _rows(connection: sa.Connection, condition: sa.ColumnElement[bool], builds: Iterable[int]) -> list[Row]:
    # Without the builds in the condition: SQLite would walk through them rather than look an exchange up.
    wanted = frozenset(builds)
    return [_shown(row) for row in connection.execute(_SHOWN.where(condition)) if row.build_id in wanted]


def _shown(row: sa.Row[Any]) -> Row:
    values = row._asdict()
    example_hash = values.pop("example_hash")
    return values | {
        "state": "in" if row.reason is None else "out",
        "example_id": None if example_hash is None else example_hash.hex(),
    }


def _otherwise(connection: sa.Connection, found: Sequence[Row], builds: Iterable[int]) -> list[Row]:
    """Return what builds that do not know an example say of where it comes from."""
    others = set(builds) - {row["build_id"] for row in found}
    if not others:
        return []
    rows: list[Row] = []
    for column in (dataset_example.c.exchange_id, dataset_example.c.origin):
        keys = {row[column.name] for row in found if row[column.name] is not None}
        if keys:
            rows += _rows(connection, column.in_(sorted(keys)[:_MAX_KEYS]), others)
    # What is in there is another example, and this one is not.
    changed: Row = {"state": "out", "reason": "changed", "split": None, "copies": 0}
    return [row | changed if row["state"] == "in" else row for row in rows]


def _silent(
    connection: sa.Connection, meant: _Meant, found: Sequence[Row], builds: dict[int, sa.Row[Any]]
) -> list[Row]:
    """Return a row for each build that says nothing."""
    names = [column.name for column in _SHOWN.selected_columns if column.name != "example_hash"]
    nothing: Row = dict.fromkeys(names) | {"state": "out", "example_id": None, "copies": 0}
    first = found[0] if found else _place(connection, meant.exchange_id)
    known = ("exchange_id", "exchange_uid", "conversation_uid", "conversation_split", "turn_no", "step_no", "origin")
    nothing |= {name: first.get(name) for name in known}
    keys = [row["exchange_id"] for row in found if row["exchange_id"] is not None] or [nothing["exchange_id"]]
    return [
        nothing | {"build": build.name, "build_status": build.status, "build_id": key, "reason": _absence(build, keys)}
        for key, build in builds.items()
        if key not in {row["build_id"] for row in found}
    ]


def _place(connection: sa.Connection, exchange_id: int | None) -> Row:
    query = (
        sa.select(
            exchange.c.id.label("exchange_id"),
            exchange.c.uid.label("exchange_uid"),
            conversation.c.uid.label("conversation_uid"),
            conversation.c.split.label("conversation_split"),
            exchange.c.turn_no,
            exchange.c.step_no,
        )
        .outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
        .where(exchange.c.id == exchange_id)
    )
    row = connection.execute(query).first()
    return {} if row is None else row._asdict()


def _absence(build: sa.Row[Any], exchange_ids: Sequence[int | None]) -> str:
    if all(key is not None and key > build.last_exchange_id for key in exchange_ids):
        return "logged_later"
    return "not_selected" if build.status == "finished" else "not_finished"
