"""Model builds in the store: what a probe found becomes rows, and every exchange learns which build answered it.

*Theory.* A probe asks a server what it serves, now and then, in the background; exchanges come at any time. Probes
of one *place* (base URL and model name) that agree, each at most ``STRETCH`` after the one before, make a
*sighting*: a period in which that build was there. An exchange gets a build

* inside a sighting: the one of the sighting, since the probes before and after it agree;
* outside, but at most ``NEAR`` after one or before one: the same, unless the sightings on its two sides disagree;
* else none. Nothing is guessed: a server that was started anew with another file under the same name leaves a few
  exchanges without a build rather than with the wrong one.

Each probe looks again at the exchanges of the last minutes, so what was written before its answer came is put
right: filled in, or taken back where the probe contradicts. The rule needs only rows, therefore live ingestion,
recovery after a crash and several processes on one database are the same code.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.ids import uuid7
from tarx_toollog.model import Outcome
from tarx_toollog.store.engine import store_errors, writer_engine
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import exchange
from tarx_toollog.store.schema.builds import model_build, model_sighting
from tarx_toollog.store.templates import write_template
from tarx_toollog.store.types import UtcDateTime
from tarx_toollog.wire.model_facts import ADAPTERS_PARAM, ModelFacts, fingerprint

Row = dict[str, Any]

NEAR = timedelta(minutes=5)
STRETCH = timedelta(minutes=10)
_LIST_COMMAND = "builds list"
_LOGIN = re.compile(r"(?<=:)//[^/?#]*@")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is served: what an exchange and a probe have in common."""

    upstream: str
    """Base URL."""
    model: str
    """The model's name in the answers of that server; empty where they name none."""

    @classmethod
    def of(cls, upstream: str, model: str | None) -> "Place":
        """Return the place of a URL as it stands in the settings; a login in it is nobody's business."""
        return cls(_LOGIN.sub("//", upstream), model or "")


@dataclass(frozen=True, slots=True)
class Probed:
    """The result of one probe."""

    place: Place
    facts: ModelFacts | None
    """None when the server did not tell; ``error`` says why."""
    error: str | None
    at: datetime
    """When the answer came."""
    is_assumed: bool = False
    """Whether the exchange's own tap does not know the server, so that the one of the settings was asked."""


class Known(NamedTuple):
    """A build as an exchange needs it."""

    id: int
    n_ctx: int | None
    """Tokens that one exchange may fill."""


class Sighting(NamedTuple):
    """A period in which every probe of a place found one build."""

    build: Known
    from_at: datetime
    to_at: datetime


