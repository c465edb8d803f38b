"""Tolerant readers of single JSON values, and what the decoders of one exchange share.

A server may put anything anywhere. These readers return the value when it has the type that the protocol
promises, and None otherwise, so that the decoders can be written without a type test on every line.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, canonical_json, parse_json

MAX_NOTE = 200
MAX_DETAILS = 8  # of one code: a stream of millions of faults is one fault, and its notes must fit into a row
MAX_HINT = 256  # a conversation id is a name, not a text
MAX_COUNT = 2**31 - 1  # of tokens, and of what is numbered: what an integer column of PostgreSQL holds
MAX_LARGE_COUNT = 2**53  # of bytes and weights, whose columns are wider; beyond it a JSON number is not exact
MAX_MS = 2**53  # a duration; far above any real one


@dataclass(slots=True)
class DecodeContext:
    """What a decoder may know about the exchange that it reads, and where it puts its remarks."""

    uid: str = ""
    """Seed of minted call ids: the same exchange decoded twice gives the same ids."""
    offered: frozenset[str] = frozenset()
    """Names of the tools that the request offered; they decide whether half a name is a name."""
    asked_choices: int = 1
    """How many answers the request asked for, for a protocol whose stream may end without saying that it is over."""
    is_body_whole: bool = False
    """The last byte of the answer passed the tap."""
    output_limit: int | None = None
    """The request's limit of output tokens, for a protocol whose servers do not always say that they reached it."""
    notes: list[str] = field(default_factory=list)
    _details: Counter[str] = field(default_factory=Counter, repr=False)

    def note(self, code: str, detail: str = "") -> None:
        """Add a remark once; ``detail`` is cut, because it may quote the body. Of many details the first are kept."""
        text = f"{code}:{detail}"[:MAX_NOTE] if detail else code
        if detail and text not in self.notes:
            self._details[code] += 1
            if self._details[code] > MAX_DETAILS:
                text = f"notes_dropped:{code}"
        if text not in self.notes:
            self.notes.append(text)


def text_or_none(value: Json) -> str | None:
    """Return a string as it is, None for anything else."""
    return value if isinstance(value, str) else None


def dict_or_empty(value: Json) -> dict[str, Any]:
    """Return an object as it is, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: Json) -> list[Any]:
    """Return a list as it is, an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_list(value: Json) -> list[Any]:
    """Return a list as it is, a lone object as a list of one, an empty one for anything else."""
    return [value] if isinstance(value, dict) else list_or_empty(value)


def note_lone(value: Json, key: str, context: DecodeContext) -> None:
    """Note an object that stands under a key where a list is due."""
    if isinstance(value, dict):
        context.note(f"{key}_object")


def listed(value: Json, key: str, context: DecodeContext) -> list[Any]:
    """Return the list under a key; a lone object is its only entry, and noted."""
    note_lone(value, key, context)
    return as_list(value)


def objects_of(entries: list[Json], what: str, context: DecodeContext) -> list[dict[str, Any]]:
    """Return those entries of a list that are objects; the others are noted as ``what``."""
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            context.note(f"{what}_not_object", str(number))
    return [entry for entry in entries if isinstance(entry, dict)]


def count_or_none(value: Json, most: int = MAX_COUNT) -> int | None:
    """Return a count: a whole number from 0 to ``most``, as a column can hold it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN and infinities fail the comparison, so int() below cannot raise.
    if not 0 <= value <= most or value != int(value):
        return None
    return int(value)


def count_of(value: Json, what: str, context: DecodeContext) -> int | None:
    """Return a count of tokens; None, and a note with the name ``what``, for a value that is none."""
    count = count_or_none(value)
    if count is None and value is not None:
        context.note("count_invalid", what)
    return count


def duration_of(value: Json, what: str, context: DecodeContext) -> float | None:
    """Return a duration, in the unit in which it came; None, and a note, for a value that is none."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 <= value <= MAX_MS:  # NaN and infinities fail the comparison
        return float(value)
    context.note("duration_invalid", what)
    return None


def index_or_none(value: Json) -> int | None:
    """Return the position that a server gave; some write it as a string."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= MAX_COUNT else None


def dumped(value: Json) -> str:
    """Return a value as JSON with sorted keys, for a place where its text was due; empty where it is too deep."""
    try:
        return canonical_json(value).decode("ascii")
    except InvalidJsonError:
        return ""  # nested as deep as the interpreter could just read, but not write


def is_simple(value: Json) -> bool:
    """Say whether a value is a string, a number or a truth value."""
    return isinstance(value, str | int | float)


def read_json(data: bytes, context: DecodeContext) -> Json:
    """Read JSON from the wire; bytes that are not UTF-8 are replaced, and noted.

    Raises:
        InvalidJsonError: Not JSON even so.
    """
    try:
        return parse_json(data, max_depth=MAX_DEPTH)
    except InvalidJsonError:
        text = data.decode("utf-8-sig", errors="replace")
        if "\N{REPLACEMENT CHARACTER}" not in text:
            raise
        value = parse_json(text, max_depth=MAX_DEPTH)
        context.note("not_utf8")
        return value
