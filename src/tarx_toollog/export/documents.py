"""Owns what of an example is compared with others: its essence, and its words. Pure; knows nothing of who compares.

Theory. A trainer does not want the same lesson twice, but does want the same lesson with other values: a model learns
to copy a name or an id into a call from seeing many of them. So two examples are near duplicates when *the same was
decided*, and *what surrounds the decision is worded alike*:

- The **essence** must be equal: all calls of the turn so far and of the answer, in order (parallel ones have none),
  with their argument values; the numbers and identifiers in what the user said; whether tools were offered. So the
  steps of one chain never are near duplicates (each has a call more), nor are templates filled with other values.
- Each **section** must be alike by itself: what the user said, what came back since, the answer. Words with a digit are
  masked there, since times and ids in results differ between repetitions. By itself, because two questions with one
  long answer in common are two lessons.

Not compared: the system prompt, which often differs in nothing but the date, earlier turns, reasoning, the definitions
of the tools. An answer to "yes" depends on what was asked, so a user's turn of few words takes in the end of the answer
before it.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, takewhile
from typing import Any, NamedTuple

from tarx_toollog.canonical import canonical_json, parse_arguments

FEW_WORDS = 5
"""A user's turn of fewer words says too little by itself."""
_CONTEXT_WORDS = 32  # of the answer before a turn of few words: the question stands at its end
_OPENING = 256  # characters in which to look for them
_PROSE_WORDS = 8  # an argument of more words is compared like text, a shorter one as a value
_TEXT_LIMIT = 8192  # characters of one message: the first half and the last, where the question stands

# Scripts that put no spaces between words: each character counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3040-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
# The same for ASCII alone, several times faster.
_MARKS = dict.fromkeys((code for code in range(128) if not chr(code).isalnum()), " ")
_IDENTIFYING = re.compile(r"[\d/\\_@#+]")  # a word with one of these in it is a number, an id, a path …
_NUMBERS = re.compile(r"\b0(?: 0)+\b")
_DIGIT = re.compile(r"\d")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?")
_FORMULA = re.compile(r"(?<=\d)\s*([-+*/=<>^%])\s*(?=\d)")
_EDGES = ".,;:!?…\"'`´‘’“”„«»()[]{}<>*"

Message = Mapping[str, Any]


class Call(NamedTuple):
    """A call, read: argument values are text or numbers, prose is kept apart."""

    name: str
    values: tuple[tuple[str, Any], ...]
    """Path and value of every argument that is no prose, by path."""
    prose: tuple[str, ...]
    """Long argument values: the text of a mail, a summary."""


def document(
    prompt: Sequence[Message],
    answer: Message,
    tools: Sequence[Mapping[str, Any]] | None = None,
    targets: Sequence[int] = (),
    *,
    rejected: Message | None = None,
    label: bool | None = None,
) -> str:
    """Return what of an example is compared: its essence in the first line, then lines of words, each with its section.

    Args:
        prompt: All messages but the last; canonical, or as they were on the wire.
        answer: The last message, to be learned.
        tools: The offered functions. Only whether there are any counts.
        targets: Places of the messages to learn; empty: the last one alone. The document begins at the turn of the
            first of them.
        rejected: The worse answer of a pair: one that is worse in another way is another lesson.
        label: Whether the answer is a good one, where that is learned.

    Example:
        >>> asked = {"role": "user", "content": "Say hello to my 2 cats, please!"}
        >>> print(document([asked], {"role": "assistant", "content": "Hello, cats."}))
        e [false,null,[[]],["2"]]
        u say hello to my 0 cats please
        a hello cats
    """
    messages = [*prompt, answer, *([] if rejected is None else [rejected])]
    learned = {*(targets or [len(prompt)]), *range(len(prompt) + 1, len(messages))}
    first = turn_start(messages, min(learned))
    read = _Read([], [], [])
    for place, message in enumerate(messages[first:], first):
        context = turn_context(messages, first) if place == first else ""
        read.add(message, context, is_learned=place in learned)
    essence = json.dumps([bool(tools), label, read.decisions, read.identifiers], separators=(",", ":"))
    return "\n".join([f"e {essence}", *read.lines])


class _Read(NamedTuple):
    """What was read of a turn so far."""

    decisions: list[list[Any]]
    identifiers: list[str]
    lines: list[str]

    def add(self, message: Message, context: str, *, is_learned: bool) -> None:
        is_user, calls = message.get("role") == "user", calls_of(message)
        section = "u" if is_user else "a" if is_learned else "r"
        if calls or is_learned:
            self.decisions.append([[call.name, *call.values] for call in calls])
        texts, prose = [context, text_of(message)], [text for call in calls for text in call.prose]
        for text in texts if is_user else prose:
            self.identifiers.extend(_identifiers(text))
        self.lines.extend(f"{section} {words}" for text in texts + prose if (words := words_of(text)))


