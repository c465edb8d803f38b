"""Owns contamination: does a training example hold what the model is tested with? Pure; it never reads a database.

Theory. A test measures nothing when its questions were trained on, nor when they were trained on in other words. So an
example is contaminated when *any* turn of it, history included, is nearly a turn that is kept for evaluation: trainers
that do not mask the prompt learn from the history, too. A turn is what the user said (after the end of the answer
before it when that is few words: ``documents.turn_context``) and the names of the calls that followed.

Case, width, punctuation and numbers are gone before anything is compared (``documents.words_of``). For the rest of what
paraphrases change there are three measures:

- *The same bag*: the Jaccard similarity of words and call names, without order.
- *Contained*: a short turn of the evaluation stands as a whole in the training turn, whatever was put around it. Of a
  turn of 13 words and more, half of its 13-grams do (n-grams of that size as in Brown et al. 2020; we ask for a share
  of them, because one may be a quotation). Words that weigh little are passed over on both sides of the longer ones.
- *The same call*, with the same argument values, after the same words: also for turns of few words.

What redaction took out is compared by its mark, which is the same for the same value: it is spelled as words, about as
many as an address has.

What everybody says must not empty the training set. Words, names and n-grams weigh ``log((N + 1) / n)``, where n of the
N different turns of the evaluation hold them: the frame that an application puts around each question weighs next
to nothing. And a turn that says little, of few words or weighing less than one word of its own would, counts only with
*the same call*: "thanks" is a question in no test.

Bags are searched through an index of their heaviest words. What two bags share that are alike to t weighs t of each; so
their two heaviest common words are among the heaviest of either that make up 1 - t of its weight and that of one word
more (one common word is enough where it alone weighs so much). Texts are searched through their heaviest word. Neither
loses anything.
"""

import json
import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from tarx_toollog.export.documents import (
    FEW_WORDS,
    Message,
    answer_before,
    calls_of,
    context_of,
    turn_opening,
    turn_start,
    words_of,
)
from tarx_toollog.export.redact import MARK

BAG = 0.75
"""The similarity of words and call names from which two turns are nearly the same."""
SHARE = 0.5
"""The share of the n-grams of a longer turn that has to be found."""
GRAM = 13
"""Words of an n-gram."""

_MARK = re.compile(rf"{MARK}(\w+):([0-9a-f]+)⟧")
_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # words with digits in them count as numbers, and are all alike
_LITTLE = 0.2  # what a word weighs that stands in about a third of 400 turns: an article, the frame of an application
_GRAMS = 16  # n-grams that are kept of one turn: those with the smallest hashes, so that pasted texts cost no more
_OF_BOTH = BAG / (1 + BAG)  # two bags are alike when they share so much of what they weigh together
_ROUNDING = 1e-9
_TEXTS = 256  # texts whose candidates are remembered: the steps of a chain come one after the other
_CACHE = 4096  # verdicts on turns: a history comes again with each of its steps


@dataclass(frozen=True, slots=True)
class EvalDocument:
    """One step that the model is, or may be, tested with."""

    prompt: Sequence[Message]
    """What it is shown; canonical, or as it was on the wire."""
    answer: Message
    """What was answered."""
    conversation_uid: str | None = None
    exchange_uid: str | None = None
    is_scenario: bool = False
    """It is a step of a replay scenario; otherwise of a conversation that is kept for evaluation."""


class TurnParts(NamedTuple):
    """What of a turn is compared, unread."""

    before: str
    """The end of the answer before it."""
    said: Sequence[str]
    """The texts of its user, who speaks at its beginning only."""
    calls: Sequence[Message]
    """Its messages that hold calls."""


def turn_parts(messages: Sequence[Message], first: int, end: int) -> TurnParts:
    """Return what of the turn ``messages[first:end]`` is compared."""
    return TurnParts(answer_before(messages, first), turn_opening(messages[:end], first), calls_in(messages[first:end]))


