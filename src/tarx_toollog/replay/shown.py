"""What a model was shown, read so that values can be looked up in it: in which message, and in which tool's result.

Nothing is read before somebody looks something up: most answers are right, and a history may be long.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from tarx_toollog.canonical import InvalidJsonError, Json, parse_arguments, parse_json

_SHORT = 2  # characters up to which a text is in every message by chance
_SMALL = 10  # numbers below are in every long text by chance, and are counted rather than copied
_WORD = re.compile(r"\w+")
_MARKED = re.compile(r"[\d/\\_@#]")
_DIGITS = tuple("123456789")
_WITHOUT_SEPARATORS = str.maketrans("", "", ".,'’\u00a0\u202f")
_DEEP = 100  # levels of a result beyond which it is read as text: nobody nests values like that
_STEM = 3  # letters that two forms of a word have in common at least


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call in the history, with its result."""

    name: str
    arguments: Json
    place: int
    """Of the message that makes it, from 0."""
    result: str | None = None
    result_place: int = -1


@dataclass(frozen=True)
class Shown:
    """The messages that a model was shown."""

    messages: Sequence[Mapping[str, Any]]

    def role(self, place: int) -> str:
        """Return whose message it is."""
        return str(self.messages[place].get("role"))

    @cached_property
    def turn(self) -> int:
        """Place of what the user said last; -1 without a user."""
        return max((place for place in range(len(self.messages)) if self.role(place) == "user"), default=-1)

    @cached_property
    def calls(self) -> tuple[ShownCall, ...]:
        """The calls in the history, in order."""
        return tuple(_calls(self.messages))

    def places(self, value: Json) -> tuple[int, ...]:
        """Return the places of all messages that hold a value as a whole word, in any letters."""
        if _is_too_short(value):
            return ()
        text = _as_text(value)
        if text not in self._found:
            self._found[text] = tuple(self._search(text))
        return self._found[text]

    def sure_places(self, value: Json) -> tuple[int, ...]:
        """Return the places that hold a value and not by chance: a small number has to stand there by itself."""
        places = self.places(value)
        if not is_small(value):
            return places
        alone = {call.place for call in self.calls if stands_in(call.arguments, value)}
        alone |= {call.result_place for call in self.calls if call.result and stands_in(read(call.result), value)}
        return tuple(place for place in places if place in alone or self.role(place) == "user")

    def has_parts_of(self, value: Json) -> bool:
        """Say whether a value may have been made of what was shown: its numbers in another form, some of its words."""
        if not isinstance(value, str):
            return is_small(value) or self._has_number(json.dumps(value))
        words = [word for word in _WORD.findall(value.casefold()) if len(word) > 1]
        if _MARKED.search(value):  # an identifier, a path, a date: every part of it has to be somewhere
            return all(self.places(word) for word in words)
        stems = [word[: max(_STEM, len(word) - 2)] for word in words if len(word) >= _STEM]
        return not stems or any(stem in folded for stem in stems for _, folded in self._texts)

    def _search(self, value: str) -> Iterator[int]:
        first = value.split()[0].casefold()  # to look for it is far faster than to look for a pattern, or to make one
        for place, (text, folded) in enumerate(self._texts):
            if first in folded and _pattern(value).search(text):
                yield place

    @cached_property
    def _found(self) -> dict[str, tuple[int, ...]]:
        return {}

    @cached_property
    def _texts(self) -> tuple[tuple[str, str], ...]:
        texts = map(_text, self.messages)
        return tuple((text, text.casefold()) for text in texts)

    def _has_number(self, value: str) -> bool:
        """Say whether a number stands somewhere with other separators, or as a share of other things: 15 % is 0.15."""
        digits = "".join(filter(str.isdigit, value)).strip("0")
        pattern = re.compile(" ?".join(digits) + r"[0 ]*(?!\d)")
        for text, _ in self._texts:
            compact = text.translate(_WITHOUT_SEPARATORS)
            if any(compact[found.start() - 1 : found.start()] not in _DIGITS for found in pattern.finditer(compact)):
                return True
        return False


def leaves(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield the strings and numbers in a value, each with its JSON pointer."""
    if isinstance(value, str | int | float):
        if not isinstance(value, bool):
            yield path, value
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}/{number}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")


def read(result: str) -> Json:
    """Return what a result says as JSON; the text itself where it is none."""
    try:
        return parse_json(result, max_depth=_DEEP)
    except InvalidJsonError:
        return result


def holds(leaf: Json, value: Json) -> bool:
    """Say whether one string or number is a value, or a text that has it as a word."""
    if is_same(leaf, value):
        return True
    is_word = isinstance(leaf, str) and not is_small(value) and not _is_too_short(value)
    return is_word and _pattern(_as_text(value)).search(_as_text(leaf)) is not None


def is_same(one: Json, other: Json) -> bool:
    """Say whether two strings or numbers are written alike: ``"5"`` is 5."""
    return _as_text(one) == _as_text(other)


def stands_in(whole: Json, value: Json) -> bool:
    """Say whether a value is a string or number of a whole."""
    return any(is_same(leaf, value) for _, leaf in leaves(whole))


def is_small(value: Json) -> bool:
    """Say whether a value is a number of one digit."""
    return isinstance(value, int | float) and abs(value) < _SMALL and value == int(value)


def _as_text(value: Json) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _is_too_short(value: Json) -> bool:
    """Say whether a value is too short to be found by design."""
    return len(_as_text(value)) < (_SHORT if isinstance(value, str) else 1)


@lru_cache(256)
def _pattern(value: str) -> re.Pattern[str]:
    """Return what finds a value in a text as a whole word."""
    inner = r"\s+".join(map(re.escape, value.split()))
    return re.compile(rf"(?<![^\W_]){inner}(?![^\W_])", re.IGNORECASE)


def _content(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else ()
    said = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return [text for text in said if isinstance(text, str)]


def _text(message: Mapping[str, Any]) -> str:
    texts = _content(message)
    for _, _, arguments in _functions(message):
        texts.append(arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))
    texts += [_unescaped(text) for text in texts if "\\" in text]
    return "\n".join(texts)


def _unescaped(text: str) -> str:
    """Return what stands in JSON, without its escapes: a value of a result is not written as the model writes it."""
    value = read(text)
    return "" if isinstance(value, str) else "\n".join(leaf for _, leaf in leaves(value) if isinstance(leaf, str))


def _functions(message: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield of each call of a message its id, its name, and its arguments as they stand there."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield _id(call.get("id"), number), str(function.get("name")), function.get("arguments")


def _id(told: Json, number: int) -> str:
    """Return an id, or the place in the order where a server gives none, or an empty one."""
    return str(number if told in (None, "") else told)


def _calls(messages: Sequence[Mapping[str, Any]]) -> Iterator[ShownCall]:
    """Yield the calls with their results, which belong to them by id, or by order where a server gives no ids."""
    for place, message in enumerate(messages):
        made = list(_functions(message))
        results = _results(messages, place) if made else {}
        for number, (call_id, name, arguments) in enumerate(made):
            value = parse_arguments(arguments).value if isinstance(arguments, str) else arguments
            result, result_place = results.get(call_id) or results.get(str(number)) or (None, -1)
            yield ShownCall(name, value, place, result, result_place)


def _results(messages: Sequence[Mapping[str, Any]], place: int) -> dict[str, tuple[str, int]]:
    found = {}
    for number, message in enumerate(messages[place + 1 :]):
        if message.get("role") != "tool":
            break
        found[_id(message.get("tool_call_id"), number)] = ("\n".join(_content(message)), place + 1 + number)
    return found
