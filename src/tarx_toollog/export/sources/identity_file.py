"""Reads a file of identity examples: questions about who the model is, with its own answers.

Owns the shapes that such files have, the placeholders in them, and what must hold of them. Makes no examples.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tarx_toollog.export.example import Message
from tarx_toollog.export.sources.chat import names_of, raw_messages, tool_list
from tarx_toollog.export.sources.identity_clusters import clusters
from tarx_toollog.export.sources.identity_lint import IdentityLint, is_told
from tarx_toollog.export.sources.jsonl_input import BadLineError, InputLine, Intake, optional_text, read_lines, text_of

MAX_ANSWER = 1_200
"""Characters from which an answer draws a warning: a model that learns it recites it whenever it is greeted."""
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_PAIRS = (("question", "answer"), ("prompt", "completion"), ("instruction", "output"), ("query", "response"))


@dataclass(frozen=True, slots=True)
class IdentityNames:
    """Who the model is."""

    name: str = "TARX"
    author: str | None = None
    """Who makes it."""
    others: Mapping[str, str] = field(default_factory=dict)
    """More values for placeholders, by name."""

    @property
    def own(self) -> tuple[str, ...]:
        """Names that an answer may give."""
        return (self.name,) if self.author is None else (self.name, self.author)

    @property
    def values(self) -> dict[str, str]:
        """Placeholder → value; names in small letters."""
        known = {"name": self.name, **({} if self.author is None else {"author": self.author})}
        return known | {key.lower(): value for key, value in self.others.items()}


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """A line, read."""

    line: int
    chat: tuple[Message, ...]
    """Raw messages from the first question to the last, without system prompt and answer."""
    answer: str
    cluster: str
    """Name of the group of its paraphrases."""
    system: str | None = None
    """The system prompt that the line gives; an empty one is written as such. None when it says nothing."""
    tools: tuple[dict[str, Any], ...] | None = None
    """The tools that the line gives; none where it is empty. None when it says nothing."""
    is_negative: bool = False
    """The answer is to an ordinary question and must not tell who the model is."""

    @property
    def key(self) -> str:
        """What it says: what is decided about the row depends on this, and not on its place in the file."""
        return "\0".join([*(str(message["content"]) for message in self.chat), self.answer])


def read_identity(path: Path, names: IdentityNames, intake: Intake) -> tuple[IdentityRow, ...]:
    """Return the rows of a file, each once.

    Args:
        path: A JSONL file or a JSON array (docs/export-sources.md). It is held in memory.
        names: Values of the placeholders, and the names that answers may give.
        intake: Keeps what is to be told about the file.

    Raises:
        ConfigError: Lines cannot be read, or contradict the identity.
    """
    lint, rows, seen = IdentityLint(names.own), [], set()
    for line in read_lines(path, intake):
        try:
            row = _row(InputLine(line.number, _filled(line.value, names.values)))
            _require_identity(row, lint)
        except BadLineError as error:
            intake.error(line.number, error)
            continue
        if row.key in seen:
            intake.warn(row.line, "duplicate", "the same question and answer stand above; left out")
            continue
        seen.add(row.key)
        _advise(row, names.name, intake)
        rows.append(row)
    _require_name(rows, names.name, intake)
    intake.require_no_errors()
    return _clustered(rows, names.name, intake)


def _row(line: InputLine) -> IdentityRow:
    row, tools = line.value, tool_list(line.value)
    chat, answer = _chat_and_answer(row, names_of(tools))
    system = optional_text(row, "system")
    if chat and chat[0].get("role") in ("system", "developer"):
        system, chat = str(chat[0].get("content") or ""), chat[1:]
    if not chat or chat[-1].get("role") != "user" or not str(chat[-1].get("content") or "").strip():
        raise BadLineError("there is no question before the answer", "end with a question and its answer")
    is_negative = row.get("negative", False)
    if not isinstance(is_negative, bool):
        raise BadLineError("`negative` is neither true nor false", "write true where the answer must not tell the name")
    given = optional_text(row, "cluster", "family")
    return IdentityRow(
        line=line.number,
        chat=tuple(chat),
        answer=answer,
        cluster=given or "",
        system=system,
        tools=None if tools is None else tuple(tools),
        is_negative=is_negative,
    )


def _chat_and_answer(row: dict[str, Any], offered: frozenset[str]) -> tuple[list[Message], str]:
    """Return the messages before the answer, and the answer, of any of the shapes."""
    if isinstance(row.get("prompt"), list):  # conversational prompt and completion
        completion = row.get("completion")
        said = completion if isinstance(completion, list) else [{"role": "assistant", "content": completion}]
        row = {"messages": [*row["prompt"], *said]}
    if any(row.get(key) is not None for key in ("messages", "conversations", "conversation")):
        *chat, last = raw_messages(row, offered)
        if last.get("role") != "assistant" or last.get("tool_calls"):
            raise BadLineError("the last message is no answer in words", "end with the answer of the assistant")
        return chat, text_of({"answer": last.get("content")}, "answer").strip()
    for asked, answered in _PAIRS:
        if asked in row:
            more = (optional_text(row, "input") or "") if asked == "instruction" else ""
            question = "\n".join(text for text in (text_of(row, asked).strip(), more.strip()) if text)
            return [*_earlier(row), {"role": "user", "content": question}], text_of(row, answered).strip()
    known = ", ".join("+".join(pair) for pair in _PAIRS)
    raise BadLineError("no question and answer", f"use {known}, or messages")


def _earlier(row: dict[str, Any]) -> list[Message]:
    """Return the messages of Alpaca's ``history``: pairs of a question and its answer."""
    history = row.get("history") or []
    pairs = history if isinstance(history, list) else [history]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair) for pair in pairs):
        raise BadLineError("`history` is no list of pairs", "write [[question, answer], …]")
    return [
        message
        for asked, answered in pairs
        for message in ({"role": "user", "content": asked}, {"role": "assistant", "content": answered})
    ]


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """Return a value with its placeholders filled, at any depth."""

    def fill(found: re.Match[str]) -> str:
        name = found[1].lower()
        if name not in values:
            mend = "name who makes it with --own-author, or write it out" if name == "author" else "write it out"
            raise BadLineError(f"nobody says what {found[0]} is", mend)
        return values[name]

    if isinstance(value, str):
        return _PLACEHOLDER.sub(fill, value)
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    return [_filled(item, values) for item in value] if isinstance(value, list) else value