def calls_in(messages: Iterable[Message]) -> list[Message]:
    """Return the messages that hold calls."""
    return [message for message in messages if message.get("tool_calls")]


class _Turn(NamedTuple):
    words: str
    names: tuple[str, ...]
    decision: str
    """The calls as text, with their values; empty when none of them has any."""


class Contamination:
    """Finds what the model is tested with.

    Example:
        >>> said = {"role": "assistant", "content": "Mia"}
        >>> known = Contamination([EvalDocument([{"role": "user", "content": "What is the name of my cat?"}], said)])
        >>> known.finds([{"role": "user", "content": "Hello! WHAT is the name of my cat"}], said)
        'near_scenario'
    """

    def __init__(self, documents: Iterable[EvalDocument]) -> None:
        """Read what is kept for evaluation, once."""
        self._conversations: set[str] = set()
        self._exchanges: set[str] = set()
        self._decisions: set[bytes] = set()
        self._read: dict[int, tuple[Message, list[tuple[str, list[Any], bool]]]] = {}
        asked: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for document in documents:
            if document.conversation_uid is not None:
                self._conversations.add(document.conversation_uid)
            if document.exchange_uid is not None and document.is_scenario:
                self._exchanges.add(document.exchange_uid)
            messages = [*document.prompt, document.answer]
            turn = self._turn(turn_parts(messages, turn_start(messages, len(document.prompt)), len(messages)))
            asked[turn.words].add(turn.names)
            if turn.decision:
                self._decisions.add(_digest(turn))
        weights = _Weights(Counter(word for words, names in asked.items() for word in _bag(words, *names)), len(asked))
        telling = {words: names for words, names in asked.items() if _is_telling(words, weights)}
        self._bags = _Bags(telling, weights)
        self._grams = _Grams(telling, weights)
        self._verdicts: dict[_Turn, bool] = {}

    def finds(
        self,
        prompt: Sequence[Message],
        answer: Message,
        *,
        conversation_uid: str | None = None,
        exchange_uid: str | None = None,
    ) -> str | None:
        """Return why an example must not be trained on, a reason of ``export.reasons``; None when it may.

        Args:
            prompt: All messages but the last; canonical.
            answer: The last message.
            conversation_uid: Where it comes from, if it was logged.
            exchange_uid: The exchange that it was logged with.
        """
        found = self.kept(conversation_uid, exchange_uid)
        if found is None and self.knows([*prompt, answer]):
            return "near_scenario"
        return found

    def kept(self, conversation_uid: str | None, exchange_uid: str | None) -> str | None:
        """Return why an example must not be trained on because of where it was logged; None when it may."""
        if exchange_uid in self._exchanges:
            return "in_scenario"
        return "eval_conversation" if conversation_uid in self._conversations else None

    def knows(self, messages: Sequence[Message]) -> bool:
        """Say whether any turn of a history is nearly one that is kept for evaluation."""
        end = len(messages)
        while end > 0:
            first = turn_start(messages, end - 1)
            if first < end and self.knows_turn(turn_parts(messages, first, end)):
                return True
            end = min(first, end - 1)
        return False

    def knows_turn(self, parts: TurnParts) -> bool:
        """Say whether a turn is nearly one that is kept for evaluation."""
        turn = self._turn(parts)
        known = self._verdicts.get(turn)
        if known is None:
            known = bool(turn.decision) and _digest(turn) in self._decisions
            if not known and _n_words(turn.words) >= FEW_WORDS:
                known = self._bags.has(turn) or self._grams.has(turn.words)
            if len(self._verdicts) >= _CACHE:
                self._verdicts.clear()
            self._verdicts[turn] = known
        return known

    def _turn(self, parts: TurnParts) -> _Turn:
        words = " ".join(filter(None, map(_words, [context_of(parts.before, parts.said), *parts.said])))
        calls = [call for message in parts.calls for call in self._calls(message)]
        decision = json.dumps([values for _, values, _ in calls]) if any(tells for *_, tells in calls) else ""
        return _Turn(words, tuple(name for name, *_ in calls), decision)

    def _calls(self, message: Message) -> list[tuple[str, list[Any], bool]]:
        """Return name, values and whether there are any of each call; a message comes again with each later step."""
        known = self._read.get(id(message))
        if known is None:
            if len(self._read) >= _CACHE:
                self._read.clear()
            calls = [
                (call.name, [call.name, call.values, *map(_words, call.prose)], bool(call.values or call.prose))
                for call in calls_of(message)
            ]
            known = self._read[id(message)] = (message, calls)  # the message is kept, so that its id stays its own
        return known[1]