_FIND = sa.select(model_build.c.id).where(model_build.c.fingerprint == sa.bindparam("fingerprint"))
_NEW = {
    dialect: insert(model_build).on_conflict_do_nothing().returning(model_build.c.id)
    for dialect, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_TOUCH = (
    sa.update(model_build)
    .where(model_build.c.id == sa.bindparam("build_id"), model_build.c.last_seen_at < sa.bindparam("at"))
    .values(last_seen_at=sa.bindparam("at"))
)
_SIGHTINGS = (
    sa.select(
        model_sighting.c.id,
        model_sighting.c.model_build_id,
        model_build.c.n_ctx,
        model_sighting.c.from_at,
        model_sighting.c.to_at,
    )
    .join(model_build, model_build.c.id == model_sighting.c.model_build_id)
    .where(
        model_sighting.c.upstream == sa.bindparam("upstream"),
        model_sighting.c.model == sa.bindparam("model"),
        model_sighting.c.to_at >= sa.bindparam("since", type_=UtcDateTime()),
    )
    .order_by(model_sighting.c.to_at, model_sighting.c.id)
)
_SPREAD = sa.update(model_sighting).where(model_sighting.c.id == sa.bindparam("sighting_id"))
_SEEN = sa.insert(model_sighting)
_RECENT = sa.select(exchange.c.id, exchange.c.started_at, exchange.c.model_build_id).where(
    exchange.c.started_at >= sa.bindparam("since", type_=UtcDateTime()),
    exchange.c.started_at <= sa.bindparam("until", type_=UtcDateTime()),
    sa.func.coalesce(exchange.c.response_model, exchange.c.request_model, "") == sa.bindparam("model"),
    sa.or_(
        exchange.c.upstream == sa.bindparam("upstream"),
        sa.and_(exchange.c.upstream.is_(None), sa.bindparam("is_assumed", type_=sa.Boolean())),
    ),
    exchange.c.http_status.is_not(None),
    exchange.c.outcome != Outcome.PROXY_ERROR,  # that answer was our own
    exchange.c.run_id.is_(None),  # a replay knows its server from the start
    sa.func.coalesce(sa.cast(exchange.c.params, sa.Text), "").not_like(f'%"{ADAPTERS_PARAM}":%'),
)
_HAS_OWN_LIMIT = sa.or_(
    exchange.c.truncation == "reported",
    sa.and_(exchange.c.ctx_limit.is_not(None), exchange.c.model_build_id.is_(None)),
)
_ASSIGN = (
    sa.update(exchange)
    .where(exchange.c.id == sa.bindparam("exchange_id"))
    .values(
        model_build_id=sa.bindparam("build_id"),
        # What the server said of this very exchange, or the request asked for, is better.
        ctx_limit=sa.case((_HAS_OWN_LIMIT, exchange.c.ctx_limit), else_=sa.bindparam("limit", type_=sa.Integer())),
    )
)


# ---- from a probe ---------------------------------------------------------------------------------------------------


def write_build(connection: sa.Connection, facts: ModelFacts, upstream: str, at: datetime) -> int:
    """Find or insert the build that ``facts`` describe, and its template; note that it was seen; return its key."""
    print_ = fingerprint(facts)
    write_template(connection, facts.template)
    known = connection.execute(_FIND, {"fingerprint": print_}).scalar()
    if known is not None:
        connection.execute(_TOUCH, {"build_id": known, "at": at})
        return int(known)
    values = facts.to_json() | {
        "uid": uuid7(),
        "fingerprint": print_,
        "name": _free_name(connection, facts.name),
        "upstream": upstream,
        "first_seen_at": at,
        "last_seen_at": at,
    }
    inserted = connection.execute(_NEW[connection.dialect.name], values).scalar()
    if inserted is None:  # another process inserted it first
        inserted = connection.execute(_FIND, {"fingerprint": print_}).scalar_one()
    return int(inserted)


def _free_name(connection: sa.Connection, name: str) -> str:
    """Return a name that no other build has: ``a.gguf``, then ``a.gguf (2)``."""
    alike = sa.select(model_build.c.name).where(model_build.c.name.startswith(name, autoescape=True))
    taken = set(connection.scalars(alike))
    numbered = (f"{name} ({number})" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def write_probe(connection: sa.Connection, probed: Probed) -> int | None:
    """Write what a probe found and put the exchanges of the last minutes right; return the key of the build.

    Args:
        connection: The writer's connection.
        probed: The result; one without facts changes nothing.
    """
    if probed.facts is None:
        return None
    place, at = probed.place, probed.at
    rows = connection.execute(_SIGHTINGS, _place_values(place) | {"since": at - STRETCH}).all()
    last = rows[-1] if rows else None
    facts = _with_known_context(connection, probed.facts, last.model_build_id if last else None)
    build_id = write_build(connection, facts, place.upstream, at)
    if last is not None and last.model_build_id == build_id:
        connection.execute(
            _SPREAD, {"sighting_id": last.id, "to_at": max(at, last.to_at)}
        )  # another process may have been faster
    else:
        values = {"model_build_id": build_id, "from_at": at, "to_at": at}
        connection.execute(_SEEN, values | {"upstream": place.upstream, "model": place.model})
    _look_again(connection, probed)
    return build_id


def _with_known_context(connection: sa.Connection, facts: ModelFacts, last_id: int | None) -> ModelFacts:
    """Return the facts with the context of the last build, where only that is missing.

    Ollama tells the context only while the model is loaded. That it was just unloaded makes no other build.
    """
    if facts.n_ctx is not None or last_id is None:
        return facts
    found = connection.execute(sa.select(model_build).where(model_build.c.id == last_id)).one()
    filled = replace(facts, n_ctx=found.n_ctx)
    return filled if fingerprint(filled) == found.fingerprint else facts


def _look_again(connection: sa.Connection, probed: Probed) -> None:
    since = probed.at - STRETCH
    values = _place_values(probed.place)
    sightings = _sightings(connection, probed.place, since - NEAR)
    rows = connection.execute(
        _RECENT, values | {"since": since, "until": probed.at, "is_assumed": probed.is_assumed}
    ).all()
    changes = []
    for row in rows:
        build = attribute(sightings, row.started_at)
        build_id, limit = (None, None) if build is None else build
        if build_id != row.model_build_id:
            changes.append({"exchange_id": row.id, "build_id": build_id, "limit": limit})
    if changes:
        connection.execute(_ASSIGN, changes)


# ---- for an exchange ------------------------------------------------------------------------------------------------


def build_of(connection: Connected, place: Place, at: datetime) -> Known | None:
    """Return the build that answered an exchange, None where no probe can tell (see the module).

    Args:
        connection: Any connection of the store.
        place: Server and model of the exchange.
        at: When it began.
    """
    return attribute(_sightings(connection, place, at - NEAR), at)


def attribute(sightings: Sequence[Sighting], at: datetime) -> Known | None:
    """Return the build that the sightings of one place allow for a moment; None where they do not tell.

    Args:
        sightings: In the order of time.
        at: The moment.
    """
    before = after = None
    for sighting in sightings:
        if sighting.from_at <= at <= sighting.to_at:
            return sighting.build
        if sighting.to_at < at:
            before = sighting
        elif after is None:
            after = sighting
    near = set()
    if before is not None and at - before.to_at <= NEAR:
        near.add(before.build)
    if after is not None and after.from_at - at <= NEAR:
        near.add(after.build)
    return near.pop() if len(near) == 1 else None


def _sightings(connection: Connected, place: Place, since: datetime) -> list[Sighting]:
    rows = connection.execute(_SIGHTINGS, _place_values(place) | {"since": since})
    return [Sighting(Known(row.model_build_id, row.n_ctx), row.from_at, row.to_at) for row in rows]


def _place_values(place: Place) -> dict[str, str]:
    return {"upstream": place.upstream, "model": place.model}


# ---- for people -----------------------------------------------------------------------------------------------------


def builds(engine: sa.Engine) -> list[Row]:
    """Return all builds with the exchanges and tool calls that they answered, the latest seen first."""
    n_exchanges = (
        sa.select(sa.func.count())
        .select_from(exchange)
        .where(exchange.c.model_build_id == model_build.c.id)
        .scalar_subquery()
    )
    n_calls = (
        sa.select(sa.func.coalesce(sa.func.sum(exchange.c.n_tool_calls), 0))
        .where(exchange.c.model_build_id == model_build.c.id)
        .scalar_subquery()
    )
    shown = [column for column in model_build.c if column.name not in ("id", "uid", "fingerprint")]
    query = sa.select(
        model_build.c.uid.label("build_uid"),
        *shown,
        n_exchanges.label("n_exchanges"),
        n_calls.label("n_tool_calls"),
    ).order_by(model_build.c.last_seen_at.desc(), model_build.c.id.desc())
    with engine.connect() as connection:
        return [row._asdict() for row in connection.execute(query)]


def build_detail(engine: sa.Engine, name: str) -> Row:
    """Return one build, with ``sightings``: where and when it was seen.

    Args:
        engine: An engine that may read.
        name: Its uid, the beginning of it, or its label.

    Raises:
        NothingMatchedError: There is none.
        ConfigError: There are several.
    """
    chosen = _one([row for row in builds(engine) if _is_meant(row, name)], name)
    periods = (
        sa.select(
            model_sighting.c.upstream,
            model_sighting.c.model,
            model_sighting.c.from_at,
            model_sighting.c.to_at,
        )
        .join(model_build, model_build.c.id == model_sighting.c.model_build_id)
        .where(model_build.c.uid == chosen["build_uid"])
        .order_by(model_sighting.c.from_at)
    )
    with engine.connect() as connection:
        return chosen | {"sightings": [row._asdict() for row in connection.execute(periods)]}


def set_label(settings: Settings, uid: str, label: str | None) -> None:
    """Give a build a name for people; None takes it away.

    Args:
        settings: Where the database is.
        uid: The whole uid.
        label: The name. Several builds may share one: they are then one contestant to whoever groups by it.

    Raises:
        StoreError: The database cannot be written.
    """
    engine = writer_engine(settings)
    try:
        with store_errors(settings), engine.begin() as connection:
            connection.execute(sa.update(model_build).where(model_build.c.uid == uid).values(label=label))
    finally:
        engine.dispose()


def _is_meant(row: Row, name: str) -> bool:
    return bool(name) and (row["label"] == name or str(row["build_uid"]).startswith(name))


def _one(found: list[Row], name: str) -> Row:
    if not found:
        raise NothingMatchedError(f"no build {name!r}", hint=f"`toollog {_LIST_COMMAND}` shows them")
    if len(found) > 1:
        shown = ", ".join(str(row["build_uid"]) for row in found[:3])
        raise ConfigError(f"{name!r} fits {len(found)} builds", hint=f"give more of the id, for example {shown}")
    return found[0]
