"""The chat templates that servers were seen with: kept as texts, so that training can use the one that is served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.filters import Filters, exchange_conditions
from tarx_toollog.store.schema import BUILD_NAME, chat_template, exchange, model_build
from tarx_toollog.store.where import heeding
from tarx_toollog.wire.model_facts import ChatTemplate

_KNOWN = sa.select(chat_template.c.id).where(chat_template.c.hash == sa.bindparam("hash"))
_NEW = {
    dialect: insert(chat_template).on_conflict_do_nothing()
    for dialect, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_N_EXCHANGES = (
    sa.select(sa.func.count())
    .where(exchange.c.model_build_id == model_build.c.id, exchange.c.run_id.is_(None))
    .scalar_subquery()
)
_TEMPLATES: sa.Select[Any] = sa.select(
    BUILD_NAME.label("build"),
    model_build.c.chat_template_hash.label("hash"),
    chat_template.c.syntax,
    chat_template.c.text,
    chat_template.c.tool_text,
    chat_template.c.bos_token,
    chat_template.c.eos_token,
).select_from(model_build)
_IS_OF_BUILD = chat_template.c.hash == model_build.c.chat_template_hash
_LATEST_FIRST = (model_build.c.last_seen_at.desc(), model_build.c.id.desc())
_MOST_USED: sa.Select[Any] = (
    _TEMPLATES.join(chat_template, _IS_OF_BUILD).order_by(_N_EXCHANGES.desc(), *_LATEST_FIRST).limit(1)
)


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A chat template, and the build that it was seen with."""

    build: str
    """Name of the build: its label, else the name made of its file."""
    hash: str
    """``model_build.chat_template_hash``."""
    syntax: Literal["jinja", "go"]
    text: str
    tool_text: str | None
    """The one for requests with tools, where the server keeps another."""
    bos_token: str | None
    eos_token: str | None

    @property
    def tokens(self) -> Mapping[str, str]:
        """The special tokens that the server told, by the names that templates use."""
        found = {"bos_token": self.bos_token, "eos_token": self.eos_token}
        return {name: text for name, text in found.items() if text is not None}


class Served(NamedTuple):
    """The chat templates behind a part of the log."""

    template: StoredTemplate | None
    """The one behind most of its exchanges, of those whose text is known."""
    others: tuple[str, ...]
    """Builds that answered there, too, with another template or without telling theirs; the most used first."""


def write_template(connection: sa.Connection, template: ChatTemplate | None) -> None:
    """Keep a template, if it is a new one."""
    if template is None or connection.execute(_KNOWN, {"hash": template.hash}).first() is not None:
        return
    values = {name: getattr(template, name) for name in ("syntax", "text", "tool_text", "bos_token", "eos_token")}
    connection.execute(_NEW[connection.dialect.name], {"hash": template.hash, **values})


def template_of(engine: sa.Engine, build: str | None = None) -> StoredTemplate | None:
    """Return the chat template of a build; None where no server told its text.

    Args:
        engine: An engine that may read.
        build: The build's uid, the beginning of it, its label or its name; left out, the one that answered most
            exchanges of live traffic, the latest seen of equals, among those whose template is known.

    Raises:
        NothingMatchedError: There is no such build.
        ConfigError: Several builds are meant, and their templates differ.
    """
    with engine.connect() as connection:
        row: sa.Row[Any] | None
        if build is None:
            row = connection.execute(_MOST_USED).first()
        else:
            row = _only(build, connection.execute(_found(build)).all())
    return None if row is None or row.text is None else StoredTemplate(**row._asdict())


def served_templates(engine: sa.Engine, filters: Filters) -> Served:
    """Return what the exchanges that are meant were served with; where no build of theirs is known, what all were.

    Args:
        engine: An engine that may read.
        filters: What is meant.
    """
    with engine.connect() as connection, heeding(connection, filters.where):
        rows = connection.execute(_behind(filters)).all()
    known = next((row for row in rows if row.text is not None), None)
    if known is None:
        # Nobody says what a build without a template was served with: least of all another build.
        return Served(None if rows or filters.builds else template_of(engine), ())
    others = dict.fromkeys(row.build for row in rows if row.hash != known.hash)
    return Served(StoredTemplate(**known._asdict()), tuple(others))


def _behind(filters: Filters) -> sa.Select[Any]:
    """Return the query for the builds that answered the exchanges, with their templates, the most used first."""
    is_meant = (exchange.c.model_build_id.is_not(None), *exchange_conditions(filters))
    n_exchanges = sa.func.count().label("n_exchanges")
    used = sa.select(exchange.c.model_build_id, n_exchanges).where(*is_meant).group_by(exchange.c.model_build_id)
    counted = used.subquery()
    return (
        _TEMPLATES.join(counted, counted.c.model_build_id == model_build.c.id)
        .outerjoin(chat_template, _IS_OF_BUILD)
        .order_by(counted.c.n_exchanges.desc(), *_LATEST_FIRST)
    )


def _found(build: str) -> sa.Select[Any]:
    name = sa.literal(build)
    is_meant = (name == BUILD_NAME) | (name == model_build.c.name)
    if build:
        is_meant |= model_build.c.uid.startswith(build, autoescape=True)
    # Outer: whether builds have the same template is known also where its text is not.
    return _TEMPLATES.outerjoin(chat_template, _IS_OF_BUILD).where(is_meant).order_by(*_LATEST_FIRST)


def _only(build: str, found: Sequence[sa.Row[Any]]) -> sa.Row[Any]:
    if not found:
        raise NothingMatchedError(f"no build {build!r}", hint="`toollog builds list` shows them")
    if len({row.hash for row in found}) > 1:
        names = ", ".join(sorted({row.build for row in found})[:3])
        raise ConfigError(f"{build!r} fits builds with several templates: {names}", hint="name one by its build_uid")
    return found[0]
