r"""JSON trees and JSON text: find the leaves, and put other values in their place without touching anything else. Pure.

*Theory.* What is redacted has to stay what it was: the same keys, the same order, the same white space. So nothing is
parsed and written again. The leaves of the parsed value are collected in the order of the document; in the text, the
strings that are not followed by a colon are the same leaves in the same order. A changed leaf is written in the place
of its own characters. A value therefore cannot reach over a quote, and text that was JSON stays JSON.

Everything is iterative: what a stranger sends may be nested as deep as the interpreter can read.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tarx_toollog.canonical import Json, is_storable
from tarx_toollog.redaction.names import Stated, promise

Path = tuple[str | int, ...]

_MIN_NUMBER_DIGITS = 3  # a card's check number; shorter numbers are never leaves to look at
_MAX_NUMBER_DIGITS = 19  # the longest number of a card
_TOKENS = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"(?P<colon>\s*+:)?'
    rf"|(?<![\w.+-])[1-9]\d{{{_MIN_NUMBER_DIGITS - 1},{_MAX_NUMBER_DIGITS - 1}}}+(?![\w.+-])",
    re.DOTALL,
)
_MAX_STEPS = 24  # of a path that people read
_NAMES = frozenset(("key", "name", "field", "title", "header", "variable"))
_VALUES = frozenset(("value", "val", "Value", "VALUE"))
_STATES = frozenset(("plain", "plaintext", "cleartext", "current", "new", "old", "text", "raw"))
_OF_SCHEMAS = frozenset(("default", "const", "example", "examples", "enum"))
_PINS = frozenset(("pin", "PIN", "Pin"))
_TELLING = _VALUES | _STATES | _OF_SCHEMAS | _PINS
"""Keys whose name alone does not say what stands there; it depends on what is around them."""
_BESIDE_A_PIN = frozenset(
    ("account", "alarm", "bank", "card", "door", "iban", "lock", "login", "phone", "sim", "user", "username")
)
_BESIDE_ANOTHER_PIN = frozenset(
    (
        *("x", "y", "z", "lat", "lng", "lon", "latitude", "longitude", "city", "state", "country", "address"),
        *("board", "board_id", "chip", "direction", "gpio", "image", "label", "mode", "net", "port", "title", "url"),
    )
)
_MAX_PIN_DIGITS = 8
_MAX_HEADER = 40  # characters of a header's name


class Leaf(NamedTuple):
    """A string of a tree, or a whole number that may be a card's or a secret's."""

    place: Any
    """Its path as pairs of the rest of the path and the last step: a tuple of all steps would cost the depth."""
    name: str
    """The key that it stands under; for ``{"key": "wifi password", "value": …}`` the key that its neighbour names."""
    value: str | int
    stated: Stated = ""
    """How it belongs to that name."""

    @property
    def path(self) -> Path:
        """The keys and indices that lead to it."""
        steps: list[str | int] = []
        place = self.place
        while place is not None:
            place, step = place
            steps.append(step)
        return tuple(reversed(steps))


class _Copy(NamedTuple):
    """A copied container on the way to a changed leaf, and those of its members that are copies, too."""

    container: Any
    members: "dict[str | int, _Copy]"


class _Pairs(list[tuple[str, Json]]):
    """An object as its pairs: repeated keys stay, as they do in the text."""


def leaves(tree: Json) -> Iterator[Leaf]:
    """Yield the leaves in the order of the document."""
    # Written for speed, because the histories of all requests pass here: a stack of plain tuples, last child first.
    stack: list[tuple[Any, str, Json, Stated]] = [(None, "", tree, "")]
    while stack:
        place, name, value, stated = stack.pop()
        if isinstance(value, str):
            yield Leaf(place, name, value, stated)
        elif isinstance(value, dict | _Pairs):
            pairs = value.items() if isinstance(value, dict) else value
            if _TELLING.isdisjoint(value if isinstance(value, dict) else [key for key, _ in pairs]):
                stack += [((place, key), key, item, "") for key, item in reversed(pairs) if item is not None]
            else:
                told = _told(name, list(pairs))
                for key, item in reversed(pairs):
                    named, how = told.get(key, (key, ""))
                    stack.append(((place, key), named, item, how))
        elif isinstance(value, list | tuple):
            if len(value) == 2 and _is_header(value):
                stack += [((place, 1), value[0], value[1], "pair"), ((place, 0), name, value[0], stated)]
            else:
                stack += [((place, index), name, value[index], stated) for index in range(len(value) - 1, -1, -1)]
        elif isinstance(value, Mapping):
            stack.append((place, name, dict(value), stated))
        elif _is_number(value):
            yield Leaf(place, name, value, stated)


def replaced(tree: Json, edits: Mapping[Path, Json]) -> Json:
    """Return the tree with other leaves at these paths; containers on the way are copied, everything else is shared."""
    if () in edits:
        return edits[()]
    top = _copy(tree)
    for path, value in edits.items():
        copied = top
        for step in path[:-1]:
            if step not in copied.members:
                copied.members[step] = _copy(copied.container[step])
                copied.container[step] = copied.members[step].container
            copied = copied.members[step]
        copied.container[path[-1]] = value
    return top.container


def edit_text(text: str, change: Callable[[Leaf], Json]) -> str | None:
    """Return JSON text with changed leaves; the same string when none changes, None when it is not JSON.

    Args:
        text: An object or an array, as text.
        change: Returns the new value of a leaf; the same object leaves it as it is.
    """
    try:
        tree = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    edits = [(leaf.value, change(leaf)) for leaf in leaves(tree)]
    if all(new is old for old, new in edits):
        return text
    pieces: list[str] = []
    at = 0
    waiting = iter(edits)
    for token in _TOKENS.finditer(text):
        if token["colon"] is not None:
            continue
        old, new = next(waiting)
        if new is not old:
            pieces += [text[at : token.start()], _written(new)]
            at = token.end()
    return "".join([*pieces, text[at:]])


def path_text(path: Path) -> str:
    """Return a path as people write it: ``messages[3].content``."""
    text = ""
    for step in path[:_MAX_STEPS]:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text if len(path) <= _MAX_STEPS else f"{text}…"


def looks_like_json(text: str) -> bool:
    """Say whether a text may be a JSON object or array; a look at its ends."""
    stripped = text.strip()
    return stripped[:1] + stripped[-1:] in ("{}", "[]")


def _copy(container: Json) -> _Copy:
    return _Copy(dict(container) if isinstance(container, Mapping) else list(container), {})


def _named(pairs: Iterable[tuple[str, Json]]) -> str | None:
    """Return what an object is about that has a name and a value."""
    return next((value for key, value in pairs if key.lower() in _NAMES and isinstance(value, str)), None)


def _told(parent: str, pairs: list[tuple[str, Json]]) -> dict[str, tuple[str, Stated]]:
    """Return the names of those members that their neighbours or the parent name, and how they belong to these."""
    named = _named(pairs)
    told: dict[str, tuple[str, Stated]] = {}
    for key, item in pairs:
        if key in _VALUES:
            told[key] = (parent if named is None else named, "")
        elif key in _OF_SCHEMAS:
            told[key] = (parent if named is None else named, "choice" if key == "enum" else "default")
        elif key in _STATES:
            told[key] = (parent, "default")
        elif key in _PINS and type(item) is int and _is_personal_pin(item, [key.lower() for key, _ in pairs]):
            told[key] = ("card_pin", "")
    return told


def _is_personal_pin(number: int, keys: list[str]) -> bool:
    """Say whether a number under ``pin`` is somebody's: beside an account, or the only thing that is told."""
    if not 1000 <= number < 10**_MAX_PIN_DIGITS or not _BESIDE_ANOTHER_PIN.isdisjoint(keys):
        return False
    return not _BESIDE_A_PIN.isdisjoint(keys) or (len(keys) == 1 and number < 10_000)


def _is_header(value: Sequence[Json]) -> bool:
    """Say whether a list of two is a header that may hold a secret: ``["Authorization", "Token …"]``."""
    name, text = value
    is_pair = isinstance(name, str) and isinstance(text, str) and 2 < len(name) <= _MAX_HEADER and " " not in name
    return is_pair and promise(name) is not None


def _is_number(value: Json) -> bool:
    return type(value) is int and 10 ** (_MIN_NUMBER_DIGITS - 1) <= value < 10**_MAX_NUMBER_DIGITS


def _written(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if is_storable(text) else json.dumps(value)
