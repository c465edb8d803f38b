"""Which exchanges have a label: the filter ``NAME`` or ``NAME=VALUE``.

A label in force counts: on the exchange, on one of its calls, or on its conversation.
"""

from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.labels import BAD_WORDS, value_of
from tarx_toollog.store.schema import conversation, exchange, label, tool_call

_CALL = tool_call.alias("labelled_call")  # aliases: the query around them may read these tables, too
_NAMED = conversation.alias("labelled_conversation")
_X = exchange.alias("labelled_exchange")
_UID_LENGTH = len("01234567-89ab-7cde-8f01-23456789abcd")


def require_labels(given: Collection[str]) -> frozenset[str]:
    """Return label filters as they were typed.

    Raises:
        ConfigError: One has no name.
    """
    for text in given:
        if not text.partition("=")[0].strip():
            raise ConfigError(f"--label {text!r} has no name", hint="write --label quality, or --label quality=bad")
    return frozenset(given)


def has_label(given: Collection[str]) -> sa.ColumnElement[bool]:
    """Return the condition on ``exchange``: it has one of the labels.

    Args:
        given: ``NAME`` or ``NAME=VALUE``.
    """
    named = sa.select(_NAMED.c.uid).where(_NAMED.c.id == exchange.c.conversation_id)
    uid = named.correlate(exchange).scalar_subquery()
    numbers = [sa.cast(_CALL.c[name], sa.String) for name in ("choice", "ordinal")]
    of_call = sa.and_(
        label.c.target_uid == exchange.c.uid + "." + numbers[0] + "." + numbers[1], _CALL.c.exchange_id == exchange.c.id
    )
    whole = _in_force(given)
    return sa.or_(
        whole.where(label.c.target_type == "exchange", label.c.target_uid == exchange.c.uid).exists(),
        whole.where(label.c.target_type == "conversation", label.c.target_uid == uid).exists(),
        whole.where(label.c.target_type == "tool_call", of_call).exists(),
    )


def labelled_rows(given: Collection[str]) -> sa.Select[tuple[int]]:
    """Return the query for the keys of the exchanges that have one of the labels: quick where they are few."""
    own = _in_force(given, sa.func.substr(label.c.target_uid, 1, _UID_LENGTH))
    whole = _in_force(given, label.c.target_uid)
    found = sa.union(
        sa.select(_X.c.id).where(_X.c.uid.in_(own.where(label.c.target_type != "conversation"))),
        sa.select(_X.c.id)
        .join(_NAMED, _NAMED.c.id == _X.c.conversation_id)
        .where(_NAMED.c.uid.in_(whole.where(label.c.target_type == "conversation"))),
    ).subquery()
    return sa.select(found.c.id)


def _in_force(given: Collection[str], what: sa.ColumnElement[str] | None = None) -> sa.Select[Any]:
    chosen: sa.ColumnElement[str] = label.c.target_uid if what is None else what
    return sa.select(chosen).where(label.c.superseded_by_id.is_(None), sa.or_(*_meant(given)))


def _meant(given: Collection[str]) -> Iterator[sa.ColumnElement[bool]]:
    for text in sorted(given):
        name, sign, value = (part.strip() for part in text.partition("="))
        yield label.c.name == name if not sign else sa.and_(label.c.name == name, _has_value(value.lower()))


def _has_value(value: str) -> sa.ColumnElement[bool]:
    """Say that a label has a value: a number, a word, or good or bad whatever it says that with."""
    word = sa.func.lower(sa.func.trim(sa.func.coalesce(label.c.value_text, "")))
    is_bad = sa.or_(
        label.c.correction.is_not(None), sa.func.coalesce(label.c.value_num, 0) < 0, word.in_(sorted(BAD_WORDS))
    )
    if value == "bad":
        return is_bad
    if value == "good":
        return sa.or_(word == value, sa.and_(label.c.value_num > 0, ~is_bad))
    number, _ = value_of(value)
    return word == value if number is None else sa.or_(word == value, label.c.value_num == number)
