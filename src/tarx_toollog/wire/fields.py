"""Tolerant readers of single JSON values, and what the decoders of one exchange share.

A server may put anything anywhere. These readers return the value when it has the type that the protocol
promises, and None otherwise, so that the decoders can be written without a type test on every line.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, parse_json

MAX_NOTE = 200
MAX_DETAILS = 8  # of one code: a stream of millions of faults is one fault, and its notes must fit into a row
MAX_HINT = 256  # a conversation id is a name, not a text
_MAX_INDEX = 2**31  # what an integer column of PostgreSQL holds
_MAX_COUNT = 2**53  # beyond it no token count is real, and SQLite would refuse the row at 2**63


@dataclass(slots=True)
class DecodeContext:
    """What a decoder may know about the exchange that it reads, and where it puts its remarks."""

    uid: str = ""
    """Seed of minted call ids: the same exchange decoded twice gives the same ids."""
    offered: frozenset[str] = frozenset()
    """Names of the tools that the request offered; they decide whether half a name is a name."""
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


def objects_of(entries: list[Json], what: str, context: DecodeContext) -> list[dict[str, Any]]:
    """Return those entries of a list that are objects; the others are noted as ``what``."""
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            context.note(f"{what}_not_object", str(number))
    return [entry for entry in entries if isinstance(entry, dict)]


def count_or_none(value: Json) -> int | None:
    """Return a token count: a whole number from 0 on that a database can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN and infinities fail the comparison, so int() below cannot raise.
    if not 0 <= value < _MAX_COUNT or value != int(value):
        return None
    return int(value)


def milliseconds_or_none(value: Json) -> float | None:
    """Return a duration: a finite number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MAX_COUNT else None


def index_or_none(value: Json) -> int | None:
    """Return the position that a server gave; some write it as a string."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and abs(value) < _MAX_INDEX else None


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
