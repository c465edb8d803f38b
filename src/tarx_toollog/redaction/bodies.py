r"""Raw bodies, kept where decoding met a problem: the same rules on the bytes as they passed the tap. Pure.

*Theory.* A body is JSON, a stream of JSON lines or of server-sent events, or anything else. Whole JSON is edited
leaf by leaf. In a stream a value comes in pieces, so the strings that stand at the same path of successive events are
joined before the rules see them; when something is found, the first of them gets the whole redacted text and the
others become empty: every event stays JSON, and the assembled answer is the redacted one. Everything else is searched
as text.
"""

import re
from typing import NamedTuple

from tarx_toollog.canonical import Json, parse_json
from tarx_toollog.redaction.engine import Engine, Found
from tarx_toollog.redaction.jsontree import Leaf, edit_text
from tarx_toollog.redaction.rules import words
from tarx_toollog.wire.content_encoding import decode_content

Place = tuple[str | int, ...]

_LINE = re.compile(r"^(?:data:[ \t]*)?(?P<json>[{\[][^\r\n]*[}\]])[ \t]*(?=\r?$)", re.MULTILINE)
_LEAST_LINES = 2  # a single line of JSON is a body, not a stream
_HEAD_OF_BOMB = 2**20  # of what goes on beyond any limit, this much: the rules would take half a minute for all of it
_MAX_LAYERS = 3  # a body may be compressed twice (`gzip, gzip`); nobody does it more often
_WHOLE = words("id object model role type system_fingerprint event item_id created_at status")
"""Keys whose strings are whole in every event; joined they would only look like something."""


def redact_body(engine: Engine, data: bytes) -> tuple[bytes, list[Found]]:
    """Return a body without the values, and what was found; the same bytes when nothing was.

    A body that is compressed is looked into as far as the decoder reads it: gzip with all its members, and deflate
    with a header. It is kept unpacked when something was found in it, or when it unpacks to more than was looked at.
    """
    unpacked = _unpacked(data)
    work = _Work(engine)
    new = work.body(unpacked.data.decode("utf-8", "surrogateescape"))
    if work.founds:
        return new.encode("utf-8", "surrogateescape"), work.founds
    if unpacked.data is data:
        return data, []
    # Behind the last member anything may stand; the decoder leaves it out, and so does what is kept.
    _, found = engine.text(data.decode("utf-8", "surrogateescape"))
    return (unpacked.data if found or unpacked.is_cut else data), list(found)


class _Work:
    """One body under way: collects what was found."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.founds: list[Found] = []

    def body(self, text: str) -> str:
        lines = list(_LINE.finditer(text))
        if len(lines) < _LEAST_LINES:
            return self._text(text)
        events = self._events([line["json"] for line in lines])
        pieces: list[str] = []
        at = 0
        for line, event in zip(lines, events, strict=True):
            pieces += [self._text(text[at : line.start("json")]), event]
            at = line.end("json")
        return "".join([*pieces, self._text(text[at:])])

    def _text(self, text: str) -> str:
        new, found = self._engine.text(text)
        self.founds += found
        return new

    def _events(self, events: list[str]) -> list[str]:
        places = [_places(event) for event in events]
        joined: dict[Place, list[str]] = {}
        for event_places in places:
            for place, value in event_places:
                if place is not None:
                    joined.setdefault(place, []).append(value)
        whole: dict[Place, list[str]] = {}
        for place, values in joined.items():
            if len(values) > 1:
                before = "".join(values)
                after = self._text(before)
                if after is not before:
                    whole[place] = [after, *[""] * (len(values) - 1)]
        if whole:
            events = [_reassembled(event, found, whole) for event, found in zip(events, places, strict=True)]
        return [self._text(event) for event in events]


def _places(event: str) -> list[tuple[Place | None, str]]:
    """Return the leaves of an event, and for each that may be a piece of a longer string the place of that string."""
    found: list[Leaf] = []

    def note(leaf: Leaf) -> Json:
        found.append(leaf)
        return leaf.value

    if edit_text(event, note) is None:
        return []
    tree = parse_json(event)
    places = [_place(tree, leaf) for leaf in found]
    # Of keys that are given twice the decoder reads the last, so only that is a piece.
    last = {place: number for number, place in enumerate(places)}
    return [
        (place if last[place] == number else None, str(leaf.value))
        for number, (place, leaf) in enumerate(zip(places, found, strict=True))
    ]


def _place(tree: Json, leaf: Leaf) -> Place | None:
    """Return a leaf's path with the ``index`` of the calls and blocks that it belongs to."""
    path = leaf.path
    if not isinstance(leaf.value, str) or (path and path[-1] in _WHOLE):
        return None
    place: list[str | int] = []
    for step in path:
        if not isinstance(tree, dict | list):
            return None  # of keys that are given twice, this one has been overwritten
        if isinstance(tree, dict) and isinstance(tree.get("index"), int):
            place += ["index", tree["index"]]
        place.append(step)
        tree = tree.get(step) if isinstance(tree, dict) else tree[int(step)] if step in range(len(tree)) else None
    return tuple(place)


def _reassembled(event: str, found: list[tuple[Place | None, str]], whole: dict[Place, list[str]]) -> str:
    """Return an event in which the first piece of a changed string holds all of it, and the later ones nothing."""
    places = iter(found)

    def change(leaf: Leaf) -> Json:
        place, _ = next(places)
        left = None if place is None else whole.get(place)
        return left.pop(0) if left else leaf.value

    edited = edit_text(event, change) if found else None
    return event if edited is None else edited


class _Unpacked(NamedTuple):
    """A body as the decoder reads it."""

    data: bytes
    is_cut: bool
    """Whether it goes on, so that nobody has looked at the rest."""


def _unpacked(data: bytes) -> _Unpacked:
    for _ in range(_MAX_LAYERS):
        if data.startswith(b"\x1f\x8b"):
            decoded, note = decode_content(data, "gzip")
        elif len(data) > 2 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0:  # RFC 1950
            decoded, note = decode_content(data, "deflate")
            if note is not None:  # two letters of a text may look like the header; the checksum at the end tells
                break
        else:
            break
        if not decoded:
            break
        data = decoded
        if note == "content_encoding_limit":
            return _Unpacked(data[:_HEAD_OF_BOMB], True)
    return _Unpacked(data, False)
