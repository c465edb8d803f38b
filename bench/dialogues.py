"""Makes up dialogues of a Workbench with its model, in any number, for benches that need a large log.

*Theory.* Everything comes from a seed, so that the same number of exchanges is always the same log. A dialogue has
one to eight turns, and a turn follows a script: a chat, or a chain of calls (``recall>remember>save_conversation``,
a search, an error and its repair …). Every text that a person or a model makes up carries the serial number of its
dialogue, so that no message of one dialogue occurs in another. Meant are two exceptions: small talk, and a dialogue
that repeats the one before it word by word. A near duplicate repeats an earlier dialogue with its serial number, but
each of its texts has a word more, which is its own. Only the last exchange of a dialogue ends badly, and such a
dialogue is never repeated word by word.

Words, tools and system prompts stand in ``dialogues.json``.
"""

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bench.talks import (
    CHARACTERS_PER_TOKEN,
    Asked,
    Dialogue,
    Ending,
    MadeUp,
    Message,
    Toolset,
    as_json,
    uid_at,
)

_DATA = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
_TOOLSETS = tuple(
    Toolset([{"type": "function", "function": {"name": name, **_DATA["tools"][name]}} for name in names])
    for names in _DATA["toolsets"]
)
WORDS: tuple[str, ...] = tuple(_DATA["words"])
"""The words of each language."""
SHARES = (70, 12, 12, 6)
"""Weights of the languages."""
SMALL_TALK: dict[str, str] = dict(_DATA["small_talk"])
_WORDS = 20_000  # of one language
_START = datetime(2026, 9, 1, 8, tzinfo=UTC)
_REPEATED, _NEARLY_REPEATED, _ENDS_BADLY = 0.02, 0.04, 0.06
_NEAR = 500  # a near duplicate repeats one of that many dialogues before it
_TURNS = (46, 25, 13, 7, 4, 2, 2, 1)  # weights of one to eight turns


class _Call(NamedTuple):
    name: str
    arguments: str
    result: Any


class _Reply(NamedTuple):
    """What the model says at one step: calls, or a text."""

    text: str | None = None
    calls: tuple[_Call, ...] = ()


class _Source(NamedTuple):
    """What makes the texts of a dialogue."""

    seed: str
    serial: int
    variant: str
    """A word that tells a near duplicate from what it repeats."""
    ends_badly: bool


CUMULATED = list(itertools.accumulate(1 / (rank + 1) for rank in range(_WORDS)))
"""Weights of the words of a vocabulary, summed up."""


@cache
def vocabulary(words: str) -> list[str]:
    """Return the words of a language, and compounds of them: as in a real one, most are rare."""
    parts, random = words.split(), Random(words)
    made = dict.fromkeys(parts)
    lengths = range(2, 3 if len(parts) > 200 else 5)
    while len(made) < _WORDS:
        made.setdefault("".join(random.choices(parts, k=random.choice(lengths))))
    return list(made)


class _Voice:
    """Makes up texts in one language."""

    def __init__(self, source: _Source) -> None:
        self.random = Random(source.seed)
        self.serial = f"{source.serial:07}"
        self._variant = f" {source.variant}" if source.variant else ""
        self._words = vocabulary(self.random.choices(WORDS, SHARES)[0])

    @cached_property
    def name(self) -> str:
        return str(self.random.choice(_DATA["names"]))

    def words(self, fewest: int, most: int) -> str:
        k = self.random.randint(fewest, most)
        return " ".join(self.random.choices(self._words, cum_weights=CUMULATED, k=k))

    def text(self, fewest: int, most: int) -> str:
        """Return a text that stands in no other dialogue."""
        return f"{self.words(fewest, most)} ({self.serial}). {self.name}: {self.words(2, 6)}{self._variant}."


def made_up(n_exchanges: int, seed: int = 1) -> MadeUp:
    """Return a log of so many exchanges; the same number and seed make the same."""
    return MadeUp(dialogues(n_exchanges, seed), _TOOLSETS)


