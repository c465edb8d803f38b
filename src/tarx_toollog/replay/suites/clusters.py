"""Which scenarios are nearly the same: they say less than as many different ones, and intervals have to know it. Pure.

*Theory.* Two turns are near duplicates when the same calls are to be made, arguments apart, and the users' messages
that open them are the same but for digits, case and punctuation, or nearly so: of the runs of ``_SHINGLE`` characters
in either, nine tenths are in both. What is like a second that is like a third hangs together with the third.

Digits do not count, not even where they are what the call is about: who can look up order 4711 can look up order 99, so
that a hundred such turns tell as much about other questions as one. It follows that a log in which all users ask the
same passes no gate, with however many chains. The gate says so, and of how many other groups chains would help. Were
each number a question of its own, that log would pass for any use of the model.

Only few pairs are compared. Two sets of which nine tenths are shared have one of the rarest tenth of each in common, so
only those with such a run in common are candidates.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tarx_toollog.replay.scenario import Scenario

_ALIKE = 9
"""Tenths of the runs of characters that two messages have in common, from which they are near duplicates."""
_SHINGLE = 4
_LIMIT = 2000  # characters at each end that are compared: the question stands there, and a pasted file between
_DIGITS = re.compile(r"\d+(?:\W+\d+)*")
_NO_WORD = re.compile(r"[\W_]+")


def clusters(scenarios: Sequence[Scenario]) -> list[str | None]:
    """Return the name of the cluster of each scenario; None for one that is like none of another conversation."""
    texts = [opening(scenario) for scenario in scenarios]
    parents = list(range(len(scenarios)))
    blocks: dict[str, list[int]] = defaultdict(list)
    for number, scenario in enumerate(scenarios):
        blocks[skeleton(scenario)].append(number)
    for block in blocks.values():
        for one, other in _alike(block, texts):
            _join(parents, one, other)
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(scenarios)):
        members[_root(parents, number)].append(number)
    names: list[str | None] = [None] * len(scenarios)
    for found in members.values():
        if len({scenarios[number].conversation_uid for number in found}) > 1:
            name = min(scenarios[number].content_hash for number in found).hex()
            for number in found:
                names[number] = name
    return names


def opening(scenario: Scenario) -> str:
    """Return the user's message that opens the turn, as far as it is compared."""
    messages = scenario.steps[0].messages
    said = next((message.get("content") for message in reversed(messages) if message.get("role") == "user"), "")
    text = _text(said)
    if len(text) > 2 * _LIMIT:
        text = f"{text[:_LIMIT]} {text[-_LIMIT:]}"
    text = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORD.sub(" ", _DIGITS.sub("0", text)).strip()


def skeleton(scenario: Scenario) -> str:
    """Return the calls that are expected, step by step, as names and the keys of their arguments."""
    steps = [sorted((call.name, sorted(call.arguments or ())) for call in step.expected) for step in scenario.steps]
    return hashlib.sha256(json.dumps(steps).encode()).hexdigest()


def _text(content: Any) -> str:
    parts = content if isinstance(content, list) else [{"text": content}]
    said = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in said if isinstance(text, str))


def _alike(block: Sequence[int], texts: Sequence[str]) -> Iterable[tuple[int, int]]:
    """Yield pairs of one block that are near duplicates; of equal texts each with the first."""
    first: dict[str, int] = {}
    for number in block:
        if (known := first.setdefault(texts[number], number)) != number:
            yield known, number
    shingles = {number: _shingles(text) for text, number in first.items()}
    uses = Counter(shingle for found in shingles.values() for shingle in found)
    holders: dict[str, list[int]] = defaultdict(list)
    for number, found in sorted(shingles.items(), key=lambda item: (len(item[1]), item[0])):
        rarest = sorted(found, key=lambda shingle: (uses[shingle], shingle))
        prefix = rarest[: len(found) * (10 - _ALIKE) // 10 + 1]
        for other in sorted({other for shingle in prefix for other in holders[shingle]}):
            if 10 * len(shingles[other]) < _ALIKE * len(found):
                continue  # too short to have so much in common
            shared = len(found & shingles[other])
            if 10 * shared >= _ALIKE * (len(found) + len(shingles[other]) - shared):
                yield number, other
        for shingle in prefix:
            holders[shingle].append(number)


def _shingles(text: str) -> frozenset[str]:
    return frozenset(text[start : start + _SHINGLE] for start in range(max(1, len(text) - _SHINGLE + 1)))


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = number = parents[parents[number]]
    return number


def _join(parents: list[int], one: int, other: int) -> None:
    one, other = _root(parents, one), _root(parents, other)
    parents[max(one, other)] = min(one, other)