def _words(text: str) -> str:
    return words_of(_MARK.sub(_spelled, text) if MARK in text else text)


def _spelled(mark: re.Match[str]) -> str:
    digits = mark[2].translate(_LETTERS)
    return f" {mark[1]} {' '.join(digits[at : at + 4] for at in range(0, len(digits), 4))} "


def _bag(words: str, *names: Iterable[str]) -> frozenset[str]:
    return frozenset(words.split()).union(f"{name}()" for chain in names for name in chain)


def _n_words(text: str) -> int:
    return text.count(" ") + 1 if text else 0


def _digest(turn: _Turn) -> bytes:
    return _short_hash(f"{turn.words}\n{turn.decision}")


def _short_hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


class _Weights:
    """What words weigh: the more, the fewer of ``total`` turns hold them. One that stands in none weighs 1."""

    def __init__(self, counts: Mapping[str, int], total: int) -> None:
        most = math.log(total + 1)
        self._weights = {word: math.log((total + 1) / count) / most for word, count in counts.items()}

    def one(self, word: str) -> float:
        return self._weights.get(word, 1.0)

    def of(self, words: Iterable[str]) -> float:
        return math.fsum([self._weights.get(word, 1.0) for word in words])

    def core(self, words: str) -> str:
        """Return a text without the words that weigh little."""
        return " ".join([word for word in words.split() if self._weights.get(word, 1.0) >= _LITTLE])

    def heaviest(self, words: Iterable[str], weight: float) -> Iterator[str]:
        """Yield the heaviest words until they weigh more than ``weight`` together."""
        taken = 0.0
        for minus, word in sorted([(-self._weights.get(word, 1.0), word) for word in words]):
            yield word
            taken -= minus
            if taken > weight:
                return


def _is_telling(words: str, weights: _Weights) -> bool:
    return _n_words(words) >= FEW_WORDS and weights.of(_bag(words)) >= 1


