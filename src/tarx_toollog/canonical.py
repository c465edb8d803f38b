r"""Canonical JSON, content hashes and safe text: a documented contract, because stored hashes depend on it.

*Canonical JSON* of a value is ``json.dumps`` with sorted keys, no white space and ASCII only. Numbers are
kept as Python reads them (``5`` and ``5.0`` differ, integers have any size, ``NaN`` and ``Infinity`` are
written as such), strings keep every code point, lone surrogates included, as ``\uXXXX``.

A *content hash* is 17 bytes: one byte that names the algorithm (``0x01``: BLAKE2b with a 16-byte digest,
RFC 7693), then the digest of ``kind + NUL + canonical JSON``. The kind keeps values of different tables
apart. A new recipe gets a new first byte; old rows stay valid.

Why not another JSON library: orjson turns integers beyond 64 bits into floats and refuses NaN and lone
surrogates, msgspec refuses NaN and surrogates. What a model emits holds all of these sooner or later.
"""

import json
import re
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

HASH_ALGORITHM = b"\x01"
HASH_SIZE = 17

MAX_DEPTH = 128
"""Levels of nesting that are read from the wire. Real bodies have less than 30. What is read must also be written, by
recursive writers and inside other values, so the limit stays far below that of the interpreter (1,000)."""
TOO_DEEP = "nested too deep"
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"

Json = Any  # what json.loads returns; a recursive alias would only force casts on every reader

ArgumentState = Literal["ok", "empty", "invalid", "incomplete"]


class InvalidJsonError(ValueError):
    """The text is not JSON, or nested too deep to be read."""


class ParsedArguments(NamedTuple):
    """The arguments of a tool call, read: ``value`` is an object, or None when the text holds none."""

    value: dict[str, Any] | None
    state: ArgumentState


# ``json.dumps`` makes an encoder with every call.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_READABLE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_IN_ASCII = json.JSONEncoder(separators=(",", ":"))


def canonical_json(value: Json) -> bytes:
    """Return the canonical JSON of ``value`` as ASCII bytes.

    Raises:
        InvalidJsonError: The value is nested too deep, or is not JSON at all.
    """
    try:
        text = _CANONICAL.encode(value)
    except (RecursionError, TypeError, ValueError) as error:
        raise InvalidJsonError(f"cannot be written as JSON: {error}") from error
    return text.encode("ascii")


def content_hash(kind: str, value: Json) -> bytes:
    """Return the 17-byte content hash of ``value`` among the values of ``kind``."""
    return bytes_hash(kind, canonical_json(value))


def bytes_hash(kind: str, data: bytes) -> bytes:
    """Return the 17-byte content hash of raw bytes among the values of ``kind``."""
    return HASH_ALGORITHM + blake2b(kind.encode() + b"\0" + data, digest_size=16).digest()


def chain_hash(parent: bytes | None, link: bytes) -> bytes:
    """Return the hash of a list: that of its last element chained to the hash of all before it."""
    return bytes_hash("chain", (parent or b"") + b"\0" + link)


