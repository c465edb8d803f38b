r"""Raw bodies, kept where decoding met a problem: the same rules on the bytes as they passed the tap. Pure.

*Theory.* A body is JSON, a stream of JSON lines or of server-sent events, or anything else. Whole JSON is edited
leaf by leaf. In a stream a value comes in pieces, so the strings that stand at the same path of successive events are
joined before the rules see them; when something is found, the first of them gets the whole redacted text and the
others become empty: every event stays JSON, and the assembled answer is the redacted one. Everything else is searched
as text.
"""

import re
import zlib

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json
from tarx_toollog.redaction.engine import Engine, Found
from tarx_toollog.redaction.jsontree import Leaf, edit_text, leaves
from tarx_toollog.redaction.rules import words

Place = tuple[str | int, ...]

_LINE = re.compile(r"^(?:data:[ \t]*)?(?P<json>[{\[][^\r\n]*[}\]])[ \t]*(?=\r?$)", re.MULTILINE)
_LEAST_LINES = 2  # a single line of JSON is a body, not a stream
_MAX_UNPACKED = 64 * 2**20  # more than the tap keeps of any body, unpacked as far as the decoder would
_WHOLE = words("id object model role type system_fingerprint event item_id created_at status")
"""Keys whose strings are whole in every event; joined they would only look like something."""


def redact_body(engine: Engine, data: bytes) -> tuple[bytes, list[Found]]:
    """Return a body without the values, and what was found; the same bytes when nothing was.

    A body that is compressed with gzip is looked into, and kept unpacked when something was found in it.
    """
    text = _unpacked(data).decode("utf-8", "surrogateescape")
    work = _Work(engine)
    new = work.body(text)
    return (new.encode("utf-8", "surrogateescape"), work.founds) if work.founds else (data, [])


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
    try:
        tree = parse_json(event)
    except InvalidJsonError:
        return []
    return [(_place(tree, leaf), str(leaf.value)) for leaf in leaves(tree)]


def _place(tree: Json, leaf: Leaf) -> Place | None:
    """Return a leaf's path with the ``index`` of the calls and blocks that it belongs to."""
    path = leaf.path
    if not isinstance(leaf.value, str) or (path and path[-1] in _WHOLE):
        return None
    place: list[str | int] = []
    for step in path:
        if isinstance(tree, dict) and isinstance(tree.get("index"), int):
            place += ["index", tree["index"]]
        place.append(step)
        tree = tree[step]
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


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MAX_UNPACKED)
    except zlib.error:
        return data
    return unpacked or data
