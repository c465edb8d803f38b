"""When two texts mean the same: prose loosely, identifiers exactly, moments by what they say."""

import re
import unicodedata
from collections import Counter
from datetime import date, datetime
from uuid import UUID

_MARK = re.compile(r"[\d/\\_@#]")
_NO_PROSE = re.compile(r"(?<!\S)(?:-{1,2}[^\W\d]\S*|\S*[/\\_@]\S*)")
"""What is none in a text of several words: a path, an option, an address, a name of code."""
_INDENT = re.compile(r"(?<=\n)[ \t]+(?=\S)")
_FORMULA = re.compile(r"(?:[\s\d.,()+*/^%=<>!×÷−-]|[^\W\d_]+(?=\()|(?<![^\W\d_])[^\W\d_](?![^\W\d_]))+")
"""Numbers, operators, names of functions and of variables (one letter), and nothing else."""
_OPERATOR = re.compile(r" ?([+*/^%=<>!×÷−()-]) ?")
_SPACE = re.compile(r"\s+")
_QUOTES = "\"'`´‘’“”„«»"
_CLOSING = ".,;:!?…" + _QUOTES
_WRITTEN = str.maketrans({**dict.fromkeys("‘’´`", "'"), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‐‑‒–—−", "-")})
"""Quotes and dashes that a keyboard has no keys for, and what people type instead."""
_TOKEN = re.compile(r"[^\W_]+(?:[.,:/@_+-]+[^\W_]+)*")
_QUOTED = re.compile(r"[\"“„«]([^\"”“»]{1,200})[\"”“»]")
MIN_OVERLAP = 0.5
"""Share of words (F1) that two similar texts have in common."""
_FEW = 5
"""Words up to which a text is a query or a title: there each of them counts."""
_NUMBER = re.compile(r"[-$€£]?\d+(?:[.,:/-]\d+)*['\"%°²³€]?")  # with its sign and its unit: 5' is not 5"
_DENIAL = re.compile(
    r"\b(?:not|no(?! (?-i:[A-Z]))|never|none|nobody|nothing|neither|without|cannot|\w+n't|nicht|nichts|kein\w{0,2}|nie|"
    r"niemals|niemand|ohne|ne|pas|jamais|rien|sans|aucune?|nunca|nada|nadie|não|nem|sem|sin|non|senza|nessun\w?)\b",
    re.IGNORECASE,
)
"""What turns a sentence into its opposite, in the six languages of ``scorers.phrases``."""


def same_text(expected: str, actual: str, *, exact: bool = False) -> bool:
    """Say whether two strings mean the same: prose compares loosely, identifiers and formulas exactly.

    Example:
        >>> same_text("Hello,  World.", "hello, world"), same_text("-5", "5"), same_text("/Data", "/data")
        (True, False, False)
    """
    if expected == actual:
        return True
    texts = (expected.strip(), actual.strip())
    if exact:
        return False
    if any(map(_is_formula, texts)):
        return _compact(texts[0]) == _compact(texts[1])
    if any(_is_identifier(text) or _has_odd_number(text) for text in texts):
        return texts[0] == texts[1]
    is_same = _plain(expected) == _plain(actual) and _to_the_letter(expected) == _to_the_letter(actual)
    return is_same and _INDENT.findall(expected) == _INDENT.findall(actual)


def similar_text(expected: str, actual: str) -> bool:
    """Say whether a text says what another one says: with all its facts, and mostly in its words.

    Facts are numbers and dates, names (words with a capital inside a sentence), identifiers, and what stands in quotes.
    None may be missing, no number may be there that was not, and where one of the two denies something, so does the
    other. At least half of the words are the same (F1); of a text of up to five words all of them, in any order. A
    formula is not said in other words.

    Example:
        >>> similar_text("The cat Miez is 3 years old.", "The user's cat Miez is 3 years old")
        True
        >>> similar_text("The cat Miez is 3 years old.", "The cat Miez is 4 years old.")
        False
    """
    if same_text(expected, actual):
        return True
    if _is_formula(expected) or _is_formula(actual) or _denies(expected) != _denies(actual):
        return False
    wanted, given = _facts(expected), _facts(actual)
    said = _plain(actual)
    if any(fact not in given and fact not in said for fact in wanted):
        return False
    if any("@" not in word for word in set(_to_the_letter(expected)) - set(_to_the_letter(actual))):
        return False
    if _numbers(expected) != _numbers(actual):
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
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text.translate(_WRITTEN)).casefold()).strip()
    start, end = 0, len(folded)
    while start < end and folded[start] in _QUOTES and not folded[start + 1 : start + 2].isdigit():
        start += 1
    while end > start and folded[end - 1] in _CLOSING and not _belongs_to_digit(folded, end - 1):
        end -= 1
    if set(folded.rpartition(" ")[2]) == {"."}:
        end = len(folded)  # ``cd ..``: dots that stand alone are a name
    return folded[start:end].rstrip() or folded  # text that is nothing but punctuation keeps it


def _to_the_letter(text: str) -> list[str]:
    return [found.lstrip(_QUOTES + "([").rstrip(_CLOSING + ")]") for found in _NO_PROSE.findall(text)]


def _is_identifier(text: str) -> bool:
    return _MARK.search(text) is not None and _SPACE.search(text) is None


def _is_formula(text: str) -> bool:
    has_parts = any(map(str.isdigit, text)) and _OPERATOR.search(text) is not None
    return has_parts and _FORMULA.fullmatch(text) is not None


def _compact(formula: str) -> str:
    return _OPERATOR.sub(r"\1", _SPACE.sub(" ", formula)).rstrip(".,;:?")  # which end a sentence


def _denies(text: str) -> bool:
    return _DENIAL.search(text.translate(_WRITTEN)) is not None


def _numbers(text: str) -> Counter[str]:
    return Counter(_NUMBER.findall(text.translate(_WRITTEN)))


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