def dialogues(n_exchanges: int, seed: int = 1) -> Iterator[Dialogue]:
    """Yield dialogues one after the other in time, with ``n_exchanges`` exchanges in all."""
    recent: deque[_Source] = deque(maxlen=_NEAR)
    moment_ns = int(_START.timestamp()) * 10**9
    number = 0
    while n_exchanges > 0:
        random = Random(f"{seed}/{number}")
        source = _source(random, recent, seed, number)
        recent.append(source)
        made = _dialogue(number, source, random, moment_ns)
        if len(made.asked) > n_exchanges:
            made = replace(made, asked=made.asked[:n_exchanges])
        yield made
        n_exchanges -= len(made.asked)
        number += 1
        moment_ns = made.asked[-1].started_ns + made.asked[-1].took_ns + random.randint(1, 20) * 10**9


def _source(random: Random, recent: deque[_Source], seed: int, number: int) -> _Source:
    chance = random.random()
    if recent and chance < _REPEATED and not recent[-1].ends_badly:
        return recent[-1]
    made = _Source(f"{seed}/{number}/text", number, "", random.random() < _ENDS_BADLY)
    if recent and chance < _REPEATED + _NEARLY_REPEATED:
        earlier = random.choice(recent)
        # A word of letters alone: what has a digit in it counts as another lesson.
        variant = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        return made._replace(seed=earlier.seed, serial=earlier.serial, variant=variant)
    return made


# ---- one dialogue ---------------------------------------------------------------------------------------------------


