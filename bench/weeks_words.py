"""The words of ``bench.weeks``: texts, arguments as a schema wants them, arguments that break it, and results."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Any, TypeVar

from bench.dialogues import CUMULATED, SHARES, WORDS, vocabulary
from bench.talks import as_json

T = TypeVar("T")

_PHRASES = 4_000  # of one language


class Voice:
    """Makes up the words of one dialogue, in one language."""

    def __init__(self, random: Random, serial: int, today: datetime) -> None:
        self.random = random
        self._serial = serial
        self._today = today
        self._phrases = _phrases(one_of(random, WORDS, SHARES))
        self._n_texts = 0

    def phrase(self) -> str:
        return self._phrases[int(self.random.random() * _PHRASES)]

    def text(self, sentences: int) -> str:
        """Return a text that stands nowhere else."""
        self._n_texts += 1
        words = ". ".join([self.phrase() for _ in range(sentences)])
        return f"{words} ({self._serial}-{self._n_texts})."

    def arguments(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return an object as a schema wants it; what it does not require is given now and then."""
        required = schema["required"]
        return {
            key: self._value(one)
            for key, one in schema["properties"].items()
            if key in required or self.random.random() < 0.4
        }

    def _value(self, schema: dict[str, Any]) -> Any:
        random = self.random
        if "enum" in schema:
            return schema["enum"][int(random.random() ** 2 * len(schema["enum"]))]
        match schema["type"]:
            case "integer":
                return schema["minimum"] + int(random.random() ** 3 * (schema["maximum"] - schema["minimum"] + 1))
            case "array":
                return [self._value(schema["items"]) for _ in range(random.randint(1, 3))]
            case "boolean":
                return random.random() < 0.3
            case "object":
                return self.arguments(schema)
            case _:
                return self._string(schema)

    def _string(self, schema: dict[str, Any]) -> str:
        match schema.get("format"):
            case "date":
                return (self._today + timedelta(days=self.random.randint(-3, 20))).date().isoformat()
            case "uri":
                return f"https://site-{int(self.random.random() ** 3 * 900)}.example/{self.random.randint(1, 99)}"
            case "path":
                return f"notes/{int(self.random.random() ** 2 * 300):03}.md"
        if "contentMediaType" in schema:
            return ". ".join([self.phrase() for _ in range(self.random.randint(1, 4))])
        return " ".join(self.phrase().split()[:3])

    def result(self, tool: dict[str, Any]) -> str:
        number = tool["sentences"]
        match tool["result"]:
            case "ok":
                return as_json({"ok": True, "id": f"{self._serial}-{self.random.randint(1, 999)}"})
            case "facts":
                facts = [{"key": self.phrase(), "value": self.phrase()} for _ in range(number)]
                return as_json({"facts": facts, "score": round(self.random.random(), 3)})
            case "pages":
                site = int(self.random.random() ** 3 * 900)
                return as_json(
                    [
                        {"title": self.phrase(), "address": f"https://site-{site}.example/{i}", "text": self.phrase()}
                        for i in range(number)
                    ]
                )
            case _:
                return ". ".join([self.phrase() for _ in range(self.random.randint(1, 2 * number))])


def misfit(arguments: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return arguments that break their schema: one has another name, or another type."""
    key = next(iter(arguments))
    if random.random() < 0.5:
        return {f"{name}_text" if name == key else name: value for name, value in arguments.items()}
    return arguments | {key: [arguments[key]] if isinstance(arguments[key], str) else str(arguments[key])}


def one_of(random: Random, values: Sequence[T], weights: Sequence[float]) -> T:
    """Return one of some values, by their weights."""
    return random.choices(values, weights)[0]


@cache
def _phrases(words: str) -> list[str]:
    random = Random(words)
    known = vocabulary(words)
    return [" ".join(random.choices(known, cum_weights=CUMULATED, k=random.randint(4, 14))) for _ in range(_PHRASES)]


@cache
def notes(size: int) -> str:
    """Return notes of about so many characters, the same for all dialogues."""
    text = " ".join(itertools.islice(itertools.cycle(_phrases(WORDS[0])), size // 40))
    return f"\n\nNotes on the project: {text[:size]}" if size else ""
