"""Which part of the log a person means: times, tools, models, outcomes, splits, labels, a condition, one conversation.

``Filters`` is the vocabulary that lists, export and replay share. The functions below it turn one into
conditions on the tables; nothing here runs a query.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError
from tarx_toollog.model import Outcome
from tarx_toollog.store.label_filter import has_label, require_labels
from tarx_toollog.store.named import begins_with, is_called
from tarx_toollog.store.schema import BUILD_NAME, conversation, exchange, model_build, tool_call, turn
from tarx_toollog.store.splits import SPLITS
from tarx_toollog.store.where import read_where, where_on_exchange, where_on_turn

Condition = sa.ColumnElement[bool]

_OF_SPLIT = conversation.alias("of_split")  # an alias: the query around it may read conversations, too
_AGO = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Filters:
    """What to take. An empty field does not restrict; several values of one field are alternatives."""

    since: datetime | None = None
    """From this moment on."""
    until: datetime | None = None
    """Up to, and without, this moment."""
    tools: frozenset[str] = frozenset()
    """Tools, one of which was called."""
    models: frozenset[str] = frozenset()
    """Model names, as requested or as answered."""
    builds: frozenset[str] = frozenset()
    """Builds of a model that answered: their names or labels, as the views show them."""
    outcomes: frozenset[str] = frozenset()
    """How the exchange ended."""
    splits: frozenset[str] = frozenset()
    """What the conversation is kept for: train, dev, eval."""
    conversation: str | None = None
    """The uid of a conversation, its beginning, or the client's own id."""
    labels: frozenset[str] = frozenset()
    """Labels in force, ``NAME`` or ``NAME=VALUE``: on the conversation, the exchange, or one of its calls."""
    where: str | None = None
    """A condition in SQL over the columns of ``v_exchanges``, ``v_tool_calls`` or ``v_turns``; asked under
    ``store.where.heeding``."""
    limit: int | None = None
    """At most this many, newest first in lists, oldest first in export and replay."""

    @classmethod
    def parse(
        cls,
        *,
        since: str | None = None,
        until: str | None = None,
        tools: Iterable[str] = (),
        models: Iterable[str] = (),
        builds: Iterable[str] = (),
        outcomes: Iterable[str] = (),
        splits: Iterable[str] = (),
        conversation: str | None = None,
        labels: Iterable[str] = (),
        where: str | None = None,
        limit: int | None = None,
    ) -> "Filters":
        """Return filters from what a person typed.

        Example:
            >>> Filters.parse(since="2026-05-01", tools=["tarx_recall"]).since
            datetime.datetime(2026, 5, 1, 0, 0, tzinfo=datetime.timezone.utc)

        Raises:
            ConfigError: A time cannot be read, there is no such outcome or split, a label has no name, the condition is
                none, or the limit is below 1.
        """
        if limit is not None and limit < 1:
            raise ConfigError(f"limit must be 1 or more, not {limit}", hint="leave it out for no limit")
        if where is not None:
            read_where(where)
        return cls(
            since=None if since is None else parse_time(since),
            until=None if until is None else parse_time(until),
            tools=frozenset(tools),
            models=frozenset(models),
            builds=frozenset(builds),
            outcomes=_known("outcome", outcomes, [str(outcome) for outcome in Outcome]),
            splits=_known("split", splits, SPLITS),
            conversation=conversation or None,
            labels=require_labels(frozenset(labels)),
            where=where,
            limit=limit,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields that restrict, in a fixed order, for a manifest."""
        values: dict[str, Any] = {
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "tools": sorted(self.tools),
            "models": sorted(self.models),
            "builds": sorted(self.builds),
            "outcomes": sorted(self.outcomes),
            "splits": sorted(self.splits),
            "conversation": self.conversation,
            "labels": sorted(self.labels),
            "where": self.where,
            "limit": self.limit,
        }
        return {name: value for name, value in values.items() if value not in (None, [])}


def parse_time(text: str, *, now: datetime | None = None) -> datetime:
    """Return the moment that ``text`` means: ``30m``, ``24h``, ``7d``, ``2w`` ago, or an ISO date or time.

    A time without a zone is UTC, like every time in the log.

    Args:
        text: What the person typed.
        now: The moment from which ``7d`` counts; the clock when left out.

    Raises:
        ConfigError: It is neither.
    """
    stripped = text.strip()
    try:
        if ago := _AGO.fullmatch(stripped):
            start = now or datetime.now(UTC)
            return start - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(stripped)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"cannot read the time {text!r}", hint="write 30m, 24h, 7d or 2w (ago), 2026-05-31, or 2026-05-31T14:00"
        ) from None


def exchange_conditions(filters: Filters) -> list[Condition]:
    """Return the conditions on ``exchange``; replays are never meant."""
    found: list[Condition] = [exchange.c.run_id.is_(None), *times_within(exchange.c.started_at, filters)]
    if filters.outcomes:
        found.append(exchange.c.outcome.in_(sorted(filters.outcomes)))
    if filters.models:
        found.append(model_is(filters))
    if filters.builds:
        # A sum has no index: a build has a great part of the log, and to sort that takes longer than to look at it.
        found.append((exchange.c.model_build_id + 0).in_(build_ids(filters)))
    if filters.tools:
        calls = sa.select(tool_call.c.id).where(
            tool_call.c.exchange_id == exchange.c.id, tool_call.c.name.in_(sorted(filters.tools))
        )
        found.append(calls.exists())
    if filters.splits:
        # Of each exchange, since a split has a great many conversations.
        kept_for = sa.select(_OF_SPLIT.c.split).where(_OF_SPLIT.c.id == exchange.c.conversation_id)
        found.append(kept_for.scalar_subquery().in_(sorted(filters.splits)))
    if filters.conversation:
        found.append(exchange.c.conversation_id.in_(conversation_ids(filters.conversation)))
    if filters.labels:
        found.append(has_label(filters.labels))
    if filters.where is not None:
        found.append(where_on_exchange(read_where(filters.where)))
    return found


def turn_conditions(filters: Filters) -> list[Condition]:
    """Return the conditions on ``turn``: one of its exchanges, or one of its calls, is what is meant."""
    found = times_within(turn.c.started_at, filters)
    within = sa.select(exchange.c.id).where(
        exchange.c.conversation_id == turn.c.conversation_id, exchange.c.turn_no == turn.c.turn_no
    )
    if filters.outcomes:
        found.append(within.where(exchange.c.outcome.in_(sorted(filters.outcomes))).exists())
    if filters.models:
        found.append(within.where(model_is(filters)).exists())
    if filters.builds:
        found.append(within.where(exchange.c.model_build_id.in_(build_ids(filters))).exists())
    if filters.tools:
        calls = sa.select(tool_call.c.id).where(
            tool_call.c.conversation_id == turn.c.conversation_id,
            tool_call.c.turn_no == turn.c.turn_no,
            tool_call.c.name.in_(sorted(filters.tools)),
        )
        found.append(calls.exists())
    if filters.splits:
        found.append(turn.c.conversation_id.in_(_of_splits(filters)))
    if filters.conversation:
        found.append(turn.c.conversation_id.in_(conversation_ids(filters.conversation)))
    if filters.labels:
        found.append(within.where(has_label(filters.labels)).exists())
    if filters.where is not None:
        found.append(where_on_turn(read_where(filters.where)))
    return found


def conversation_ids(name: str) -> sa.Select[tuple[int]]:
    """Return the query for the keys of the conversations that ``name`` may mean."""
    return sa.select(conversation.c.id).where(begins_with(conversation.c.uid, name) | is_called(name))


def times_within(column: sa.Column[datetime], filters: Filters) -> list[Condition]:
    """Return the conditions on a moment: it lies in the period."""
    found: list[Condition] = []
    if filters.since is not None:
        found.append(column >= filters.since)
    if filters.until is not None:
        found.append(column < filters.until)
    return found


def build_ids(filters: Filters) -> sa.Select[tuple[int]]:
    """Return the query for the keys of the builds that are meant, by label or by name."""
    names = sorted(filters.builds)
    return sa.select(model_build.c.id).where(BUILD_NAME.in_(names) | model_build.c.name.in_(names))


def model_is(filters: Filters) -> Condition:
    """Return the condition on ``exchange``: a model of these names was asked for, or answered."""
    names = sorted(filters.models)
    return exchange.c.request_model.in_(names) | exchange.c.response_model.in_(names)


def _of_splits(filters: Filters) -> sa.Select[tuple[int]]:
    return sa.select(conversation.c.id).where(conversation.c.split.in_(sorted(filters.splits)))


def _known(what: str, given: Iterable[str], known: Collection[str]) -> frozenset[str]:
    names = frozenset(given)
    for name in sorted(names):
        if name not in known:
            raise ConfigError(f"unknown {what} {name!r}", hint=f"known: {', '.join(sorted(known))}")
    return names
