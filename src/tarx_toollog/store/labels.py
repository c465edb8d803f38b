"""Reading and writing ``label``: what people, rules and models said about conversations, exchanges and calls.

*Theory.* A label is appended and never changed, so that what was believed when a figure was made can be read later. Of
one annotator the latest label of a name on one target is in force: it supersedes the one before. Taking a label back
appends a row, too; that row supersedes itself, so whoever asks for what is in force sees neither of the two.

What a label means is said here once, for the export and for replay: ``is_bad_label``, ``is_good_label`` and the shapes
of a correction.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import sqlalchemy as sa

from tarx_toollog.canonical import Json, parse_arguments
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.named import begins_with
from tarx_toollog.store.schema import conversation, exchange, label, tool_call
from tarx_toollog.store.tables import LogTables
from tarx_toollog.store.types import among

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

TargetType = Literal["conversation", "exchange", "tool_call"]
AnnotatorKind = Literal["human", "rule", "model"]

QUALITY = "quality"
"""Name of a verdict: 1 is good, -1 is bad."""
THUMBS = "thumbs"
"""Name of what a user clicked: 1 is up, -1 is down."""
SKIPPED = "skipped"
"""Name of what a person looked at and could not judge: neither for nor against it, and not asked again."""
EXPECTED = "expected"
"""Name of a label whose correction says what would have been right."""
ALSO_RIGHT = "also_right"
"""Name of a label on an answer of a replay run: it is as right as the expected one. Its correction, if it has one, says
that of single arguments alone, by rules: ``{"rules": {tool: {JSON pointer: rule}}}``."""
WITHDRAWN = "withdrawn"
"""Word of the row that takes a label back."""

ANSWER: Json = {"answer": True}
"""Correction: no call was right, an answer in text was."""
ASK: Json = {"ask": True}
"""Correction: the user should have been asked for what was missing."""
CORRECTION_KEYS = (
    {"name", "arguments"},
    {"tool_calls"},
    {"content"},
    {"tool_calls", "content"},
    {"name", "arguments", "content"},
)
"""Keys of the corrections that say the answer itself; the others are ``ANSWER`` and ``ASK``."""

BAD_WORDS = frozenset({"bad", "wrong", "incorrect", "no"})
"""Words of a verdict against what it is about."""
_CALL = re.compile(r"(.+)\.(\d{1,9})\.(\d{1,9})")
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_SHOWN = 3
_HINT = "`toollog log list` shows exchanges, `toollog conversations list` conversations"


class Verdict(Protocol):
    """What of a label says whether something was good."""

    @property
    def value_num(self) -> float | None:
        """The verdict as a number."""

    @property
    def value_text(self) -> str | None:
        """The verdict as a word."""

    @property
    def correction(self) -> Json:
        """What would have been right."""


class Target(NamedTuple):
    """What a label is on."""

    type: TargetType
    uid: str


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A label to add."""

    target_type: TargetType
    target_uid: str
    """For a call: the uid of its exchange, its choice and its ordinal, with dots between."""
    name: str
    value_num: float | None = None
    value_text: str | None = None
    comment: str | None = None
    correction: Json = None
    annotator_kind: AnnotatorKind = "human"
    annotator: str = ""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A stored label."""

    id: int
    target_type: TargetType
    target_uid: str
    name: str
    value_num: float | None
    value_text: str | None
    comment: str | None
    correction: Json
    annotator_kind: AnnotatorKind
    annotator: str
    created_at: datetime
    superseded_by_id: int | None
    """None while it is in force."""


def is_bad_label(verdict: Verdict, min_feedback: float = 0.0) -> bool:
    """Say whether a verdict is against what it is about: a low number, a word for bad, or a correction."""
    if verdict.correction is not None:
        return True
    if verdict.value_num is not None and verdict.value_num < min_feedback:
        return True
    return (verdict.value_text or "").strip().lower() in BAD_WORDS


def is_good_label(verdict: Verdict) -> bool:
    """Say whether a verdict is for what it is about."""
    return not is_bad_label(verdict) and verdict.value_num is not None and verdict.value_num > 0


def value_of(text: str) -> tuple[float | None, str | None]:
    """Return what a person typed as a value: a number, or words.

    Example:
        >>> value_of(" 0.5 "), value_of("too long"), value_of("nan")
        ((0.5, None), (None, 'too long'), (None, 'nan'))
    """
    said = text.strip()
    return (float(said), None) if _NUMBER.fullmatch(said) else (None, said or None)


def says_no_words(correction: Json) -> bool:
    """Say whether a correction says what kind of answer would have been right, and not which."""
    return correction in (ANSWER, ASK)


def calls_of(correction: Json) -> list[tuple[str, Json]] | None:
    """Return names and arguments of the calls that a correction makes; None when it is no correction.

    Arguments are returned as they stand there: an object, or its JSON text.
    """
    if says_no_words(correction):
        return []
    if not isinstance(correction, Mapping) or set(correction) not in CORRECTION_KEYS:
        return None
    entries = [correction] if "name" in correction else correction.get("tool_calls", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        return None
    made = [(entry.get("name"), entry.get("arguments")) for entry in entries]
    calls = [(name, given) for name, given in made if name and isinstance(name, str) and _is_object(given)]
    text = correction.get("content")
    says = isinstance(text, str) and (bool(text.strip()) or bool(calls))
    is_sound = len(calls) == len(made) and (says if text is not None else bool(calls))
    return calls if is_sound else None


def rules_of(correction: Json) -> dict[str, dict[str, Json]] | None:
    """Return the rules for arguments that a label says, by tool and JSON pointer; None where it says none."""
    if not isinstance(correction, Mapping) or set(correction) != {"rules"}:
        return None
    found = correction["rules"]
    tools = found if isinstance(found, Mapping) else {}
    is_sound = bool(tools) and all(isinstance(by_path, Mapping) and by_path for by_path in tools.values())
    return {tool: dict(by_path) for tool, by_path in tools.items()} if is_sound else None


def _is_object(given: Json) -> bool:
    return isinstance(given, Mapping) or (isinstance(given, str) and parse_arguments(given).value is not None)


class Labels(LogTables):
    """The labels of one log."""

    def __init__(self, log: "ToolLog") -> None:
        super().__init__(log)
        self._log = log

    def add(self, new: NewLabel) -> int:
        """Store a label and return its id. It supersedes what the same annotator said under that name before.

        Secrets in what it says are taken out, as in everything that is stored.

        Raises:
            NothingMatchedError: The target does not exist.
            ConfigError: The label says nothing, or its correction is none.
        """
        _require_sense(new)
        values = {
            **{slot: getattr(new, slot) for slot in NewLabel.__slots__},
            "value_text": self._clean(new.value_text),
            "comment": self._clean(new.comment),
            "correction": self._clean(new.correction),
            "created_at": datetime.now(UTC),
        }
        with self._write() as connection:
            if not _exists(connection, Target(new.target_type, new.target_uid)):
                raise NothingMatchedError(f"no {_called(new.target_type)} {new.target_uid!r}", hint=_HINT)
            key = _append(connection, values)
            same = (label.c[name] == values[name] for name in _SAME)
            earlier = sa.update(label).where(*same, label.c.superseded_by_id.is_(None), label.c.id != key)
            connection.execute(earlier.values(superseded_by_id=key))
        return key

    def withdraw(self, label_id: int, by: str) -> int:
        """Take a label back and return the id of the row that says so. Nothing is deleted.

        Args:
            label_id: The label.
            by: Who takes it back.

        Raises:
            NothingMatchedError: There is no such label.
            ConfigError: It is not in force any more.
        """
        with self._write() as connection:
            found = connection.execute(sa.select(label).where(label.c.id == label_id)).first()
            if found is None:
                raise NothingMatchedError(f"no label {label_id}", hint="`toollog labels list` shows their ids")
            if found.superseded_by_id is not None:
                hint = "`toollog labels list --all` shows what came after"
                raise ConfigError(f"label {label_id} is not in force any more", hint=hint)
            values = {name: getattr(found, name) for name in ("target_type", "target_uid", "name")}
            key = _append(
                connection,
                {
                    **values,
                    "value_text": WITHDRAWN,
                    "comment": f"label {label_id}",
                    "annotator_kind": "human",
                    "annotator": by,
                    "created_at": datetime.now(UTC),
                },
            )
            both = label.c.id.in_((label_id, key))
            connection.execute(sa.update(label).where(both).values(superseded_by_id=key))
        return key

    def labels(
        self,
        targets: Collection[str] | None = None,
        *,
        name: str | None = None,
        in_force: bool = True,
        limit: int | None = None,
    ) -> list[LabelRow]:
        """Return labels, oldest first.

        Args:
            targets: Uids of what they are on; left out, of everything.
            name: What they judge.
            in_force: Whether to leave out what was superseded or taken back.
            limit: At most the latest so many.
        """
        query = sa.select(*(label.c[slot] for slot in LabelRow.__slots__)).order_by(label.c.id.desc()).limit(limit)
        if targets is not None:
            query = query.where(among(label.c.target_uid, sa.bindparam("targets", type_=sa.Text)))
        if name is not None:
            query = query.where(label.c.name == name)
        if in_force:
            query = query.where(label.c.superseded_by_id.is_(None))
        given = {} if targets is None else {"targets": json.dumps(sorted(targets))}
        with self._read() as connection:
            return [LabelRow(*row) for row in connection.execute(query, given)][::-1]

    def target(self, name: str) -> Target:
        """Return what a person means by an id, or by its beginning: a call, an exchange or a conversation.

        Raises:
            NothingMatchedError: There is nothing of that id.
            ConfigError: Several begin like it.
        """
        call = _CALL.fullmatch(name)
        exchange_name = call[1] if call else name
        tables: list[tuple[TargetType, sa.Table]] = [("exchange", exchange)]
        if call is None:
            tables.append(("conversation", conversation))
        with self._read() as connection:
            found = [Target(kind, uid) for kind, table in tables for uid in _begins(connection, table, exchange_name)]
            chosen = [one for one in found if one.uid == exchange_name] or found
            if len(chosen) == 1 and call is not None:
                chosen = [Target("tool_call", f"{chosen[0].uid}.{call[2]}.{call[3]}")]
            if not chosen or not _exists(connection, chosen[0]):
                raise NothingMatchedError(f"no call, exchange or conversation {name!r}", hint=_HINT)
        if len(chosen) > 1:
            shown = ", ".join(f"{_called(one.type)} {one.uid}" for one in chosen[:_SHOWN])
            raise ConfigError(f"{name!r} fits several ids", hint=f"give more of the id, for example {shown}")
        return chosen[0]

    def _clean(self, value: Json) -> Json:
        if isinstance(value, str):
            return self._log.without_secrets(value)
        if isinstance(value, Mapping):
            return {key: self._clean(inner) for key, inner in value.items()}
        return [self._clean(inner) for inner in value] if isinstance(value, list) else value


_SAME = ("target_type", "target_uid", "name", "annotator_kind", "annotator")


def by_target(rows: Iterable[LabelRow]) -> dict[str, tuple[LabelRow, ...]]:
    """Return labels by the uid of what they are on."""
    found: dict[str, tuple[LabelRow, ...]] = {}
    for row in rows:
        found[row.target_uid] = (*found.get(row.target_uid, ()), row)
    return found


def _require_sense(new: NewLabel) -> None:
    if not new.name:
        raise ConfigError("a label needs a name", hint=f"{QUALITY}, {EXPECTED} or one of your own")
    if new.name == ALSO_RIGHT:
        _require_sense_of_acceptance(new)
    elif new.correction is not None and calls_of(new.correction) is None:
        raise ConfigError(
            "the correction is none",
            hint='{"name", "arguments"}, {"tool_calls": […]}, {"content"}, {"answer": true} or {"ask": true}',
        )
    if new.name == EXPECTED and new.correction is None:
        raise ConfigError(f"the label {EXPECTED!r} says what would have been right", hint="give a correction")
    if new.value_num is None and new.value_text is None and new.correction is None:
        raise ConfigError("a label needs a value or a correction", hint="for example value_num 1 for good, -1 for bad")


def _require_sense_of_acceptance(new: NewLabel) -> None:
    if new.target_type != "exchange" or (new.correction is not None and rules_of(new.correction) is None):
        raise ConfigError(
            f"the label {ALSO_RIGHT!r} is on an answer of a replay run, and its correction has rules for arguments",
            hint="`toollog replay accept` makes it",
        )


def _append(connection: sa.Connection, values: Mapping[str, Any]) -> int:
    key: int = connection.execute(sa.insert(label).values(**values).returning(label.c.id)).scalar_one()
    return key


def _begins(connection: sa.Connection, table: sa.Table, name: str) -> list[str]:
    query = sa.select(table.c.uid).where(begins_with(table.c.uid, name)).order_by(table.c.uid.desc())
    exact = list(connection.scalars(sa.select(table.c.uid).where(table.c.uid == name)))
    return exact or (list(connection.scalars(query.limit(_SHOWN))) if name else [])


def _exists(connection: sa.Connection, target: Target) -> bool:
    if "\0" in target.uid:
        return False  # PostgreSQL refuses to look for it
    table = conversation if target.type == "conversation" else exchange
    if target.type != "tool_call":
        return connection.execute(sa.select(table.c.id).where(table.c.uid == target.uid)).first() is not None
    call = _CALL.fullmatch(target.uid)
    if call is None:
        return False
    query = (
        sa.select(tool_call.c.id)
        .join(exchange, exchange.c.id == tool_call.c.exchange_id)
        .where(exchange.c.uid == call[1], tool_call.c.choice == int(call[2]), tool_call.c.ordinal == int(call[3]))
    )
    return connection.execute(query).first() is not None


def _called(kind: TargetType) -> str:
    return "call" if kind == "tool_call" else kind