class _Bags:
    """Finds turns by the words and names they hold, and short ones that stand in a longer text."""

    def __init__(self, asked: Mapping[str, Iterable[tuple[str, ...]]], weights: _Weights) -> None:
        self._weights = weights
        self._words: dict[str, str] = {}  # each word once: bags hold references
        self._bags: list[tuple[str, ...]] = []
        self._totals = array("d")
        self._index: dict[str, array[int]] = {}
        self._texts: dict[str, list[str]] = {}
        self._seen: dict[str, _Words] = {}
        for words, chains in asked.items():
            self._add_text(words)
            for names in sorted(chains):
                self._add_bag(_bag(words, names))

    def _add_bag(self, bag: frozenset[str]) -> None:
        for word in self._heaviest(bag):
            self._index.setdefault(word, array("I")).append(len(self._bags))
        self._bags.append(tuple(self._words.setdefault(word, word) for word in sorted(bag)))
        self._totals.append(self._weights.of(bag))

    def _add_text(self, words: str) -> None:
        text = words if _n_words(words) < GRAM else self._weights.core(words)
        if FEW_WORDS <= _n_words(text) < GRAM:
            (heaviest,) = self._weights.heaviest(_bag(text), 0)  # whatever contains the text has this word, too
            self._texts.setdefault(heaviest, []).append(f" {text} ")

    def _heaviest(self, bag: frozenset[str]) -> Iterator[str]:
        most = max(map(self._weights.one, bag), default=0.0)
        return self._weights.heaviest(bag, (1 - BAG) * self._weights.of(bag) + most)

    def has(self, turn: _Turn) -> bool:
        known = self._known(turn.words)
        if known.has_text:
            return True
        names = [(-self._weights.one(name), name) for name in _bag("", turn.names)]
        of_names = -sum(minus for minus, _ in names)
        weight = known.weight + of_names
        for number in self._candidates(known, names, weight):
            least = _OF_BOTH * (weight + self._totals[number]) - _ROUNDING
            common = known.common[number]
            if common + of_names < least:
                continue
            if common - sum(minus for minus, name in names if name in self._bags[number]) >= least:
                return True
        return False

    def _known(self, words: str) -> "_Words":
        """Return what is known of a text: the steps of a chain differ in their calls alone."""
        known = self._seen.get(words)
        if known is None:
            if len(self._seen) >= _TEXTS:
                self._seen.clear()
            bag = {word: self._weights.one(word) for word in _bag(words)}
            text = f" {words} | {self._weights.core(words)} "
            has_text = any(short in text for word in bag for short in self._texts.get(word, ()))
            known = self._seen[words] = _Words(bag, math.fsum(bag.values()), has_text)
        return known

    def _candidates(self, known: "_Words", names: list[tuple[float, str]], weight: float) -> Iterator[int]:
        """Yield the bags that share enough of the heaviest words, and note the weight of all that they share."""
        ordered = sorted([*known.ordered, *names])
        heaviest = -ordered[0][0] if ordered else 0.0
        limit, taken = (1 - BAG) * weight + heaviest, 0.0
        found: Counter[int] = Counter()
        for minus, word in ordered:
            found.update(self._index.get(word, ()))
            taken -= minus
            if taken > limit:
                break
        n_shared = 1 if heaviest >= BAG * weight else 2  # what one word cannot reach, two have to
        for number, count in found.items():
            if count < n_shared:
                continue
            if number not in known.common:
                known.common[number] = sum([known.bag[each] for each in self._bags[number] if each in known.bag])
            yield number


class _Words:
    """The words of one text, weighed, and what they have in common with bags that were looked at."""

    __slots__ = ("bag", "common", "has_text", "ordered", "weight")

    def __init__(self, bag: dict[str, float], weight: float, has_text: bool) -> None:
        self.bag = bag
        self.weight = weight
        self.has_text = has_text
        self.ordered = sorted((-of, word) for word, of in bag.items())
        self.common: dict[int, float] = {}


class _Grams:
    """Finds long turns by their n-grams."""

    def __init__(self, asked: Iterable[str], weights: _Weights) -> None:
        self._core = weights.core
        kept = [sorted(_hashes(weights.core(words)))[:_GRAMS] for words in asked]
        self._holders: dict[int, list[int]] = {}
        for number, grams in enumerate(kept):
            for gram in grams:
                self._holders.setdefault(gram, []).append(number)
        self._most = math.log(len(kept) + 1)
        self._enough = [SHARE * sum(map(self._weight, grams)) for grams in kept]

    def _weight(self, gram: int) -> float:
        return self._most - math.log(len(self._holders[gram]))

    def has(self, words: str) -> bool:
        if not self._holders:
            return False
        found: dict[int, float] = defaultdict(float)
        for gram in self._holders.keys() & _hashes(self._core(words)):
            for number in self._holders[gram]:
                found[number] += self._weight(gram)
        return any(weight >= self._enough[number] for number, weight in found.items())


def _hashes(text: str) -> set[int]:
    words = text.split()
    grams = (" ".join(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1))
    return {int.from_bytes(_short_hash(gram), "little") for gram in grams}
