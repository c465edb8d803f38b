"""When two texts mean the same: prose loosely, identifiers exactly, moments by what they say."""

import re
import unicodedata
from collections import Counter
from datetime import date, datetime
from uuid import UUID

_IDENTIFIER = re.compile(r"\S*[\d/\\_@#]\S*")
_SPACE = re.compile(r"\s+")
_QUOTES = "\"'`´‘’“”„«»"
_CLOSING = ".,;:!?…" + _QUOTES
_TOKEN = re.compile(r"[^\W_]+(?:[.,:/@_+-]+[^\W_]+)*")
_QUOTED = re.compile(r"[\"“„«]([^\"”“»]{1,200})[\"”“»]")
MIN_OVERLAP = 0.5
"""Share of words (F1) that two similar texts have in common."""
_FEW = 5
"""Words up to which a text is a query or a title: there each of them counts."""
_NUMBER = re.compile(r"[-$€£]?\d+(?:[.,:/-]\d+)*['\"%°²³€]?")  # with its sign and its unit: 5' is not 5"


def same_text(expected: str, actual: str, *, exact: bool = False) -> bool:
    """Say whether two strings mean the same: prose compares loosely, identifiers exactly.

    Example:
        >>> same_text("Hello,  World.", "hello, world"), same_text("-5", "5"), same_text("/Data", "/data")
        (True, False, False)
    """
    if expected == actual:
        return True
    texts = (expected.strip(), actual.strip())
    if exact:
        return False
    if any(_IDENTIFIER.fullmatch(text) or _has_odd_number(text) for text in texts):
        return texts[0] == texts[1]
    return _plain(expected) == _plain(actual)


def similar_text(expected: str, actual: str) -> bool:
    """Say whether a text says what another one says: with all its facts, and mostly in its words.

    Facts are numbers and dates, names (words with a capital inside a sentence), identifiers, and what stands in quotes.
    None may be missing, and no number may be there that was not. At least half of the words are the same (F1); of a
    text of up to five words all of them, in any order.

    Example:
        >>> similar_text("The cat Miez is 3 years old.", "The user's cat Miez is 3 years old")
        True
        >>> similar_text("The cat Miez is 3 years old.", "The cat Miez is 4 years old.")
        False
    """
    if same_text(expected, actual):
        return True
    wanted, given = _facts(expected), _facts(actual)
    said = _plain(actual)
    if any(fact not in given and fact not in said for fact in wanted):
        return False
    if Counter(_NUMBER.findall(expected)) != Counter(_NUMBER.findall(actual)):
        return False
    words, others = _words(expected), _words(actual)
    if min(words.total(), others.total()) <= _FEW:
        return words == others
    return _overlap(words, others) >= MIN_OVERLAP


def same_by_format(expected: str, actual: str, name: object) -> bool:
    """Say whether two strings mean the same in a format of JSON Schema; False for one that is not known here.

    Example:
        >>> same_by_format("2026-11-23T10:00:00Z", "2026-11-23T11:00:00+01:00", "date-time")
        True
    """
    try:
        if name == "date":
            return date.fromisoformat(expected) == date.fromisoformat(actual)
        if name == "date-time":
            moments = [datetime.fromisoformat(text) for text in (expected, actual)]
            return len({moment.tzinfo is None for moment in moments}) == 1 and moments[0] == moments[1]
        if name == "uuid":
            return UUID(expected) == UUID(actual)
    except ValueError:
        return False
    if name == "email":
        (user, _, host), (other, _, other_host) = expected.rpartition("@"), actual.rpartition("@")
        return user == other and host.casefold() == other_host.casefold()
    return False


def _plain(text: str) -> str:
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    start, end = 0, len(folded)
    while start < end and folded[start] in _QUOTES and not folded[start + 1 : start + 2].isdigit():
        start += 1
    while end > start and folded[end - 1] in _CLOSING and not _belongs_to_digit(folded, end - 1):
        end -= 1
    return folded[start:end].rstrip() or folded  # text that is nothing but punctuation keeps it


def _belongs_to_digit(text: str, position: int) -> bool:
    """Say whether a quote is a unit: 5' are feet."""
    return text[position] in _QUOTES and text[position - 1 : position].isdigit()


def _has_odd_number(text: str) -> bool:
    """Say whether text holds a superscript, a fraction or the like: NFKC would turn ``5²`` into ``52``."""
    return any(unicodedata.category(character) == "No" for character in text)


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text))


def _facts(text: str) -> set[str]:
    tokens = _tokens(text)
    names = {token.casefold() for place, token in enumerate(tokens) if place and token[:1].isupper()}
    marked = {token.casefold() for token in tokens if any(character in "@/_" for character in token)}
    quoted = {_plain(found) for found in _QUOTED.findall(text)}
    return names | marked | quoted


def _words(text: str) -> Counter[str]:
    return Counter(token.casefold() for token in _tokens(text))


def _overlap(left: Counter[str], right: Counter[str]) -> float:
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 0.0
