"""Does an answer in text refuse, or ask back? Decided by the phrases of ``phrases.toml``, in six languages; pure.

*Theory.* A refusal is a clause in which the speaker denies the ability, the right or the will to do what assistants
do: "I can't open files". So each clause is read by itself, and what is quoted or code is not read at all, since there
somebody else speaks. A clause with a condition ("not without a date", "if I can't …") refuses nothing. It is better
to miss a refusal than to see one that is none: an answer without a known phrase is just an answer.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

_THOUGHT = r"(?:\A|<think>)(?:(?!<think>).)*?</think>|<think>.*\Z"
"""Reasoning that the server left in the text. Some templates open it in the prompt: then it only ends there."""
_OTHERS = (
    _THOUGHT,
    r"```.*?(?:```|\Z)",  # code
    r"`[^`\n]*`",
    r"^>[^\n]*$",  # quotations
    r'"[^"\n]{1,300}"',
    r"“[^”“\n]{1,300}[”“]",
    r"„[^“”\n]{1,300}[“”]",
    r"«[^»\n]{1,300}»",
    r"»[^«\n]{1,300}«",
    r"https?://\S+",  # which may hold a question mark
)
"""What stands in an answer, and is not what its speaker says."""
_NOT_SAID = re.compile("|".join(_OTHERS), re.DOTALL | re.MULTILINE)
_UNSAID = re.compile(_THOUGHT, re.DOTALL)
_CLAUSE = re.compile(r"[.!?…;:,\n()–—]+|\s-\s")
_SENTENCE = re.compile(r"(?<=[.!?…:])\s+|\n+")
_ITEM = re.compile(r"\s*(?:(?:[-*•]|\d+[.)])\s.*)?\Z")
"""A line of a list, or an empty one."""
_QUESTION = re.compile(r"[?？؟](?!\w)")
_ASKING_END = re.compile(r"[?？؟][^\w.!。]*\Z")
_PART = re.compile(r"<(\w+)>")


def says_nothing(text: str | None) -> bool:
    """Say whether a text is empty, but for what its speaker only thought.

    Example:
        >>> [says_nothing(text) for text in (" ", "<think>Let me see", "<think>Well.</think>It is sunny.")]
        [True, True, False]
    """
    return not without_thought(text or "").strip()


def without_thought(text: str) -> str:
    """Return what a text says beside the reasoning in it.

    Example:
        >>> without_thought("<think>Am I TARX?</think>I am TARX.")
        'I am TARX.'
    """
    return _UNSAID.sub("", text)


def is_refusal(text: str) -> bool:
    """Say whether a text says that its speaker cannot or will not do something.

    Example:
        >>> [is_refusal(text) for text in ("I can't open files.", "Das darf ich nicht löschen.", "I can't wait!")]
        [True, True, False]
    """
    said = _pattern("reports").sub(" ", _said(text).casefold())
    return any(map(_refuses, _CLAUSE.split(said)))


def asks_back(text: str) -> bool:
    """Say whether a text ends with a question that waits for an answer; an offer to help on is none.

    Example:
        >>> asks_back("Sure. Which city?"), asks_back("It is sunny. Anything else?")
        (True, False)
    """
    lines = _said(text).split("\n")
    while len(lines) > 1 and _ITEM.match(lines[-1]):
        lines.pop()  # the choices that a question ends with
    said = "\n".join(lines).rstrip()
    return bool(_ASKING_END.search(said)) and not _pattern("offers").search(_SENTENCE.split(said)[-1].casefold())


def has_question(text: str) -> bool:
    """Say whether there is a question in a text.

    Example:
        >>> has_question("Which city? I need it for the forecast."), has_question("See https://x.example/?city=1")
        (True, False)
    """
    return _QUESTION.search(_said(text)) is not None


def _refuses(clause: str) -> bool:
    if not any(word in clause for word in _denials()):
        return False
    text = clause.strip()
    return _pattern("refuses").search(text) is not None and not _pattern("conditions").search(text)


def _said(text: str) -> str:
    return _NOT_SAID.sub(" ", text).replace("'", "’")


@cache
def _languages() -> tuple[dict[str, Any], ...]:
    """Return what is known of each language; read when an answer needs it, since most need none."""
    return tuple(tomllib.loads(files(__package__).joinpath("phrases.toml").read_text("utf-8")).values())


@cache
def _denials() -> frozenset[str]:
    return frozenset(word for language in _languages() for word in language["denials"])


@cache
def _pattern(kind: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{phrase})" for phrase in _phrases(kind)))


def _phrases(kind: str) -> Iterator[str]:
    """Yield the phrases of one kind in all languages."""
    for language in _languages():
        if kind == "conditions":
            yield rf"^(?:{language['joins']} )?{language['conditions']}\b"
            yield rf"\b{language['limits']}\b"
        elif kind == "reports":
            yield rf"\b{language['reports']}\b[^.:!?\n]{{0,60}}:[^.!?\n]*"
        else:
            yield from (_filled(phrase, language.get("parts", {})) for phrase in language[kind])


def _filled(phrase: str, parts: dict[str, Any]) -> str:
    return _PART.sub(lambda found: _any_of(parts[found[1]]), phrase)


def _any_of(part: str | Iterable[str]) -> str:
    return part if isinstance(part, str) else f"(?:{'|'.join(part)})"
