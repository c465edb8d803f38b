"""The pieces of tool calls: one fragment as it stands on the wire, and a call under assembly.

Reads a fragment tolerantly and notes what is odd about its form; ``calls`` decides to which call it belongs. Whether
the brackets of the arguments are balanced is decided by a scan which never reads a character twice, because some
servers repeat the name in every fragment and would make it quadratic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import Json, join_surrogates
from tarx_toollog.model import Origin
from tarx_toollog.wire.fields import as_list, dumped, index_or_none, text_or_none

MAX_NAME = 1024  # characters of a name; OpenAI allows 64
_MARKS = re.compile(r'["\\{}\[\]]')
_KNOWN_KEYS = frozenset({"index", "id", "type", "function", "custom"})


@dataclass(slots=True)
class Fragment:
    """One entry of ``tool_calls``: a whole call, or a piece of one."""

    index: int | None = None
    call_id: Json = None
    name: str = ""
    arguments: str | None = None
    type: str = "function"
    origin: Origin = "native"
    quirks: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def has_arguments(self) -> bool:
        """Whether it brings argument text that is not blank."""
        return bool(self.arguments and not self.arguments.isspace())

    @property
    def opens(self) -> bool:
        """Whether it says enough to be the start of a call."""
        return self.call_id is not None or bool(self.name) or self.has_arguments

    @classmethod
    def read(cls, entry: Json) -> "Fragment | None":
        """Read one entry; None when it is not an object or says nothing."""
        if not isinstance(entry, dict):
            return None
        origin: Origin = "native"
        function = entry.get("function")
        if not isinstance(function, dict) and isinstance(entry.get("custom"), dict):
            origin, function = "custom", entry["custom"]
        quirks: list[str] = []
        if not isinstance(function, dict):
            # Some servers leave the wrapper out and put name and arguments next to the id.
            function = {key: entry[key] for key in ("name", "arguments") if key in entry}
            quirks += ["function_missing"] if function else []
        return cls._from_function(entry, function, origin, quirks)

    @classmethod
    def read_all(cls, value: Json) -> Iterator["Fragment"]:
        """Yield the entries of ``tool_calls`` that say something; a lone object in place of the list is one, too."""
        for entry in as_list(value):
            if (fragment := cls.read(entry)) is not None:
                fragment.quirks += ("tool_calls_object",) if entry is value else ()
                yield fragment

    @classmethod
    def read_legacy(cls, function: Json) -> "Fragment | None":
        """Read a ``function_call``, the form before ``tool_calls``; it has neither id nor index."""
        return cls._from_function({}, function, "legacy_function", []) if isinstance(function, dict) else None

    @classmethod
    def _from_function(
        cls, entry: dict[str, Any], function: dict[str, Any], origin: Origin, quirks: list[str]
    ) -> "Fragment | None":
        arguments = function.get("input" if origin == "custom" else "arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = dumped(arguments)
            quirks.append("arguments_object")
        call_id = entry.get("id")
        if call_id is not None and (isinstance(call_id, bool) or not isinstance(call_id, str | int | float)):
            call_id = None
            quirks.append("id_invalid")
        name = text_or_none(function.get("name")) or ""
        quirks += ["name_cut"] if len(name) > MAX_NAME else []
        fragment = cls(
            index=index_or_none(entry.get("index")),
            call_id=None if call_id == "" else call_id,
            name=name[:MAX_NAME],
            arguments=arguments,
            type=text_or_none(entry.get("type")) or ("custom" if origin == "custom" else "function"),
            origin=origin,
            quirks=tuple(quirks),
            extra={key: value for key, value in entry.items() if key not in _KNOWN_KEYS and value is not None},
        )
        if "function_missing" in quirks:
            fragment.extra = {k: v for k, v in fragment.extra.items() if k not in ("name", "arguments")}
        says_something = fragment.opens or fragment.arguments is not None
        return fragment if says_something else None


@dataclass(slots=True)
class CallDraft:
    """A call under assembly."""

    index: int | None
    origin: Origin
    type: str
    emitted_ns: int | None
    call_id: Json = None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    arguments_seen: bool = False
    is_blank: bool = True
    """No argument text has come yet, white space aside."""
    quirks: dict[str, None] = field(default_factory=dict)
    """An ordered set."""
    extra: dict[str, Any] = field(default_factory=dict)
    opened_by_id: bool = False
    """Opened by a bare id after complete arguments: a call only if a name or arguments follow."""
    _scanned: int = 0
    _depth: int = 0
    _in_string: bool = False
    _escaped: bool = False
    _closed: bool = False

    @property
    def arguments(self) -> str:
        """The argument text so far, surrogate pairs that were split over fragments joined."""
        return join_surrogates("".join(self.pieces))

    @property
    def is_ghost(self) -> bool:
        """Whether it was opened by a bare id and got nothing since."""
        return self.opened_by_id and not self.name and self.is_blank

    @property
    def is_complete(self) -> bool:
        """Whether the argument text has brackets and they are balanced."""
        self._scan_new()
        return self._closed

    @property
    def is_open(self) -> bool:
        """Whether the argument text ends inside brackets."""
        self._scan_new()
        return self._depth > 0

    def note(self, quirk: str) -> None:
        """Add a quirk once."""
        self.quirks[quirk] = None

    def raw(self) -> dict[str, Any]:
        """Return the call in the form that a response without streaming has."""
        if self.type == "custom":
            body: dict[str, Any] = {"type": "custom", "custom": {"name": self.name, "input": self.arguments}}
        else:
            body = {"type": self.type, "function": {"name": self.name, "arguments": self.arguments}}
        head = {} if self.call_id is None else {"id": self.call_id}
        return head | body | self.extra

    def _scan_new(self) -> None:
        while self._scanned < len(self.pieces):
            self._scan(self.pieces[self._scanned])
            self._scanned += 1

    def _scan(self, piece: str) -> None:
        position = -1
        for match in _MARKS.finditer(piece):
            if self._escaped and match.start() == position + 1:
                self._escaped = False
                continue
            self._escaped = False
            position = match.start()
            self._mark(match.group())
        if self._escaped and position != len(piece) - 1:
            self._escaped = False

    def _mark(self, mark: str) -> None:
        if mark == "\\":
            self._escaped = self._in_string
        elif mark == '"':
            self._in_string = not self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1
            self._closed = self._depth <= 0
