"""The chat templates that servers were seen with: kept as texts, so that training can use the one that is served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.schema import BUILD_NAME, chat_template, exchange, model_build
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
