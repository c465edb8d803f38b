"""One conversation as a person reads it: turns, their steps with calls beside results, and the branches beside them.

*Theory.* A conversation may have thousands of steps, so it is read from a place on, as much as fits a page: first only
which exchange continues which, of the turns that may fit; then the texts of the steps that are shown. Of each text the
beginning is read and how long all of it is. The main line of a turn is that of ``store.turns``; what is beside it are
its branches: the same question answered again, or another one asked in its place.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.answers.shown_labels import labels_on
from tarx_toollog.store.labels import LabelRow
from tarx_toollog.store.named import begins_with, is_called
from tarx_toollog.store.schema import call_uid, conversation, exchange, message, node, tool_call, tool_result, turn
from tarx_toollog.store.turns import main_line
from tarx_toollog.store.types import SafeText, among

WEIGHT = 60
"""Steps and calls of one page together."""
TEXT = 1_500
"""Characters of a text that are read."""
_SEVERAL = 3  # of one beginning, as an example
_TURNS = 25  # looked at for one page: one with few steps has at least two of weight
_PART = 2_000  # steps and calls that are read at once where all are wanted
_BRANCHES = 8  # of one turn that are shown


class Shown(NamedTuple):
    """The beginning of a text."""

    text: str
    size: int
    """Characters of all of it."""


@dataclass(frozen=True, slots=True)
class CallTrace:
    """A call beside its result."""

    uid: str
    name: str
    arguments: Shown
    argument_state: str
    schema_state: str
    schema_errors: Sequence[Any]
    offered: bool
    complete: bool
    origin: str
    result: Shown | None
    """None: no result was seen."""
    result_is_error: bool
    match_how: str | None
    latency_ms: float | None
    labels: tuple[LabelRow, ...]


@dataclass(frozen=True, slots=True)
class StepTrace:
    """An answer with its calls."""

    id: int
    uid: str
    conversation_uid: str | None
    """None: it is of a replay."""
    turn_no: int | None
    step_no: int | None
    started_at: datetime
    model: str | None
    outcome: str
    finish_reason: str | None
    error_text: str | None
    first_byte_ms: float | None
    total_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    truncation: str | None
    answer: Shown | None
    calls: tuple[CallTrace, ...]
    labels: tuple[LabelRow, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """What was answered beside the main line of a turn."""

    asked: Shown | None
    """What the user asked in place of it; None: the same."""
    steps: tuple[StepTrace, ...]


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """One turn, or a part of it."""

    turn_no: int
    user: Shown | None
    signature: str
    status: str
    n_steps: int
    duration_ms: float | None
    steps: tuple[StepTrace, ...]
    branches: tuple[Branch, ...]
    n_branches: int
    """All of them: a page shows some."""


class Place(NamedTuple):
    """A step of a conversation."""

    turn_no: int
    step_no: int


BEGINNING = Place(1, 1)


@dataclass(frozen=True, slots=True)
class ConversationTrace:
    """A conversation from a place on."""

    id: int
    uid: str
    external_id: str | None
    source: str
    split: str
    first_at: datetime
    last_at: datetime
    n_turns: int
    n_steps: int
    n_calls: int
    labels: tuple[LabelRow, ...]
    turns: tuple[TurnTrace, ...]
    next: Place | None
    """Where the next page begins."""


@dataclass(slots=True)
class _Plan:
    """Which exchanges of a turn are shown."""

    row: Any
    line: list[Any]
    branches: list[list[Any]] = field(default_factory=list)
    n_branches: int = 0


def conversation_trace(
    connection: sa.Connection, name: str, start: Place = BEGINNING, weight: int = WEIGHT
) -> ConversationTrace:
    """Return a conversation from a place on.

    Args:
        connection: May only read.
        name: Its uid, the beginning of it, or the client's own id.
        start: Where to begin.
        weight: Steps and calls that are shown.

    Raises:
        NothingMatchedError: There is no such conversation.
        ConfigError: There are several.
    """
    facts = _facts(connection, name)
    plans, following = _plans(connection, facts.id, start, weight)
    rows = [row for plan in plans for row in (*plan.line, *(step for branch in plan.branches for step in branch))]
    steps = traced_steps(connection, [row.id for row in rows])
    users = {plan.row.user_message_id for plan in plans}
    users |= {branch[0].user_message_id for plan in plans for branch in plan.branches}
    texts = _texts(connection, users)
    labels = labels_on(connection, {"conversation": [facts.uid]})
    counts = connection.execute(_COUNTS, {"id": facts.id}).one()._asdict()
    figures: dict[str, Any] = {name: int(value or 0) for name, value in counts.items()}
    return ConversationTrace(
        **facts._asdict(),
        **figures,
        labels=labels.get(facts.uid, ()),
        turns=tuple(_turn(plan, steps, texts) for plan in plans),
        next=following,
    )


def whole_conversation(connection: sa.Connection, name: str) -> Iterator[ConversationTrace]:
    """Yield a conversation in parts, from its beginning to its end.

    Raises:
        NothingMatchedError: There is no such conversation.
        ConfigError: There are several.
    """
    place: Place | None = BEGINNING
    while place is not None:
        part = conversation_trace(connection, name, place, _PART)
        yield part
        place = part.next


# ---- which exchanges ------------------------------------------------------------------------------------------------

_COUNTS = sa.select(
    sa.func.count().label("n_turns"),
    sa.func.sum(turn.c.n_steps).label("n_steps"),
    sa.func.sum(turn.c.chain_length + turn.c.n_leaked).label("n_calls"),
).where(turn.c.conversation_id == sa.bindparam("id"))


def _facts(connection: sa.Connection, name: str) -> sa.Row[Any]:
    names = ("id", "uid", "external_id", "source", "split", "first_at", "last_at")
    query = sa.select(*(conversation.c[one] for one in names)).limit(_SEVERAL)
    for way in (conversation.c.uid == name, is_called(name), begins_with(conversation.c.uid, name)):
        found = connection.execute(query.where(way)).all()
        if len(found) > 1:
            shown = ", ".join(row.uid for row in found)
            raise ConfigError(f"{name!r} fits several conversations", hint=f"give more of the id, for example {shown}")
        if found:
            return found[0]
    raise NothingMatchedError(f"no conversation {name!r}", hint="`toollog conversations list` shows their ids")


def _plans(connection: sa.Connection, key: int, start: Place, weight: int) -> tuple[list[_Plan], Place | None]:
    """Return what is shown of each turn, and the place where the next page begins."""
    turns = connection.execute(
        sa.select(turn)
        .where(turn.c.conversation_id == key, turn.c.turn_no >= start.turn_no)
        .order_by(turn.c.turn_no)
        .limit(_TURNS + 1)
    ).all()
    there = _skeleton(connection, key, turns[:_TURNS])
    plans: list[_Plan] = []
    left = weight
    for row in turns[:_TURNS]:
        within = there.get(row.turn_no, {})
        parents = {one.id: one.parent_exchange_id for one in within.values()}
        whole = main_line(row.last_exchange_id, parents) if row.last_exchange_id is not None else []
        line = [within[one] for one in whole]
        line = [one for one in line if row.turn_no > start.turn_no or one.step_no >= start.step_no]
        plan = _Plan(row, [])
        for step in line:
            if left <= 0:
                return [*plans, plan] if plan.line else plans, Place(row.turn_no, step.step_no)
            plan.line.append(step)
            left -= _weight(step)
        branches = _branches(within, set(whole))
        plan.n_branches = len(branches)
        for branch in branches[:_BRANCHES]:
            if left > 0:
                plan.branches.append(branch[: max(1, left)])
                left -= sum(map(_weight, branch))
        plans.append(plan)
    return plans, Place(turns[_TURNS].turn_no, 1) if len(turns) > _TURNS else None


def _skeleton(connection: sa.Connection, key: int, turns: Sequence[Any]) -> dict[int, dict[int, Any]]:
    """Return the exchanges of turns: number → key → row."""
    found: dict[int, dict[int, Any]] = {}
    if turns:
        names = ("id", "turn_no", "step_no", "parent_exchange_id", "user_message_id", "n_tool_calls", "n_leaked_calls")
        query = sa.select(*(exchange.c[name] for name in names)).where(
            exchange.c.conversation_id == key,
            exchange.c.turn_no.between(turns[0].turn_no, turns[-1].turn_no),
            exchange.c.n_inner == 0,
        )
        for row in connection.execute(query.order_by(exchange.c.id)):
            found.setdefault(row.turn_no, {})[row.id] = row
    return found


def _branches(within: dict[int, Any], main: set[int]) -> list[list[Any]]:
    """Return what of a turn is not on its main line: each branch from where it leaves, in the order of its steps."""
    grouped: dict[int, list[Any]] = {}
    for key, row in within.items():
        if key not in main:
            root, seen = row, {key}
            while (above := root.parent_exchange_id) in within and above not in main and above not in seen:
                seen.add(above)
                root = within[above]
            grouped.setdefault(root.id, []).append(row)
    return [sorted(rows, key=lambda row: (row.step_no, row.id)) for rows in grouped.values()]


def _weight(row: Any) -> int:
    return 1 + int(row.n_tool_calls + row.n_leaked_calls)


# ---- their texts ----------------------------------------------------------------------------------------------------


def _cut(text: sa.ColumnElement[Any], name: str) -> Iterator[sa.ColumnElement[Any]]:
    """Yield the columns with the beginning of a text and with its length."""
    # The type again: without it, what no database accepts would stay escaped.
    yield sa.type_coerce(sa.func.substr(text, 1, TEXT), SafeText).label(name)
    yield sa.func.length(text).label(f"{name}_size")


_IDS: sa.BindParameter[str] = sa.bindparam("ids", type_=sa.Text)
_FACTS = (
    "id", "uid", "turn_no", "step_no", "started_at", "outcome", "finish_reason", "error_text", "first_byte_ms",
    "total_ms", "input_tokens", "output_tokens", "truncation",
)  # fmt: skip
_SAID = sa.func.coalesce(message.c.text, message.c.content)
_STEPS = (
    sa.select(
        *(exchange.c[name] for name in _FACTS),
        conversation.c.uid.label("conversation_uid"),
        sa.func.coalesce(exchange.c.response_model, exchange.c.request_model).label("model"),
        *_cut(_SAID, "answer"),
    )
    .outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
    .outerjoin(node, node.c.id == exchange.c.output_node_id)
    .outerjoin(message, message.c.id == node.c.message_id)
    .where(among(exchange.c.id, _IDS))
)
_CALL_FACTS = ("name", "argument_state", "schema_state", "schema_errors", "offered", "complete", "origin")
_CALLS = (
    sa.select(
        tool_call.c.exchange_id,
        call_uid().label("uid"),
        *(tool_call.c[name] for name in _CALL_FACTS),
        *_cut(tool_call.c.arguments, "arguments"),
        *_cut(sa.func.coalesce(tool_result.c.text, _SAID), "result"),
        tool_result.c.is_error,
        tool_result.c.match_how,
        tool_result.c.latency_ms,
    )
    .join(exchange, exchange.c.id == tool_call.c.exchange_id)
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .outerjoin(message, message.c.id == tool_result.c.message_id)
    .where(among(tool_call.c.exchange_id, _IDS))
    .order_by(tool_call.c.exchange_id, tool_call.c.choice, tool_call.c.ordinal)
)
_MESSAGES = sa.select(message.c.id, *_cut(_SAID, "said")).where(among(message.c.id, _IDS))


def traced_steps(connection: sa.Connection, ids: Sequence[int]) -> dict[int, StepTrace]:
    """Return exchanges as steps, by their keys."""
    given = {"ids": json.dumps(list(ids))}
    rows = connection.execute(_STEPS, given).all()
    calls: dict[int, list[Any]] = {}
    for call in connection.execute(_CALLS, given):
        calls.setdefault(call.exchange_id, []).append(call)
    uids = [call.uid for made in calls.values() for call in made]
    labels = labels_on(connection, {"exchange": [row.uid for row in rows], "tool_call": uids})
    return {
        row.id: StepTrace(
            **{name: getattr(row, name) for name in (*_FACTS, "conversation_uid", "model")},
            answer=None if row.answer is None else Shown(row.answer, row.answer_size),
            calls=tuple(_call(call, labels.get(call.uid, ())) for call in calls.get(row.id, ())),
            labels=labels.get(row.uid, ()),
        )
        for row in rows
    }


def _call(row: sa.Row[Any], labels: tuple[LabelRow, ...]) -> CallTrace:
    facts = {name: getattr(row, name) for name in ("uid", *_CALL_FACTS)}
    return CallTrace(
        **facts | {"schema_errors": row.schema_errors or ()},
        arguments=Shown(row.arguments, row.arguments_size),
        result=None if row.match_how is None else Shown(row.result or "", row.result_size or 0),
        result_is_error=bool(row.is_error),
        match_how=row.match_how,
        latency_ms=row.latency_ms,
        labels=labels,
    )


def _texts(connection: sa.Connection, ids: Iterable[int | None]) -> dict[int, Shown]:
    wanted = {"ids": json.dumps([one for one in ids if one is not None])}
    return {row.id: Shown(row.said or "", row.said_size or 0) for row in connection.execute(_MESSAGES, wanted)}


def _turn(plan: _Plan, steps: dict[int, StepTrace], texts: dict[int, Shown]) -> TurnTrace:
    row = plan.row
    branches = (
        Branch(
            None if branch[0].user_message_id == row.user_message_id else texts.get(branch[0].user_message_id),
            tuple(steps[step.id] for step in branch),
        )
        for branch in plan.branches
    )
    return TurnTrace(
        **{name: getattr(row, name) for name in ("turn_no", "signature", "status", "n_steps", "duration_ms")},
        user=texts.get(row.user_message_id),
        steps=tuple(steps[step.id] for step in plan.line),
        branches=tuple(branches),
        n_branches=plan.n_branches,
    )