def _dialogue(number: int, source: _Source, random: Random, moment_ns: int) -> Dialogue:
    voice = _Voice(source)
    toolset = voice.random.choice(_TOOLSETS)
    uid = uid_at(random, moment_ns)
    day = _START + timedelta(days=(moment_ns // 10**9 - int(_START.timestamp())) // 86400)
    system = voice.random.choice(_DATA["systems"]).format(day=day.date())
    n_turns = voice.random.choices(range(1, 9), _TURNS)[0]
    turns = [_turn(voice) for _ in range(n_turns)]
    if source.ends_badly:
        turns.append((voice.text(6, 20), [_Reply(voice.text(10, 40))]))
    asked = _asked(turns, random, moment_ns, len(system) + toolset.size)
    if source.ends_badly:
        asked[-1] = _spoiled(asked[-1], voice)
    return Dialogue(uid, f"chat-{number:07}", f"client-{number % 5}", system, toolset, tuple(asked))


def _asked(turns: list[tuple[str, list[_Reply]]], random: Random, moment_ns: int, size: int) -> list[Asked]:
    made: list[Asked] = []
    for text, replies in turns:
        new: tuple[Message, ...] = ({"role": "user", "content": text},)
        for reply in replies:
            answer, results = _messages(reply, random)
            took_ns = random.randint(300, 9000) * 10**6
            size += sum(len(message["content"]) + 30 for message in new)
            answered = len(answer["content"] or "") + sum(len(call.name + call.arguments) + 30 for call in reply.calls)
            made.append(
                Asked(
                    uid=uid_at(random, moment_ns),
                    started_ns=moment_ns,
                    took_ns=took_ns,
                    new=new,
                    answer=answer,
                    ending="tool_calls" if reply.calls else "stop",
                    input_tokens=round(size / CHARACTERS_PER_TOKEN),
                    output_tokens=round(answered / CHARACTERS_PER_TOKEN) + 3,
                )
            )
            size += answered + 30
            new = results
            moment_ns += took_ns + random.randint(100, 4000) * 10**6
        moment_ns += random.randint(2, 60) * 10**9
    return made


def _messages(reply: _Reply, random: Random) -> tuple[Message, tuple[Message, ...]]:
    """Return the answer, and the results that the client sends next."""
    answer: Message = {"role": "assistant", "content": reply.text}
    results = []
    for call in reply.calls:
        call_id = f"{random.getrandbits(128):032x}"
        function = {"name": call.name, "arguments": call.arguments}
        answer.setdefault("tool_calls", []).append({"id": call_id, "type": "function", "function": function})
        text = call.result if isinstance(call.result, str) else as_json(call.result)
        results.append({"role": "tool", "tool_call_id": call_id, "content": text})
    return answer, tuple(results)


def _spoiled(asked: Asked, voice: _Voice) -> Asked:
    """Return an exchange that ends badly, in one of six ways."""
    ways: tuple[Ending, ...] = ("truncated", "disconnected", "error", "length", "tool_calls", "stop")
    ending = voice.random.choice(ways)
    answer = dict(asked.answer)
    if ending == "tool_calls":  # arguments that are no JSON
        reply = _Reply(calls=(_Call("tarx_recall", '{"query": ' + voice.text(1, 3), ""),))
        answer, _ = _messages(reply, Random(asked.uid))
    if ending == "stop":  # the call stands in the text
        call = {"name": "tarx_recall", "arguments": {"query": voice.text(1, 3)}}
        answer["content"] = f"<tool_call>\n{as_json(call)}\n</tool_call>"
    return replace(asked, ending=ending, answer=answer, is_spoiled=True)


# ---- scripts --------------------------------------------------------------------------------------------------------


def _turn(voice: _Voice) -> tuple[str, list[_Reply]]:
    """Return what the user says in one turn, and what the model does about it."""
    if voice.random.random() < 0.1:
        text = voice.random.choice(list(SMALL_TALK))
        return text, [_Reply(SMALL_TALK[text])]
    (script,) = voice.random.choices(list(_SCRIPTS), list(_SCRIPTS.values()))
    chains = script(voice)
    return voice.text(6, 24), [*(_Reply(calls=calls) for calls in chains), _Reply(voice.text(8, 35))]


_Chain = list[tuple[_Call, ...]]


def _recall(voice: _Voice) -> _Call:
    facts = [{"key": f"{voice.words(1, 2)} {voice.serial}", "value": voice.words(3, 8)} for _ in range(3)]
    score = round(voice.random.random(), 4)
    return _Call("tarx_recall", as_json({"query": voice.words(2, 5)}), {"facts": facts, "score": score})


def _remember(voice: _Voice) -> _Call:
    arguments = {"key": f"{voice.words(1, 2)} {voice.serial}", "value": voice.words(4, 16), "kind": "fact"}
    return _Call("tarx_remember", as_json(arguments), {"ok": True, "id": f"mem_{voice.serial}_{voice.words(1, 2)}"})


def _save(voice: _Voice) -> _Call:
    arguments = {"title": voice.words(3, 7), "summary": voice.text(12, 30), "topics": [voice.words(1, 1)] * 2}
    return _Call("tarx_save_conversation", as_json(arguments), {"saved": True, "id": f"conv_{voice.serial}"})


def _search(voice: _Voice) -> _Call:
    pages = [
        {
            "title": voice.words(3, 8),
            "address": f"https://site-{voice.serial}.example/{i}",
            "excerpt": voice.words(6, 18),
        }
        for i in range(3)
    ]
    return _Call("web_search", as_json({"query": voice.words(2, 6), "language": "en"}), pages)


def _fetch(voice: _Voice) -> _Call:
    arguments = {"address": f"https://site-{voice.serial}.example/1"}
    return _Call("web_fetch", as_json(arguments), f"# {voice.words(3, 7)}\n\n{voice.text(25, 60)}")


def _not_fetched(voice: _Voice) -> _Call:
    arguments = {"address": f"https://site-{voice.serial}.example/2"}
    return _Call("web_fetch", as_json(arguments), {"error": f"site-{voice.serial}.example did not answer in 20 s"})


def _miswritten(voice: _Voice) -> _Call:
    """Return a call that breaks its schema."""
    arguments = {"text": voice.words(2, 5), "limit": "three"}
    return _Call(
        "tarx_recall", as_json(arguments), {"error": f"query is missing ({voice.serial}, {voice.words(1, 3)})"}
    )


_SCRIPTS: dict[Callable[[_Voice], _Chain], int] = {
    lambda voice: []: 22,
    lambda voice: [(_recall(voice),)]: 22,
    lambda voice: [(_remember(voice),)]: 8,
    lambda voice: [(_recall(voice),), (_remember(voice),), (_save(voice),)]: 20,
    lambda voice: [(_recall(voice), _recall(voice))]: 6,
    lambda voice: [(_search(voice),), (_fetch(voice),)]: 10,
    lambda voice: [(_not_fetched(voice),), (_search(voice),)]: 5,
    lambda voice: [(_miswritten(voice),), (_recall(voice),)]: 4,
    lambda voice: [(_recall(voice),), (_save(voice),)]: 3,
}
"""The chains that a turn may have, with their weights."""
