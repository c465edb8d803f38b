"""What is worth a person's look, from the latest of the log: quick, whatever its size.

*Theory.* A label is worth most where something went wrong, where few labels could be (a tool that is seldom called,
a long chain), and where models disagree. The latest calls of every tool are read by an index, and the latest turns;
nothing else is looked at, so that a log of any size answers at once. Where filters mean a part of the log, its latest
turns are looked at with their calls; a split alone is so large a part that the calls of every tool are read all the
same. Of those the worth is a sum of points. The second failure of one kind of one tool says less than the first, so
each further one of a kind is worth less: a page shows what differs. ``replay/suites/label_queue.py`` reads every turn
instead, for a suite.
"""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.few import turns_meant
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import Target
from tarx_toollog.store.schema import (
    conversation,
    exchange,
    label,
    message,
    node,
    run,
    scenario,
    score,
    tool_call,
    tool_result,
    trial,
    turn,
)
from tarx_toollog.store.suites import ScenarioRow
from tarx_toollog.store.tables import LogTables
from tarx_toollog.store.tallies import tallied
from tarx_toollog.store.types import among
from tarx_toollog.store.where import heeding

_Conditions = Sequence[sa.ColumnElement[bool]]

DISAGREEMENT = "disagreement"
"""Reason of an answer that runs of a suite judge differently."""
REASONS = {
    DISAGREEMENT: "runs of a suite disagree about it",
    "not_offered": "the tool was not offered",
    "invalid": "the arguments are no JSON object",
    "schema": "the arguments do not fit the schema",
    "incomplete": "the call was cut off",
    "leaked": "the call stands in the text: nobody executed it",
    "error": "the result is an error",
    "rare": "the tool is seldom called",
    "deep": "the chain is long",
}
"""Why something is proposed. Of several the first is told."""