def parse_json(text: str | bytes, *, max_depth: int | None = None) -> Json:
    """Read JSON tolerantly: big integers, NaN, lone surrogates and a byte order mark are accepted.

    Args:
        text: The JSON text; bytes are UTF-8.
        max_depth: Levels of nesting that are accepted; without it the interpreter's recursion limit decides, which
            depends on its version and on how deep the caller stands.

    Raises:
        InvalidJsonError: Not JSON, not UTF-8, or nested too deep.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(text.removeprefix(_BOM))
    except RecursionError as error:  # not a ValueError: json raises it on 100,000 open brackets
        raise InvalidJsonError(TOO_DEEP) from error
    except ValueError as error:
        raise InvalidJsonError(str(error)) from error
    # Without so many opening brackets no value can be that deep: ordinary texts are not walked through.
    if max_depth is not None and text.count("{") + text.count("[") > max_depth and _is_deeper(value, max_depth):
        raise InvalidJsonError(TOO_DEEP)
    return value


def has_repeated_keys(text: str) -> bool:
    """Say whether an object in a JSON text has a key twice, of which ``parse_json`` keeps the last; never raises.

    Example:
        >>> has_repeated_keys('{"a": 1, "a": 2}'), has_repeated_keys('[{"a": 1}, {"a": 2}]'), has_repeated_keys('{"a"')
        (True, False, False)
    """
    if text.count(":") < 2:  # most arguments: no need to read them
        return False
    found = False

    def take(pairs: list[tuple[str, Json]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    try:
        json.loads(text.removeprefix(_BOM), object_pairs_hook=take)
    except (RecursionError, ValueError):
        return False
    return found


def _is_deeper(value: Json, limit: int) -> bool:
    """Say whether ``value`` has more than ``limit`` levels of lists and objects; level by level, not recursive."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        if not level:
            return False
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)


def json_text(value: Json) -> str:
    r"""Return ``value`` as readable JSON for a TEXT column: key order kept, safe for SQLite and PostgreSQL.

    Non-ASCII text stays readable unless it holds a lone surrogate, which no database accepts; then the
    whole value is written with ``\uXXXX`` escapes. NUL is always escaped by JSON itself.
    """
    text = _READABLE.encode(value)
    return text if is_storable(text) else _IN_ASCII.encode(value)


def is_storable(text: str) -> bool:
    """Say whether a TEXT column of SQLite and PostgreSQL keeps ``text`` as it is."""
    if "\0" in text:  # PostgreSQL refuses NUL, SQLite's length() stops at it
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def join_surrogates(text: str) -> str:
    """Join surrogate pairs that were split over two pieces of a stream; lone ones stay as they are."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def parse_arguments(text: str, *, complete: bool = True) -> ParsedArguments:
    """Read the arguments of a tool call from the string that the model emitted.

    Empty text is the empty object (servers omit the arguments of a tool without parameters). Anything that
    is not a JSON object is ``invalid``, or ``incomplete`` when the call was cut before its end. So are NaN, Infinity
    and a byte order mark, which JSON does not know: servers, databases and trainers refuse them.
    """
    if not text.strip():
        return ParsedArguments({}, "empty") if complete else ParsedArguments(None, "incomplete")
    try:
        value = parse_json(text, max_depth=MAX_DEPTH)
        if text.startswith(_BOM) or _has_constants(text):
            raise InvalidJsonError("not in the standard")
    except InvalidJsonError:
        return ParsedArguments(None, "invalid" if complete else "incomplete")
    if not isinstance(value, dict):
        return ParsedArguments(None, "invalid")
    return ParsedArguments(value, "ok")


def _has_constants(text: str) -> bool:
    if "NaN" not in text and "Infinity" not in text:
        return False
    seen: list[str] = []
    json.loads(text, parse_constant=seen.append)
    return bool(seen)


ESCAPE = "\u241b"  # the visible symbol for "escape": rare in real text, readable in a query result
_ESCAPED = re.compile(ESCAPE + r"([0-9A-F]{4});")
_NEEDS_ESCAPE = re.compile(f"[{ESCAPE}\0\ud800-\udfff]")


def escape_text(text: str) -> str:
    """Return ``text`` in the form that a TEXT column of any database keeps; ``unescape_text`` undoes it.

    NUL, lone surrogates and the escape symbol U+241B itself become ``␛XXXX;``. All other text, which is
    to say practically all text, is returned unchanged.
    """
    if ESCAPE not in text and is_storable(text):
        return text
    return _NEEDS_ESCAPE.sub(lambda match: f"{ESCAPE}{ord(match[0]):04X};", text)


def unescape_text(text: str) -> str:
    """Return the text that ``escape_text`` was given."""
    if ESCAPE not in text:
        return text
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
