"""What replay has made of a conversation and holds its text: scenarios, and the trials that asked them.

A scenario is known by the conversation that it was frozen from. A probe may have put turns of other conversations
before its question; such a scenario is known by what these say.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys
from tarx_toollog.store.retention.dialogues import remove_exchanges
from tarx_toollog.store.retention.rows import Counts, remove
from tarx_toollog.store.schema import dataset_build, dataset_example, exchange, run, scenario, suite, trial
from tarx_toollog.store.suites import suite_hash

_PAGE = 100  # scenarios read at once; each may hold a history of a hundred messages


@dataclass(frozen=True, slots=True)
class Held:
    """What holds a conversation's text beside itself."""

    scenarios: Sequence[int] = ()
    """Their keys."""
    suites: Sequence[tuple[str, int]] = ()
    """Names of suites, and how many of their scenarios these are."""
    runs: Sequence[str] = ()
    """Names of runs that asked them."""
    trials: int = 0
    exchanges: Sequence[int] = ()
    """Keys of the exchanges of these trials, and of those that such a run was killed over."""

    def in_words(self) -> str:
        """Return it in one line."""
        named = ", ".join(f"{n} of {name}" for name, n in self.suites)
        asked = f", and {self.trials} trials of {', '.join(self.runs)}" if self.trials else ""
        return f"{len(self.scenarios)} scenarios ({named}){asked}"


def held(connection: sa.Connection, uids: Collection[str], texts: Collection[str]) -> Held:
    """Return what replay holds of conversations.

    Args:
        connection: Reading is enough.
        uids: Of the conversations.
        texts: What only they say.
    """
    keys = sorted({*_frozen_from(connection, uids), *_that_say(connection, texts)})
    if not keys:
        return Held()
    is_one = among_keys(scenario.c.id, keys)
    tags = Counter(connection.scalars(sa.select(scenario.c.tag).where(is_one)).all())
    of_them = among_keys(trial.c.scenario_id, keys)
    runs = connection.execute(
        sa.select(run.c.id, run.c.name).where(run.c.id.in_(sa.select(trial.c.run_id).where(of_them)))
    )
    names = {row.id: row.name for row in runs}
    n_trials = connection.scalar(sa.select(sa.func.count()).select_from(trial).where(of_them)) or 0
    asked = sa.select(trial.c.exchange_id).where(of_them, trial.c.exchange_id.is_not(None))
    is_known = sa.select(sa.literal(1)).where(trial.c.exchange_id == exchange.c.id).exists()
    in_vain = sa.select(exchange.c.id).where(among_keys(exchange.c.run_id, sorted(names)), ~is_known)
    exchanges = sorted({*connection.scalars(asked), *connection.scalars(in_vain)})
    return Held(keys, sorted(tags.items()), sorted(names.values()), n_trials, exchanges)


def remove_held(connection: sa.Connection, found: Held) -> Counts:
    """Delete scenarios with their trials and the exchanges of these; the suites are counted and hashed anew."""
    gone = remove(connection, scenario, found.scenarios) + remove_exchanges(connection, found.exchanges)
    for name, _ in found.suites:
        columns = (scenario.c.hash, scenario.c.weight, scenario.c.stratum, scenario.c.cluster, scenario.c.n_steps)
        left = connection.execute(sa.select(*columns).where(scenario.c.tag == name)).all()
        values = {"hash": suite_hash(left), "n_scenarios": len(left), "n_steps": sum(row.n_steps for row in left)}
        connection.execute(sa.update(suite).where(suite.c.name == name).values(**values))
    return gone


def builds_with(connection: sa.Connection, exchanges: Sequence[int]) -> list[str]:
    """Return the builds of training data whose files hold answers of these exchanges."""
    within = sa.select(dataset_example.c.dataset_build_id).where(
        among_keys(dataset_example.c.exchange_id, list(exchanges)), dataset_example.c.copies > 0
    )
    query = sa.select(dataset_build.c.name).where(dataset_build.c.id.in_(within)).order_by(dataset_build.c.id)
    return list(connection.scalars(query))


def _frozen_from(connection: sa.Connection, uids: Collection[str]) -> list[int]:
    return list(connection.scalars(sa.select(scenario.c.id).where(scenario.c.conversation_uid.in_(sorted(uids)))))


def _that_say(connection: sa.Connection, texts: Collection[str]) -> list[int]:
    forms = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in texts for ascii_only in (False, True)}
    found: list[int] = []
    last: int | None = 0
    while forms and last is not None:
        stored: sa.ColumnElement[str] = sa.literal_column("scenario.definition", sa.Text).label("stored")
        query = sa.select(scenario.c.id, stored).where(scenario.c.id > last).order_by(scenario.c.id).limit(_PAGE)
        rows = connection.execute(query).all()
        found += [row.id for row in rows if any(form in row.stored for form in forms)]
        last = rows[-1].id if rows else None
    return found