_TOOLS = 400  # the most seldom called ones: a model that makes up names has no end of them
_CALLS = 2000  # that are looked at in all: some 20 ms
_TURNS = 2000
_DEEP = 4  # calls of a chain that is worth a look for its length alone
_DEEPEST = 40
_RARE = 50  # calls of a tool that is seldom called
_SHOWN = 2000  # characters of a text
_POINTS = {DISAGREEMENT: 6.0, "rare": 0.0, "deep": 0.0}
_FAULT = 3.0  # points; rarity gives up to 2, depth up to 1
_DEPTH = 20  # calls of a chain that cannot be worth more


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that is worth a label."""

    target: Target
    reason: str
    """A key of ``REASONS``."""
    tool: str
    """Its tool; empty for an answer in text."""
    n_calls: int
    """How often that is called in all."""
    chain_length: int
    """Calls of its turn."""
    exchange_uid: str
    conversation_uid: str = ""
    turn_no: int = 0
    step_no: int = 0
    n_steps: int = 0
    """Steps of its turn."""
    signature: str = ""
    user_text: str = ""
    answer: str = ""
    """Text of the answer; empty for a call."""
    arguments: str = ""
    result: str | None = None

    @property
    def worth(self) -> float:
        """How much a label says here."""
        rarity = 2.0 / (1.0 + math.log10(max(self.n_calls, 1))) if self.n_calls else 0.0
        return _POINTS.get(self.reason, _FAULT) + rarity + min(self.chain_length, _DEPTH) / _DEPTH


class LabelQueue(LogTables):
    """Proposes what to label.

    Args:
        log: An open store.
    """

    def proposals(
        self, limit: int | None, *, filters: Filters | None = None, disputed: Iterable[str] = ()
    ) -> list[Proposal]:
        """Return what is worth a label, most worth first; nothing that a person said something about.

        Args:
            limit: At most so many.
            filters: Which turns; their own limit is not heeded.
            disputed: Exchanges that runs of a suite disagree about.

        Raises:
            ConfigError: The condition of the filters is wrong.
        """
        filters = replace(filters or Filters(), limit=None)
        with self._read() as connection, heeding(connection, filters.where):
            uses = {row["tool"]: row["n_calls"] for row in tallied(connection, "calls", ("tool",))}
            if replace(filters, splits=frozenset()) == Filters():
                meant = _kept_for(turn.c.conversation_id, filters.splits)
                calls = _calls(connection, uses, filters.splits)
            else:
                meant = turns_meant(connection, filters)
                calls = _calls_within(connection, uses, meant)
            found = [*_disputed(connection, disputed, meant), *calls, *_deep(connection, meant)]
            left_out = _labelled(connection, found)
            chosen = _best((one for one in found if not {one.target.uid, one.exchange_uid} & left_out), limit)
            return list(_told(connection, chosen))

    def disagreements(self, scorer: str, *, runs: int = 3, limit: int = 30) -> list[tuple[ScenarioRow, int]]:
        """Return the steps of a suite, by number, that some of its latest runs answered rightly and some wrongly.

        Args:
            scorer: Whose verdict counts.
            runs: How many of the latest runs of the suite that was replayed last.
            limit: At most so many.
        """
        newest = sa.select(run.c.tag).order_by(run.c.id.desc()).limit(1).scalar_subquery()
        latest = sa.select(run.c.id).where(run.c.tag == newest).order_by(run.c.id.desc()).limit(runs)
        steps = (
            sa.select(trial.c.scenario_id, trial.c.step_no)
            .join(score, sa.and_(score.c.trial_id == trial.c.id, score.c.scorer == scorer))
            .where(trial.c.run_id.in_(latest), trial.c.attempt == 1, score.c.value.is_not(None))
            .group_by(trial.c.scenario_id, trial.c.step_no)
            .having(sa.func.min(score.c.value) < sa.func.max(score.c.value))
            .order_by(trial.c.scenario_id, trial.c.step_no)
            .limit(limit)
            .subquery()
        )
        columns = (scenario.c[slot] for slot in ScenarioRow.__slots__)
        query = sa.select(*columns, steps.c.step_no).join(steps, steps.c.scenario_id == scenario.c.id)
        with self._read() as connection:
            return [(ScenarioRow(*row), step_no) for *row, step_no in connection.execute(query)]


# ---- candidates: three short looks at the log ------------------------------------------------------------------------

_FAULTS: dict[str, sa.ColumnElement[bool]] = {
    "leaked": tool_call.c.origin == "leaked_text",
    "not_offered": sa.not_(tool_call.c.offered),
    "incomplete": sa.not_(tool_call.c.complete),
    "invalid": tool_call.c.argument_state.not_in(("ok", "empty")),
    "schema": tool_call.c.schema_state == "fail",
    "error": tool_result.c.is_error,
}
_REASON = sa.case(*((fault, sa.literal_column(f"'{name}'")) for name, fault in _FAULTS.items()), else_=None)
_SAME_TURN = sa.and_(turn.c.conversation_id == tool_call.c.conversation_id, turn.c.turn_no == tool_call.c.turn_no)
_FAULTY = (
    sa.select(
        tool_call.c.name, tool_call.c.choice, tool_call.c.ordinal, exchange.c.uid, turn.c.chain_length,
        _REASON.label("reason"),
    )
    .select_from(tool_call)
    .join(exchange, exchange.c.id == tool_call.c.exchange_id)
    .outerjoin(turn, _SAME_TURN)
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .where(sa.or_(among(tool_call.c.name, sa.bindparam("rare", type_=sa.Text)), _REASON.is_not(None)))
)  # fmt: skip
_LATEST = (
    sa.select(tool_call.c.id)
    .where(tool_call.c.name == sa.bindparam("tool"), tool_call.c.conversation_id.is_not(None))
    .order_by(tool_call.c.id.desc())
    .limit(sa.bindparam("most"))
)
_LATEST_TURNS = (
    sa.select(turn.c.conversation_id, turn.c.turn_no, turn.c.chain_length, turn.c.last_exchange_id)
    .order_by(turn.c.started_at.desc())
    .limit(_TURNS)
)


def _calls(connection: sa.Connection, uses: Mapping[str, int], splits: Collection[str]) -> Iterator[Proposal]:
    """Yield those of the latest calls of every tool."""
    names = sorted(uses, key=lambda name: (uses[name], name))[:_TOOLS]
    latest = _LATEST.where(*_kept_for(tool_call.c.conversation_id, splits))
    query = _FAULTY.where(tool_call.c.id.in_(latest))
    for name in names:
        given = {"tool": name, "most": max(_CALLS // len(names), 1), "rare": _seldom({name: uses[name]})}
        yield from _proposed(connection.execute(query, given), uses)


def _kept_for(column: sa.Column[int], splits: Collection[str]) -> list[sa.ColumnElement[bool]]:
    """Return the condition on the key of a conversation: it is kept for one of these. None for no splits."""
    # Asked of each row, since a split has a great many conversations.
    kept_for = sa.select(conversation.c.split).where(conversation.c.id == column).scalar_subquery()
    return [kept_for.in_(sorted(splits))] if splits else []


def _calls_within(connection: sa.Connection, uses: Mapping[str, int], meant: _Conditions) -> Iterator[Proposal]:
    """Yield those of the latest turns that are meant."""
    latest = _LATEST_TURNS.where(*meant).subquery()
    here = sa.and_(latest.c.conversation_id == tool_call.c.conversation_id, latest.c.turn_no == tool_call.c.turn_no)
    query = _FAULTY.where(tool_call.c.id.in_(sa.select(tool_call.c.id).join(latest, here)))
    yield from _proposed(connection.execute(query, {"rare": _seldom(uses)}), uses)


def _seldom(uses: Mapping[str, int]) -> str:
    return json.dumps([name for name, n in uses.items() if n <= _RARE])


def _proposed(rows: Iterable[sa.Row[Any]], uses: Mapping[str, int]) -> Iterator[Proposal]:
    for row in rows:
        target = Target("tool_call", f"{row.uid}.{row.choice}.{row.ordinal}")
        yield Proposal(target, row.reason or "rare", row.name, uses.get(row.name, 1), row.chain_length or 0, row.uid)


def _deep(connection: sa.Connection, meant: _Conditions) -> Iterator[Proposal]:
    latest = _LATEST_TURNS.where(*meant).subquery()
    query = (
        sa.select(latest.c.chain_length, exchange.c.uid)
        .join(exchange, exchange.c.id == latest.c.last_exchange_id)
        .where(latest.c.chain_length >= _DEEP)
        .order_by(latest.c.chain_length.desc(), exchange.c.id.desc())
        .limit(_DEEPEST)
    )
    for row in connection.execute(query):
        yield Proposal(Target("exchange", row.uid), "deep", "", 0, row.chain_length, row.uid)


def _disputed(connection: sa.Connection, uids: Iterable[str], meant: _Conditions) -> Iterator[Proposal]:
    place = sa.select(exchange.c.uid, exchange.c.conversation_id, exchange.c.turn_no)
    # Apart from the turns: what is asked of a turn reads exchanges, too.
    found = place.where(among(exchange.c.uid, sa.bindparam("uids", type_=sa.Text))).subquery()
    here = sa.and_(turn.c.conversation_id == found.c.conversation_id, turn.c.turn_no == found.c.turn_no)
    query = sa.select(found.c.uid).join(turn, here).where(*meant)
    for uid in connection.scalars(query, {"uids": json.dumps(sorted(uids))}):
        yield Proposal(Target("exchange", uid), DISAGREEMENT, "", 0, 0, uid)


def _labelled(connection: sa.Connection, found: Iterable[Proposal]) -> set[str]:
    """Return the targets of these of which a person said something."""
    uids = {uid for one in found for uid in (one.target.uid, one.exchange_uid)}
    query = sa.select(label.c.target_uid).where(
        among(label.c.target_uid, sa.bindparam("uids", type_=sa.Text)),
        label.c.target_type.in_(("exchange", "tool_call")),
        label.c.annotator_kind == "human",
        label.c.superseded_by_id.is_(None),
    )
    return set(connection.scalars(query, {"uids": json.dumps(sorted(uids))}))


def _best(found: Iterable[Proposal], limit: int | None) -> list[Proposal]:
    """Return the most worth of them. Each further one of a kind is worth less, and an exchange comes once."""
    of_kind: dict[tuple[str, str], int] = defaultdict(int)
    of_reason: dict[str, list[tuple[float, Proposal]]] = defaultdict(list)
    for one in sorted(found, key=lambda one: one.worth, reverse=True):
        of_kind[one.reason, one.tool] += 1
        of_reason[one.reason].append((one.worth / of_kind[one.reason, one.tool], one))
    ranked: list[tuple[float, Proposal]] = []
    for group in of_reason.values():
        group.sort(key=lambda pair: pair[0], reverse=True)
        ranked += [(worth / math.sqrt(place), one) for place, (worth, one) in enumerate(group, 1)]
    ranked.sort(key=lambda pair: pair[0], reverse=True)
    chosen: dict[str, Proposal] = {}
    for _, one in ranked:
        chosen.setdefault(one.exchange_uid, one)
        if len(chosen) == limit:
            break
    return list(chosen.values())


# ---- what a person has to see of those that were chosen --------------------------------------------------------------

_said, _answered, _returned = message.alias("said"), message.alias("answered"), message.alias("returned")
_IN_FULL = (
    sa.select(
        exchange.c.uid,
        conversation.c.uid.label("conversation_uid"),
        exchange.c.turn_no,
        exchange.c.step_no,
        turn.c.n_steps,
        turn.c.signature,
        turn.c.chain_length,
        sa.func.substr(sa.func.coalesce(_said.c.text, _said.c.content), 1, _SHOWN).label("user_text"),
        sa.func.substr(sa.func.coalesce(_answered.c.text, _answered.c.content), 1, _SHOWN).label("answer"),
    )
    .join(conversation, conversation.c.id == exchange.c.conversation_id)
    .outerjoin(
        turn, sa.and_(turn.c.conversation_id == exchange.c.conversation_id, turn.c.turn_no == exchange.c.turn_no)
    )
    .outerjoin(_said, _said.c.id == exchange.c.user_message_id)
    .outerjoin(node, node.c.id == exchange.c.output_node_id)
    .outerjoin(_answered, _answered.c.id == node.c.message_id)
    .where(among(exchange.c.uid, sa.bindparam("uids", type_=sa.Text)))
)
_MADE = (
    sa.select(
        exchange.c.uid,
        tool_call.c.choice,
        tool_call.c.ordinal,
        sa.func.substr(tool_call.c.arguments, 1, _SHOWN).label("arguments"),
        sa.func.substr(sa.func.coalesce(tool_result.c.text, _returned.c.text, _returned.c.content), 1, _SHOWN).label(
            "result"
        ),
    )
    .join(tool_call, tool_call.c.exchange_id == exchange.c.id)
    .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
    .outerjoin(_returned, _returned.c.id == tool_result.c.message_id)
    .where(among(exchange.c.uid, sa.bindparam("uids", type_=sa.Text)))
)


def _told(connection: sa.Connection, chosen: Sequence[Proposal]) -> Iterator[Proposal]:
    given = {"uids": json.dumps([one.exchange_uid for one in chosen])}
    answers = {row.uid: row for row in connection.execute(_IN_FULL, given)}
    calls = {f"{row.uid}.{row.choice}.{row.ordinal}": row for row in connection.execute(_MADE, given)}
    for one in chosen:
        if (row := answers.get(one.exchange_uid)) is None:
            continue  # no live conversation any more
        call = calls.get(one.target.uid)
        yield replace(
            one,
            conversation_uid=row.conversation_uid,
            turn_no=row.turn_no,
            step_no=row.step_no,
            n_steps=row.n_steps or 0,
            signature=row.signature or "",
            chain_length=row.chain_length or 0,
            user_text=row.user_text or "",
            answer=row.answer if call is None else "",
            arguments="" if call is None else call.arguments,
            result=None if call is None else call.result,
        )
