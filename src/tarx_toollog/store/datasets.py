"""Reading and writing ``dataset_build`` and ``dataset_example``: what an export took, and what it left out.

What an example is, and why it is left out, is the business of ``export``; here they are columns. ``dataset_queries``
answers what people ask about builds.

*Theory.* A big build has a million rows, and the live writer shares the database. So rows go in by transactions of
``BATCH`` rows, each a few milliseconds long, and the build is ``writing`` until the last of them; only ``finish`` makes
it one that others may build on. A process that is killed leaves its build ``writing``: nobody can tell it from one
that runs, so it stays until a person says that its name may be taken again.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from tarx_toollog._version import __version__
from tarx_toollog.canonical import content_hash, escape_text
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.ids import uuid7
from tarx_toollog.store.schema import conversation, dataset_build, dataset_example, exchange, scenario
from tarx_toollog.store.tables import LogTables

BuildStatus = Literal["writing", "finished", "failed"]
Json = Mapping[str, Any]

BATCH = 2000
"""Rows a transaction."""
_PAGE = 200  # scenarios a query: each may hold a whole dialogue
_NUMBERED = re.compile(r"v([1-9]\d{0,8})")
_LIST_COMMAND = "toollog export list"


@dataclass(frozen=True, slots=True)
class NewBuild:
    """A build to begin."""

    name: str | None
    """None takes the next of v1, v2 …"""
    parent: str | None
    """Name of the build whose splits it keeps."""
    task: str
    unit: str
    formats: Sequence[str]
    config: Json
    """All options that decide what is in it."""
    last_exchange_id: int
    """Highest key in ``exchange`` when it began to read; 0 for none."""


@dataclass(frozen=True, slots=True)
class BuildRow:
    """A stored build."""

    id: int
    uid: str
    name: str
    parent: str | None
    """Name of the build whose splits it keeps."""
    status: BuildStatus
    task: str
    unit: str
    formats: Sequence[str]
    config: Json
    config_hash: str
    last_exchange_id: int
    n_examples: int | None
    """Examples that are in it; None until it is finished, like what follows."""
    n_left_out: int | None
    n_trained_tokens: int | None
    """Tokens to learn in its training split, with repetitions."""
    counts: Json | None
    files: Any
    created_at: datetime
    finished_at: datetime | None
    version: str


class DatasetExampleRow(NamedTuple):
    """One example of a build, or one that was left out. A tuple, because there are a million of them.

    A dialogue has a row for each exchange whose answer is learned, each with its own ``n_trained_tokens``. The last is
    that of its line; those before it have no ``n_tokens``, so that no line counts twice (``IS_LINE``).
    """

    example_hash: bytes | None
    """17 bytes; None where it was left out before it had one."""
    source: str
    exchange_id: int | None = None
    """Key of the exchange whose answer is learned; None for what a file brought."""
    origin: str | None = None
    """File and line of what a file brought: ``identity.jsonl:12``."""
    split: str | None = None
    """None when it was left out."""
    copies: int = 0
    """How often it was written; 0 when it was left out."""
    n_tokens: int | None = None
    n_trained_tokens: int | None = None
    tokens_from: str | None = None
    reason: str | None = None
    """Why it was left out; None when it is in."""


IS_LINE = dataset_example.c.n_tokens.is_not(None) | dataset_example.c.n_trained_tokens.is_(None)
"""Of the rows of a dialogue, the one of its line; every other row."""


class PriorRow(NamedTuple):
    """Where an earlier build has put an example."""

    example_hash: bytes
    conversation_uid: str | None
    """None for what a file brought."""
    split: str


class FrozenTurn(NamedTuple):
    """A stored scenario, as far as training must keep away from it."""

    tag: str
    """Name of the set that it belongs to."""
    conversation_uid: str
    turn_no: int
    definition: Json
    """See ``replay.scenario``."""


_parent = dataset_build.alias("parent")
_BUILDS = sa.select(
    *(_parent.c.name.label("parent") if name == "parent" else dataset_build.c[name] for name in BuildRow.__slots__)
).outerjoin(_parent, _parent.c.id == dataset_build.c.parent_id)
_EXAMPLE_COLUMNS = ("dataset_build_id", "seq", *DatasetExampleRow._fields)
_OF_BUILD = dataset_example.c.dataset_build_id == sa.bindparam("build_id")
_LAST_SEQ = sa.select(sa.func.coalesce(sa.func.max(dataset_example.c.seq), 0)).where(_OF_BUILD)
_FIGURES = sa.select(
    sa.func.count(sa.case((IS_LINE & dataset_example.c.reason.is_(None), 1))).label("n_examples"),
    sa.func.count(sa.case((IS_LINE, dataset_example.c.reason))).label("n_left_out"),
    sa.func.coalesce(
        sa.func.sum(
            sa.case((dataset_example.c.split == "train", dataset_example.c.copies * dataset_example.c.n_trained_tokens))
        ),
        0,
    ).label("n_trained_tokens"),
).where(_OF_BUILD)
_PRIOR: sa.Select[Any] = (
    sa.select(dataset_example.c.seq, dataset_example.c.example_hash, conversation.c.uid, dataset_example.c.split)
    .outerjoin(exchange, exchange.c.id == dataset_example.c.exchange_id)
    .outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
    .where(
        _OF_BUILD,
        dataset_example.c.seq > sa.bindparam("after"),
        dataset_example.c.seq <= sa.bindparam("after") + BATCH,
        dataset_example.c.reason.is_(None),
    )
    .order_by(dataset_example.c.seq)
)


class Datasets(LogTables):
    """The builds of training data of one log."""

    # ---- a build from beginning to end ------------------------------------------------------------------------------

    def start(self, new: NewBuild, *, replace: bool = False) -> BuildRow:
        """Make the row of a new build, which is ``writing`` from now on.

        Args:
            new: What it is.
            replace: Take the name also from a build that is still ``writing``, with all that it holds: right when its
                process was killed. One that has failed always gives its name.

        Raises:
            ConfigError: The name is taken, or the parent is not finished.
            NothingMatchedError: There is no such parent.
        """
        name = new.name
        if name is not None:
            self._make_room(name, replace=replace)
        parent = None if new.parent is None else self._finished(new.parent)
        values = {
            "uid": uuid7(),
            "parent_id": None if parent is None else parent.id,
            "status": "writing",
            "task": new.task,
            "unit": new.unit,
            "formats": list(new.formats),
            "config": dict(new.config),
            "config_hash": content_hash("dataset_config", dict(new.config)).hex(),
            "last_exchange_id": new.last_exchange_id,
            "created_at": datetime.now(UTC),
            "version": __version__,
        }
        with self._write() as connection:
            taken = set(connection.scalars(sa.select(dataset_build.c.name)))
            if name is None:
                name = _next_name(taken)
            elif name in taken:  # since a moment
                raise _taken(name)
            connection.execute(sa.insert(dataset_build).values(name=name, **values))
        return self.build(name)

    def add(self, build_id: int, rows: Iterable[DatasetExampleRow]) -> int:
        """Store examples in their order, after those that are there; return how many they were.

        Each transaction takes ``BATCH`` rows; ``rows`` is read between them, while nothing is locked.
        """
        with self._read() as connection:
            first = connection.execute(_LAST_SEQ, {"build_id": build_id}).scalar_one() + 1
        numbered = enumerate(rows, first)
        statement, count = _insert_statement(self._engine.dialect), 0
        while batch := [(build_id, seq, *_storable(row)) for seq, row in itertools.islice(numbered, BATCH)]:
            with self._write() as connection:
                connection.exec_driver_sql(statement, batch)
            count += len(batch)
        return count

    def finish(self, build_id: int, counts: Json, files: Any) -> None:
        """Say that a build is whole.

        Args:
            build_id: Its key.
            counts: Figures of every stage.
            files: What was written, as it stands in the manifest.
        """
        with self._read() as connection:
            figures = connection.execute(_FIGURES, {"build_id": build_id}).one()._asdict()
        self._end(build_id, "finished", counts=dict(counts), files=files, **figures)

    def fail(self, build_id: int) -> None:
        """Say that a build will never be whole. What it holds stays, until its name is taken again."""
        self._end(build_id, "failed")

    def _end(self, build_id: int, status: BuildStatus, **values: Any) -> None:
        statement = sa.update(dataset_build).where(dataset_build.c.id == build_id)
        with self._write() as connection:
            connection.execute(statement.values(status=status, finished_at=datetime.now(UTC), **values))

    def require_free(self, name: str, *, replace: bool) -> BuildRow | None:
        """Return the build that a new one of this name would replace; None when there is none.

        Raises:
            ConfigError: The name is taken.
        """
        found = self._builds(dataset_build.c.name == name)
        if found and (found[0].status == "finished" or (found[0].status == "writing" and not replace)):
            raise _taken(name, found[0].status)
        return found[0] if found else None

    def _make_room(self, name: str, *, replace: bool) -> None:
        found = self.require_free(name, replace=replace)
        if found is not None:
            self._remove(found.id)

    def _remove(self, build_id: int) -> None:
        last = 0
        with self._read() as connection:
            highest = connection.execute(_LAST_SEQ, {"build_id": build_id}).scalar_one()
        rows = sa.delete(dataset_example).where(dataset_example.c.dataset_build_id == build_id)
        while last < highest:
            last += BATCH
            with self._write() as connection:
                connection.execute(rows.where(dataset_example.c.seq <= last))
        with self._write() as connection:
            connection.execute(sa.delete(dataset_build).where(dataset_build.c.id == build_id))

    def _finished(self, name: str) -> BuildRow:
        found = self.build(name)
        if found.status != "finished":
            raise ConfigError(f"the build {name!r} is {found.status}", hint=f"`{_LIST_COMMAND}` shows finished ones")
        return found

    # ---- what there is ----------------------------------------------------------------------------------------------

    def builds(self) -> list[BuildRow]:
        """Return all builds, newest first."""
        return self._builds(sa.true())

    def build(self, name: str) -> BuildRow:
        """Return the build called ``name``.

        Raises:
            NothingMatchedError: There is none.
        """
        found = self._builds(dataset_build.c.name == name)
        if not found:
            raise NothingMatchedError(f"no build called {name!r}", hint=f"`{_LIST_COMMAND}` shows them")
        return found[0]

    def _builds(self, condition: sa.ColumnElement[bool]) -> list[BuildRow]:
        with self._read() as connection:
            rows = connection.execute(_BUILDS.where(condition).order_by(dataset_build.c.id.desc()))
            return [BuildRow(*row) for row in rows]

    def prior(self, name: str) -> Iterator[PriorRow]:
        """Yield where a finished build has put its examples. In pages: the caller may write meanwhile.

        Raises:
            NothingMatchedError: There is no such build.
            ConfigError: It is not finished.
        """
        build_id, after = self._finished(name).id, 0
        with self._read() as connection:
            highest = connection.execute(_LAST_SEQ, {"build_id": build_id}).scalar_one()
        while after < highest:
            with self._read() as connection:
                page = connection.execute(_PRIOR, {"build_id": build_id, "after": after}).all()
            yield from (PriorRow(*row[1:]) for row in page)
            after += BATCH

    def scenarios(self) -> Iterator[FrozenTurn]:
        """Yield every scenario of every tag: what training must keep away from."""
        columns = (scenario.c[name] for name in ("id", *FrozenTurn._fields))
        query = sa.select(*columns).order_by(scenario.c.id).limit(_PAGE)
        last = 0
        while True:
            with self._read() as connection:
                page = connection.execute(query.where(scenario.c.id > last)).all()
            if not page:
                return
            yield from (FrozenTurn(*row[1:]) for row in page)
            last = page[-1].id


def _insert_statement(dialect: sa.Dialect) -> str:
    """Return the INSERT for plain tuples: over Core it takes twice as long, most of that with the lock held."""
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    marks = ", ".join(mark for _ in _EXAMPLE_COLUMNS)
    return f"INSERT INTO {dataset_example.name} ({', '.join(_EXAMPLE_COLUMNS)}) VALUES ({marks})"  # noqa: S608


def _storable(row: DatasetExampleRow) -> DatasetExampleRow:
    return row if row.origin is None else row._replace(origin=escape_text(row.origin))


def _next_name(taken: Iterable[str]) -> str:
    numbers = (int(match[1]) for name in taken if (match := _NUMBERED.fullmatch(name)))
    return f"v{max(numbers, default=0) + 1}"


def _taken(name: str, status: str = "finished") -> ConfigError:
    if status == "writing":
        return ConfigError(
            f"the build {name!r} is being written",
            hint="wait for it, or choose another name; when its process was killed, --replace-build takes this one",
        )
    return ConfigError(f"there is a build called {name!r} already", hint=f"another name; `{_LIST_COMMAND}` shows them")
