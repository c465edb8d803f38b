"""Reading and writing ``suite`` and ``scenario``. A suite is a set of scenarios that never changes once it is made.

What a scenario means is the business of ``replay``; here a definition is JSON. A run names its suite, and a figure of
last month means something today only if the suite is what it was: so a name is given once, to one hash. Every public
method is one transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import sqlalchemy as sa

from tarx_toollog.canonical import bytes_hash, content_hash
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.ids import uuid7
from tarx_toollog.store.schema import scenario, suite
from tarx_toollog.store.tables import LogTables

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewScenario:
    """A scenario to store."""

    hash: bytes
    conversation_uid: str
    turn_no: int
    signature: str
    n_steps: int
    tier: str
    definition: Mapping[str, Any]
    weight: float = 1.0
    """Turns of the log that it stands for."""
    stratum: str | None = None
    """The group of turns that it was drawn from."""
    cluster: str | None = None
    """Scenarios of one cluster hang together; None: those of one conversation do."""


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """A stored scenario."""

    id: int
    uid: str
    tag: str
    signature: str
    tier: str
    definition: Mapping[str, Any]
    weight: float
    stratum: str | None
    cluster: str | None


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """A stored suite."""

    name: str
    hash: bytes
    n_scenarios: int
    n_steps: int
    made: Mapping[str, Any]
    created_at: datetime


class Suites(LogTables):
    """The suites of one log and their scenarios."""

    def freeze(self, name: str, scenarios: Sequence[NewScenario], made: Mapping[str, Any]) -> bool:
        """Store a suite; return False when the very same is there already.

        Equal scenarios count once.

        Args:
            name: The tag of its scenarios.
            scenarios: What is in it.
            made: How it was made, for people who read it later.

        Raises:
            ConfigError: The name is taken by a suite that holds something else.
        """
        unique = {new.hash: new for new in scenarios}
        digest = suite_hash(unique.values())
        values: Row = {
            "uid": uuid7(),
            "name": name,
            "hash": digest,
            "n_scenarios": len(unique),
            "n_steps": sum(new.n_steps for new in unique.values()),
            "made": dict(made),
            "created_at": datetime.now(UTC),
        }
        with self._write() as connection:
            there = connection.execute(sa.select(suite.c.hash).where(suite.c.name == name)).scalar()
            if there == digest:
                return False
            others = connection.execute(sa.select(scenario.c.id).where(scenario.c.tag == name).limit(1)).first()
            if there is not None or others is not None:
                raise ConfigError(
                    f"the suite {name!r} is frozen, and holds other scenarios",
                    hint="take another --tag: what was measured with a suite must stay what it was",
                )
            connection.execute(sa.insert(suite).values(**values))
            if unique:
                connection.execute(sa.insert(scenario), [_row(name, unique[key]) for key in sorted(unique)])
        return True

    def suite(self, name: str) -> SuiteRow | None:
        """Return what is known of a suite; None where there is none, or an earlier version made it."""
        columns = (getattr(suite.c, slot) for slot in SuiteRow.__slots__)
        with self._read() as connection:
            row = connection.execute(sa.select(*columns).where(suite.c.name == name)).first()
        return None if row is None else SuiteRow(*row)

    def scenarios(self, tag: str, *, until: datetime | None = None, limit: int | None = None) -> list[ScenarioRow]:
        """Return the scenarios of ``tag`` that existed at ``until``, in their order (``in_order``).

        That order is as good as random and always the same: a run that stops early has seen a random sample,
        and two models with the same limit see the same scenarios.

        Raises:
            NothingMatchedError: The tag has none.
        """
        columns = (getattr(scenario.c, name) for name in ScenarioRow.__slots__)
        query = sa.select(*columns).where(scenario.c.tag == tag).order_by(*in_order()).limit(limit)
        if until is not None:
            query = query.where(scenario.c.created_at <= until)
        with self._read() as connection:
            rows = [ScenarioRow(*row) for row in connection.execute(query)]
        if not rows:
            raise NothingMatchedError(
                f"no scenarios under the tag {tag!r}", hint="`toollog replay list` shows the tags"
            )
        return rows

    def tags(self) -> list[Row]:
        """Return the tags with their numbers of scenarios and steps, newest first."""
        newest = sa.func.max(scenario.c.created_at).label("newest_at")
        query = (
            sa.select(
                scenario.c.tag,
                sa.func.count().label("scenarios"),
                sa.func.sum(scenario.c.n_steps).label("steps"),
                sa.type_coerce(newest, scenario.c.created_at.type).label("newest_at"),
            )
            .group_by(scenario.c.tag)
            .order_by(sa.desc("newest_at"))
        )
        with self._read() as connection:
            return [row._asdict() for row in connection.execute(query)]


def in_order() -> tuple[sa.ColumnElement[Any], ...]:
    """Return the order of the scenarios of a tag: that of their content hashes when they were frozen.

    A suite is stored in that order. Redaction gives scenarios other hashes, and a run with a limit must stay one of
    the same scenarios; so only what an earlier version froze, in any order, still goes by the hash itself.
    """
    is_suite = sa.exists().where(suite.c.name == scenario.c.tag)
    return sa.case((is_suite, sa.null()), else_=scenario.c.hash), scenario.c.id


class Counted(Protocol):
    """What of a scenario decides about the hash of its suite."""

    @property
    def hash(self) -> bytes: ...  # noqa: D102
    @property
    def weight(self) -> float: ...  # noqa: D102
    @property
    def stratum(self) -> str | None: ...  # noqa: D102
    @property
    def cluster(self) -> str | None: ...  # noqa: D102


def suite_hash(scenarios: Iterable[Counted]) -> bytes:
    """Return the hash of a suite: of what it asks, and of how much each scenario counts."""
    parts = sorted([new.hash.hex(), new.weight, new.stratum, new.cluster] for new in scenarios)
    return content_hash("suite", parts)


def redacted_twin(digest: bytes, uid: str) -> bytes:
    """Return the hash of a scenario that redaction has made equal to another one of its suite."""
    return bytes_hash("scenario", digest + uid.encode())


def _row(tag: str, new: NewScenario) -> Row:
    return {
        "uid": uuid7(),
        "tag": tag,
        **{slot: getattr(new, slot) for slot in NewScenario.__slots__},
        "created_at": datetime.now(UTC),
    }
