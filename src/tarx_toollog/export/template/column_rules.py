"""What is wrong with the columns of a file as a whole: what readers that infer types (Arrow) make of them.

Owns what has to be remembered from row to row, all of it bounded: names of columns, arguments and schema keys.

Theory: Hugging Face ``datasets`` reads JSON with Arrow, which gives each path inside of the rows one type, across all
tools and all rows. Measured with pyarrow: integers beside strings are refused, integers beside fractions become
fractions, strings that all look like dates become moments, integers beyond 64 bits become fractions. A dataset card
that states the features prevents all of that, so these codes are warnings.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tarx_toollog.canonical import content_hash
from tarx_toollog.export.template.findings import Finding, LintOptions, short
from tarx_toollog.export.template.row_rules import calls_of, name_of
from tarx_toollog.export.template.shapes import Chat
from tarx_toollog.export.template.tool_rules import Tools

MAX_NAMES = 10_000
"""Names that are remembered of each kind. Real files have hundreds; garbage must not fill the memory."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::\d\d){0,2}(?:Z|[+-]\d\d:?\d\d)?)?")
_TRACES: tuple[Mapping[str, tuple[type, ...]], ...] = (
    {"type": (str,), "message": (dict,)},
    {"type": (str,), "payload": (dict,)},
    {"id": (str,), "source": (str,), "model": (str,), "system_prompt": (str,), "messages": (list,)},
    {"type": (str,), "id": (str,), "version": (int,), "cwd": (str,)},
)
"""What ``datasets`` 5 takes for a recording of a coding agent: columns and their types."""


@dataclass
class Columns:
    """The memory of one file."""

    options: LintOptions
    rows: int = 0
    seen: dict[str, None] = field(default_factory=dict)
    """Columns in the order in which they turned up."""
    with_kwargs: int = 0
    types: dict[str, set[str]] = field(default_factory=dict)
    """Argument name → the types of its values."""
    dates: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    forms: set[str] = field(default_factory=set)
    schema_types: dict[str, set[str]] = field(default_factory=dict)
    tools: dict[str, bytes] = field(default_factory=dict)
    """Tool name → content hash of its definition in the first row that has it."""
    toolsets: set[int] = field(default_factory=set)

    def add_row(self, row: Mapping[str, Any], offset: int) -> Iterator[Finding]:
        """Remember one row, which begins at byte ``offset``; yield what can be said at once."""
        self.rows += 1
        for column in row:
            if column in self.seen or len(self.seen) >= MAX_NAMES:
                continue
            self.seen[column] = None
            if offset >= self.options.chunk_bytes:
                yield Finding("late_column", short(column))
        self.with_kwargs += row.get("chat_template_kwargs") is not None
        if any(all(isinstance(row.get(key), kinds) for key, kinds in trace.items()) for trace in _TRACES):
            yield Finding("agent_trace_columns", detail=short(", ".join(row)))

    def add_chat(self, chat: Chat, tools: Tools) -> Iterator[Finding]:
        """Remember the calls and tools of one chat; yield what can be said at once."""
        for message in chat.messages:
            for call in calls_of(message):
                if name_of(call) is not None and "arguments" in call["function"]:
                    self._add_arguments(call["function"]["arguments"])
        yield from self._add_tools(tools)

    def finish(self) -> Iterator[Finding]:
        """Yield what can be said when all rows were seen."""
        if 0 < self.with_kwargs < self.rows:
            yield Finding("kwargs_on_some_rows", detail=f"{self.with_kwargs:,} of {self.rows:,} rows")
        if len(self.forms) > 1:
            yield Finding("arguments_mixed")
        for name, types in self.types.items():
            if len(types) > 1:
                yield Finding("argument_types_differ", name, ", ".join(sorted(types)))
        for name, count in self.dates.items():
            if count == self.texts[name] and self.types[name] == {"text"}:
                yield Finding("dates_in_arguments", name)
        for path, types in self.schema_types.items():
            if len(types) > 1:
                yield Finding("schema_types_differ", path, ", ".join(sorted(types)))
        if 0 < self.rows < self.options.batch_size:
            yield Finding("few_rows", detail=f"{self.rows} rows, batches of {self.options.batch_size}")
        elif self.rows % self.options.batch_size:
            yield Finding("rows_left_over", detail=f"{self.rows % self.options.batch_size} of {self.rows:,} rows")

    def _add_arguments(self, arguments: Any) -> None:
        self.forms.add("text" if isinstance(arguments, str) else "object")
        if not isinstance(arguments, Mapping):
            return  # Arrow sees one string
        for path, value in _leaves(arguments):
            if path not in self.types and len(self.types) >= MAX_NAMES:
                continue
            self.types.setdefault(path, set()).add(_kind(value))
            if isinstance(value, str):
                self.texts[path] += 1
                self.dates[path] += _is_date(value)

    def _add_tools(self, tools: Tools) -> Iterator[Finding]:
        key = hash(tools.text)
        if key in self.toolsets or len(self.toolsets) >= MAX_NAMES:
            return
        self.toolsets.add(key)
        for name, function in tools.by_name.items():
            definition = content_hash("tool", function)
            if self.tools.setdefault(name, definition) != definition:
                yield Finding("tool_changed", "tools", short(name))
            for path, value in _leaves(function):
                if path in self.schema_types or len(self.schema_types) < MAX_NAMES:
                    self.schema_types.setdefault(path, set()).add(_kind(value))


def _leaves(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the paths that Arrow gives a type, with their values. Nulls have any type; lists are one path."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, Mapping):
            if path:
                yield path, item
            waiting += [(f"{path}.{short(key)}".lstrip("."), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            yield path, item
            waiting += [(f"{path}[]", inner) for inner in item]
        elif item is not None:
            yield path, item


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "text", int: "integer", float: "fraction", list: "list"}
    return names.get(type(value), "object")


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False  # 30 February: Arrow sees that, too
    return True
