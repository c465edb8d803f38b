"""How well near duplicates and contaminated examples are found, and what it costs.

python -m bench near

The corpus is made up, so that the truth is known: every example comes with one that differs from it in a known way, and
a trainer would take the pair for one lesson, or for two. The words have the frequencies of a language (Zipf), and no
meaning. Where datasketch can be imported, its MinHashLSH gets the plain text of the same examples: what one would do
without any knowledge of chats. The other baseline compares all with all.
"""

import importlib.util
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate, combinations
from typing import Any, NamedTuple

from tarx_toollog.export.clusters import UnionFind
from tarx_toollog.export.contamination import Contamination, EvalDocument
from tarx_toollog.export.near import THRESHOLD, NearIndex, document

Message = dict[str, Any]
BASES = 3_000  # examples with a relative; many more, and comparing all with all takes minutes
MANY = 1_000_000
EVALUATED, ASKED = 400, 20_000
KEPT = 40_000  # steps kept for evaluation in a log of half a million
_BATCH = 5_000


class Chat(NamedTuple):
    prompt: list[Message]
    answer: Message


class Words:
    """A made-up language."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
        words = {"".join(self.random.choices(syllables, k=self.random.randint(1, 4))) for _ in range(6_000)}
        self._words = sorted(words, key=lambda word: (len(word), word))
        self._weights = list(accumulate(1 / (place + 3) for place in range(len(self._words))))

    def some(self, least: int, most: int) -> list[str]:
        return self.random.choices(self._words, cum_weights=self._weights, k=self.random.randint(least, most))

    def text(self, least: int, most: int) -> str:
        return " ".join(self.some(least, most)).capitalize() + "."

    def number(self) -> int:
        return self.random.randint(1, 10**6)


def chat(words: Words) -> Chat:
    """Return an example: an answer in text, a call, or the answer to the result of a call."""
    number = f" {words.number()}" if words.random.random() < 0.3 else ""
    asked = {"role": "user", "content": f"{words.text(8, 40)[:-1]}{number}?"}
    prompt = [{"role": "system", "content": words.text(5, 30)}, asked]
    shape = words.random.random()
    if shape < 0.4:
        return Chat(prompt, {"role": "assistant", "content": words.text(20, 120)})
    called = _call(words.random.choice(["recall", "remember", "weather", "search"]), words)
    if shape < 0.7:
        return Chat(prompt, called)
    found = {
        "at": f"2026-05-{words.random.randint(10, 28)}T10:{words.random.randint(10, 59)}:00Z",
        "id": words.number(),
    }
    result = {"role": "tool", "content": json.dumps(found | {"found": words.text(5, 60)}), "tool_call_id": "c"}
    return Chat([*prompt, called, result], {"role": "assistant", "content": words.text(20, 120)})


def _call(name: str, words: Words) -> Message:
    arguments = {"query": " ".join(words.some(1, 4)), "limit": words.number()}
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": function}]}


# ---- relatives ------------------------------------------------------------------------------------------------------


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _said(change: Callable[[str], str]) -> Callable[[Chat, Words], Chat]:
    def changed(one: Chat, _: Words) -> Chat:
        prompt, answer = _copied(one)
        prompt[1]["content"] = change(prompt[1]["content"])
        return Chat(prompt, answer)

    return changed


def _other_prompt(one: Chat, words: Words) -> Chat:
    return Chat([{"role": "system", "content": words.text(5, 30)}, *one.prompt[1:]], one.answer)


def _other_times(one: Chat, words: Words) -> Chat | None:
    prompt, answer = _copied(one)
    if prompt[-1]["role"] != "tool":
        return None
    found = json.loads(prompt[-1]["content"])
    prompt[-1]["content"] = json.dumps(found | {"at": "2026-07-01T08:00:01Z", "id": words.number()})
    return Chat(prompt, answer)


def _edited(share: float, least: int) -> Callable[[Chat, Words], Chat | None]:
    """Change a share of the words of the question and of the answer, where there are at least so many."""

    def changed(one: Chat, words: Words) -> Chat | None:
        prompt, answer = _copied(one)
        for message in (prompt[1], answer):
            parts = message["content"].split()
            if len(parts) < least:
                return None
            for place in words.random.sample(range(len(parts)), max(1, round(len(parts) * share))):
                parts[place] = words.some(1, 1)[0] + "x"
            message["content"] = " ".join(parts)
        return Chat(prompt, answer)

    return changed


def _other_value(one: Chat, words: Words) -> Chat | None:
    prompt, answer = _copied(one)
    calls = answer.get("tool_calls") or prompt[-2].get("tool_calls")
    if not calls:
        return None
    calls[0]["function"]["arguments"]["query"] += " other"
    return Chat(prompt, answer)


def _other_number(one: Chat, words: Words) -> Chat | None:
    prompt, answer = _copied(one)
    question, last = prompt[1]["content"].rsplit(" ", 1)
    prompt[1]["content"] = f"{question} {words.number() + 10**6}?"
    return Chat(prompt, answer) if last[0].isdigit() else None


def _other_question(one: Chat, words: Words) -> Chat:
    prompt, answer = _copied(one)
    prompt[1]["content"] = words.text(8, 40)
    return Chat(prompt, answer)


def _longer_question(one: Chat, words: Words) -> Chat:
    prompt, answer = _copied(one)
    prompt[1]["content"] += " " + words.text(10, 20)
    return Chat(prompt, answer)


def _other_answer(one: Chat, words: Words) -> Chat | None:
    return Chat(one.prompt, {"role": "assistant", "content": words.text(20, 120)}) if one.answer["content"] else None


def _next_step(one: Chat, words: Words) -> Chat | None:
    if not one.answer.get("tool_calls"):
        return None
    return Chat([*one.prompt, one.answer, {"role": "tool", "content": "ok", "tool_call_id": "c"}], one.answer)


SAME: dict[str, Callable[[Chat, Words], Chat | None]] = {
    "case and punctuation": _said(lambda text: text.upper().replace("?", " !!").replace(" ", ", ", 2)),
    "white space": _said(lambda text: f"\n  {text.replace(' ', '  ')}\n"),
    "another system prompt": _other_prompt,
    "other times and ids in the result": _other_times,
    "one word in thirty": _edited(1 / 30, 20),
}
DIFFERENT: dict[str, Callable[[Chat, Words], Chat | None]] = {
    "another argument value": _other_value,
    "another number in the question": _other_number,
    "another question, the same answer": _other_question,
    "a question with one more clause": _longer_question,
    "one word in six": _edited(1 / 6, 20),
    "another answer to the same question": _other_answer,
    "the next step, with the same call again": _next_step,
}


class Corpus(NamedTuple):
    chats: list[Chat]
    families: list[int]
    """Number of the lesson that each is."""
    kinds: list[tuple[str, int, int]]
    """How a relative differs, its place, and that of the example it comes from."""


def corpus(bases: int, seed: int = 1) -> Corpus:
    words, made = Words(seed), Corpus([], [], [])
    for _ in range(bases):
        base, place = chat(words), len(made.chats)
        made.chats.append(base)
        made.families.append(place)
        kind, change = words.random.choice([*SAME.items(), *DIFFERENT.items()])
        if (relative := change(base, words)) is not None:
            made.kinds.append((kind, len(made.chats), place))
            made.families.append(place if kind in SAME else len(made.chats))
            made.chats.append(relative)
    return made


# ---- quality --------------------------------------------------------------------------------------------------------


def quality() -> dict[str, Any]:
    """Return precision and recall over pairs of examples, by threshold, with both baselines."""
    made = corpus(BASES)
    texts = [document(one.prompt, one.answer) for one in made.chats]
    found: dict[str, Any] = {}
    for threshold in (0.7, THRESHOLD, 0.9):
        with NearIndex() as index:
            for key, text in enumerate(texts):
                index.add(key, text)
            groups = _connected(len(texts), index.pairs(threshold))
            found[f"ours, {threshold}"] = _judged(made, groups)
            if threshold == THRESHOLD:
                ours, by_kind = groups, _by_kind(made, groups)
                every = (
                    (a, b, 1.0) for a, b in combinations(range(len(texts)), 2) if index.similarity(a, b) >= threshold
                )
                exhaustive = _connected(len(texts), every)
    pairs = [sum(len(part) * (len(part) - 1) // 2 for part in groups.components()) for groups in (ours, exhaustive)]
    return {
        "examples": len(texts),
        "by_threshold": found,
        "same_lesson_found": {kind: by_kind[kind] for kind in SAME},
        "different_lesson_kept_apart": {kind: by_kind[kind] for kind in DIFFERENT},
        "connected_by_the_index": pairs[0],
        "connected_by_comparing_all_with_all": pairs[1],
    } | _datasketch(made)


def _connected(size: int, pairs: Iterator[tuple[int, int, float]]) -> UnionFind:
    groups = UnionFind(size)
    for one, other, _ in pairs:
        groups.union(one, other)
    return groups


def _judged(made: Corpus, groups: UnionFind) -> dict[str, float]:
    true = sum(count * (count - 1) // 2 for count in Counter(made.families).values())
    said = [pair for part in groups.components() for pair in combinations(part, 2)]
    right = sum(made.families[a] == made.families[b] for a, b in said)
    return {"precision": round(right / (len(said) or 1), 4), "recall": round(right / true, 4)}


def _by_kind(made: Corpus, groups: UnionFind) -> dict[str, str]:
    right, total = Counter[str](), Counter[str]()
    for kind, place, base in made.kinds:
        total[kind] += 1
        right[kind] += (groups.find(place) == groups.find(base)) == (kind in SAME)
    return {kind: f"{right[kind]} of {total[kind]}" for kind in total}


def _datasketch(made: Corpus) -> dict[str, Any]:
    if importlib.util.find_spec("datasketch") is None:
        return {"datasketch": "not installed"}
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

    start = time.process_time()
    lsh, groups = MinHashLSH(threshold=THRESHOLD, num_perm=128), UnionFind(len(made.chats))
    for place, one in enumerate(made.chats):
        words = _plain(one).lower().split()
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)])
        for other in lsh.query(sketch):
            groups.union(place, other)
        lsh.insert(place, sketch)
    seconds = time.process_time() - start
    return {"datasketch, 0.8": _judged(made, groups) | {"us_per_example": round(seconds / len(made.chats) * 1e6)}}


def _plain(one: Chat) -> str:
    turn = [message for message in (*one.prompt, one.answer) if message["role"] != "system"]
    calls = [call["function"] for message in turn for call in message.get("tool_calls", ())]
    return " ".join([message["content"] for message in turn] + [json.dumps(call) for call in calls])


# ---- contamination --------------------------------------------------------------------------------------------------

_PARAPHRASES: dict[str, Callable[[str, Words], str]] = {
    "the same": lambda text, _: text,
    "case and punctuation": lambda text, _: text.upper().replace(" ", ", ", 3),
    "other numbers": lambda text, words: f"{text.rsplit(' ', 1)[0]} {words.number()}?",
    "word order": lambda text, words: " ".join(words.random.sample(text.split(), len(text.split()))),
    "put before": lambda text, words: f"{words.text(5, 12)} {text}",
    "put around": lambda text, words: f"{words.text(20, 60)} {text} {words.text(20, 60)}",
    "one word in ten": lambda text, words: " ".join(
        "changed" if at % 10 == 4 else word for at, word in enumerate(text.split())
    ),
}
_GENERIC = ("hi", "Thanks!", "yes", "ok, go on", "no", "Hello there", "great, thank you")
_FRAME = "Answer the question below as TARX, in the language of the user, with the tools that are there. Question: "


def contamination(*, framed: bool = False) -> dict[str, Any]:
    """Return the share of paraphrased tests that is found, and the share of other examples that is taken for one."""
    words, frame = Words(2), _FRAME if framed else ""
    tests = [_framed(chat(words), frame) for _ in range(EVALUATED)]
    tests += [Chat([{"role": "user", "content": text}], {"content": words.text(3, 9)}) for text in _GENERIC]
    known = Contamination(EvalDocument(one.prompt, one.answer, is_scenario=True) for one in tests)
    found: dict[str, str] = {}
    for kind, change in _PARAPHRASES.items():
        right = 0
        for prompt, answer in tests[:EVALUATED]:
            text = frame + change(prompt[1]["content"].removeprefix(frame), words)
            right += known.finds([prompt[0], {"role": "user", "content": text}, *prompt[2:]], answer) is not None
        found[kind] = f"{right} of {EVALUATED}"
    others = [_framed(chat(words), frame) for _ in range(ASKED)]
    others += [Chat([{"role": "user", "content": text}], one.answer) for text in _GENERIC for one in others[:100]]
    start = time.process_time()
    wrong = sum(known.finds(*one) is not None for one in others)
    seconds = time.process_time() - start
    return {
        "found": found,
        "taken_for_one": f"{wrong} of {len(others)}",
        "us_per_example": round(seconds / len(others) * 1e6, 1),
    }


def _framed(one: Chat, frame: str) -> Chat:
    said = one.prompt[1]["content"]
    return Chat([one.prompt[0], {"role": "user", "content": frame + said}, *one.prompt[2:]], one.answer)


# ---- the cost -------------------------------------------------------------------------------------------------------


def cost(size: int) -> dict[str, Any]:
    """Return what a large index takes, in a process of its own: one in five examples is nearly another."""
    command = [sys.executable, "-c", f"from bench.near import _cost; _cost({size})"]
    figures: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return figures


def _cost(size: int) -> None:
    words, edit, spent, n_characters, earlier = Words(3), _edited(1 / 30, 20), 0.0, 0, list[Chat]()
    with NearIndex() as index:
        for first in range(0, size, _BATCH):
            chats = [chat(words) for _ in range(min(_BATCH, size - first))]
            chats[::5] = [edit(one, words) or one for one in earlier[::5]] or chats[::5]
            earlier = chats
            start = time.process_time()
            for key, one in enumerate(chats, first):
                text = document(one.prompt, one.answer)
                index.add(key, text)
                n_characters += len(text)
            spent += time.process_time() - start
        start = time.process_time()
        n_pairs = sum(1 for _ in index.pairs())
        searched = time.process_time() - start
    figures = {
        "examples": size,
        "characters_each": n_characters // size,
        "pairs": n_pairs,
        "add_us_each": round(spent / size * 1e6, 1),
        "search_us_each": round(searched / size * 1e6, 1),
        "processor_s": round(spent + searched, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(figures))


def contamination_cost() -> dict[str, Any]:
    """Return what it takes to look for many tests at once."""
    words = Words(5)
    kept = [chat(words) for _ in range(KEPT)]
    start = time.process_time()
    known = Contamination(EvalDocument(one.prompt, one.answer) for one in kept)
    built = time.process_time()
    others = [chat(words) for _ in range(_BATCH)]
    begin = time.process_time()
    wrong = sum(known.finds(*one) is not None for one in others)
    return {
        "tests": KEPT,
        "build_us_each": round((built - start) / KEPT * 1e6),
        "us_per_example": round((time.process_time() - begin) / _BATCH * 1e6),
        "taken_for_one": f"{wrong} of {_BATCH}",
    }


def measure() -> dict[str, Any]:
    """Return all figures."""
    costs = cost(MANY)  # first: a child inherits the peak of the memory of its parent
    return {
        "baseline": "datasketch MinHashLSH on plain text, 128 permutations; and comparing all with all",
        "quality": quality(),
        "contamination": contamination(),
        "contamination_framed": contamination(framed=True),
        "contamination_cost": contamination_cost(),
        "cost": costs,
    }