def _require_identity(row: IdentityRow, lint: IdentityLint) -> None:
    for claim in lint.claims(row.answer):
        if not is_told(row.system or "", claim.name):
            mend = "write the own name; talking about other models is fine"
            raise BadLineError(f"the answer takes another identity: {claim.text!r}", mend)


def _advise(row: IdentityRow, name: str, intake: Intake) -> None:
    has_name = name.casefold() in row.answer.casefold()
    if row.is_negative and has_name:
        intake.warn(row.line, "negative_with_name", f"a negative row, but its answer tells of {name}")
    if not row.is_negative and not has_name and row.system is None:
        intake.warn(row.line, "name_missing", f"the answer does not tell of {name}")
    if len(row.answer) > MAX_ANSWER:
        intake.warn(
            row.line, "long_answer", f"the answer has {len(row.answer)} characters; a few sentences are learned better"
        )


def _require_name(rows: list[IdentityRow], name: str, intake: Intake) -> None:
    asked = sum(1 for row in rows if not row.is_negative and row.system is None)
    if asked and intake.warnings["name_missing"] * 2 > asked:
        n_missing = intake.warnings["name_missing"]
        mend = "give the right name, or mark answers to ordinary questions with `negative`: true"
        intake.error(0, BadLineError(f"{n_missing} of {asked} answers do not tell of {name}", mend))


def _clustered(rows: list[IdentityRow], name: str, intake: Intake) -> tuple[IdentityRow, ...]:
    found = iter(clusters([(str(row.chat[-1]["content"]), row.answer) for row in rows if not row.cluster], name))
    named = tuple(replace(row, cluster=f"identity:{row.cluster or next(found)}") for row in rows)
    largest = max(Counter(row.cluster for row in named).values(), default=0)
    if largest * 2 > len(named) and len(named) > 3:
        intake.warn(0, "one_cluster", f"{largest} of {len(named)} rows ask nearly the same, so they go to one split")
    return named