def turn_start(messages: Sequence[Message], place: int) -> int:
    """Return the place of the first user message of the turn that the message at ``place`` belongs to."""
    while place > 0 and messages[place].get("role") != "user":
        place -= 1
    while place > 0 and messages[place - 1].get("role") == "user":
        place -= 1
    # Without any user message the turn is everything after the system prompt.
    return place + 1 if messages[place].get("role") in ("system", "developer") else place


def turn_context(messages: Sequence[Message], first: int) -> str:
    """Return the end of the answer before the turn when its user says few words; otherwise nothing."""
    return context_of(answer_before(messages, first), turn_opening(messages, first))


def turn_opening(messages: Sequence[Message], first: int) -> list[str]:
    """Return what the user says at the beginning of a turn."""
    return [text_of(message) for message in takewhile(_is_user, islice(messages, first, None))]


def answer_before(messages: Sequence[Message], first: int) -> str:
    """Return the end of the last answer in words before the turn."""
    for place in range(first - 1, -1, -1):
        if messages[place].get("role") == "assistant" and (text := text_of(messages[place]).strip()):
            words = text.rsplit(None, _CONTEXT_WORDS)
            return " ".join(words if len(words) <= _CONTEXT_WORDS else words[1:])
    return ""


def context_of(before: str, said: Sequence[str]) -> str:
    """Return the end of an answer when what the user says to it is few words; otherwise nothing."""
    return "" if len(words_of("\n".join(said).strip()[:_OPENING]).split()) >= FEW_WORDS else before


def _is_user(message: Message) -> bool:
    return message.get("role") == "user"


def text_of(message: Message) -> str:
    """Return the text of a message; parts that are no text are left out."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def calls_of(message: Message) -> list[Call]:
    """Return the calls of a message, in a fixed order since they have none; arguments may be an object or its text."""
    calls = []
    for function in (call.get("function") for call in message.get("tool_calls") or () if isinstance(call, Mapping)):
        if not isinstance(function, Mapping):
            continue
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            read = parse_arguments(arguments).value
            arguments = {"": arguments} if read is None else read
        leaves = sorted(_leaves("", arguments), key=lambda leaf: leaf[0]) if arguments else []
        is_prose = [isinstance(value, str) and len(words_of(value).split()) > _PROSE_WORDS for _, value in leaves]
        values = tuple(
            (path, _plain(value)) for (path, value), prose in zip(leaves, is_prose, strict=True) if not prose
        )
        prose = tuple(value for (_, value), prose in zip(leaves, is_prose, strict=True) if prose)
        calls.append(Call(str(function.get("name")), values, prose))
    return sorted(calls, key=lambda call: (call.name, canonical_json(call.values)))


def words_of(text: str) -> str:
    """Return the words of a text, with one space between: no case, no punctuation, ``0`` for numbers.

    Whatever has a digit in it is a number; so is a row of them: a date, a version, an address.
    """
    return _words_of(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[: _TEXT_LIMIT // 2]} {text[-_TEXT_LIMIT // 2 :]}"


@lru_cache(maxsize=128)  # the steps of a chain, which come one after the other, repeat its messages
def _words_of(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    words = text.translate(_MARKS).split() if text.isascii() else _WORD.findall(text)
    found = " ".join([word if word.isalpha() else "0" for word in words] or text.split())
    return _NUMBERS.sub("0", found) if "0 0" in found else found


def _identifiers(text: str) -> list[str]:
    """Return the words of a text that are numbers, ids, paths … in order. Dates are none: applications put them in."""
    text = _shortened(text)
    if not _IDENTIFYING.search(text):
        return []
    if _DIGIT.search(text):
        text = _FORMULA.sub(r"\1", _DATE.sub(" ", text))
    found = (word.strip(_EDGES) for word in text.split() if _IDENTIFYING.search(word))
    return [word for word in found if any(map(str.isalnum, word))]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}/{key}", inner)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(f"{path}/{number}", inner)
    else:
        yield path, value


def _plain(value: Any) -> Any:
    """Return a value as it is compared: ``5.0`` is ``5``; words have no case, and identifiers keep theirs."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    words = unicodedata.normalize("NFKC", value).split()
    text = " ".join(word if _IDENTIFYING.search(word) else word.casefold() for word in words)
    return text.strip(_EDGES) or text
