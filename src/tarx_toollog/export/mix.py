"""How much of each source is trained on: who stays, and how often a row is repeated.

No trainer reads weights of rows, so a weight is said with rows: a weight below 1 leaves rows out, one above 1 repeats
them. Splits are decided before; only rows of the training split are repeated and limited.

*Theory.* Each example has a number between 0 and 1, a hash of its content and the seed. A weight of 0.3 keeps those
below 0.3, a weight of 2.3 writes all twice and those a third time. So a row that was in stays in when others are added,
and when the weight grows. A share of trained tokens (``identity=8%``) is a weight that has to be found: with the tokens
T of the sources that have weights, and shares that sum up to S, all rows together have T / (1 - S) tokens, of which
each share is known. Limits come before that, because they change T. So they count the copies that a weight makes, and
those of a share, which are not known yet, as one. Rows are columns of numbers here: a million takes some 40 MB.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import floor
from typing import Any, NamedTuple, get_args

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.balance import NO_GROUP, BalanceSpec, Size, beyond_cap, surplus
from tarx_toollog.export.example import Source, Split

SOURCES: tuple[Source, ...] = get_args(Source)
MAX_COPIES = 50
"""Repetitions of a row from which a model learns it by heart; a share that needs more is an error."""
_JUDGED: tuple[Source, ...] = ("tool", "chat", "synthetic")
"""Sources among which answers without a call are limited: the others were chosen for what they say."""
_TRAIN, _TOOLS, _CALLS = 1, 2, 4
_SCRAMBLE = 0x9E3779B97F4A7C15  # odd, so that multiplying is one to one
_REASONS = ("", "mixed_out", "balanced_out", "enough_negatives", "enough_steps")
_PART = re.compile(
    r"(?P<source>\w+) = (?: x(?P<times>\d+) | (?P<share>[\d.]+)% | (?P<weight>[\d.]+) ) (?: :max=(?P<max>\d{1,9}) )?",
    re.VERBOSE,
)


class Answer(NamedTuple):
    """One of several answers that an example is learned from."""

    calls: tuple[str, ...]
    """Names of its calls."""
    step_no: int
    """Place in its chain, from 1."""
    n_trained: int
    """Its tokens, of those of the example."""


class Meta(NamedTuple):
    """What the mix and its accounting know of an example."""

    key: int
    """The caller's own number for it."""
    hash: bytes
    """Content hash; decides who stays."""
    source: Source
    split: Split
    n_trained: int
    """Tokens to learn."""
    calls: tuple[str, ...] = ()
    """Names of the calls in what is learned."""
    has_tools: bool = False
    """Whether tools were offered."""
    step_no: int = 1
    """Place in its chain, from 1."""
    conversation: str | None = None
    label: bool | None = None
    """Whether it is marked as a good answer; None when nobody compares."""
    answers: tuple[Answer, ...] = ()
    """All that is learned, where that is several answers: then ``calls`` are those of all."""


class Part(NamedTuple):
    """What is asked of one source: a weight or a share, and a limit."""

    weight: float | None = 1.0
    share: float | None = None
    """Of the trained tokens, between 0 and 1; then there is no weight."""
    limit: int | None = None
    """Different rows of the training split at most."""


class Kept(NamedTuple):
    """What becomes of an example."""

    key: int
    copies: int
    """How often it is written; 0 when it is left out."""
    reason: str | None
    """Why it is left out: a key of ``reasons.STAGES["mix"]``."""


MixSpec = Mapping[Source, Part]
"""What is asked of the sources that are named; the others have the weight 1."""


def parse_mix(text: str | None) -> dict[Source, Part]:
    """Read a specification such as ``tool=1,summary=0.3,identity=x4,synthetic=0.5:max=2000,chat=10%``.

    ``0.3`` is a weight, ``x4`` the same as the weight 4, ``10%`` a share of all trained tokens, ``:max=N`` a limit of
    different rows.

    Raises:
        ConfigError: It cannot be read, names a source twice or one that there is not, or asks for too much.
    """
    found: dict[Source, Part] = {}
    for part in text.split(",") if text is not None and text.strip() else ():
        source, asked = _part(part.strip())
        if source in found:
            raise ConfigError(f"--mix: {source} is given twice", hint="give each source once")
        found[source] = asked
    if sum(asked.share or 0 for asked in found.values()) >= 1:
        hint = "leave room for the sources that have a weight"
        raise ConfigError("--mix: the shares leave nothing for the other sources", hint=hint)
    return found


def _part(text: str) -> tuple[Source, Part]:
    match = _PART.fullmatch(text)
    if match is None:
        hint = "write tool=1,summary=0.3,identity=x4,chat=10%,synthetic=0.5:max=2000"
        raise ConfigError(f"--mix: {text!r} cannot be read", hint=hint)
    source = next((known for known in SOURCES if known == match["source"]), None)
    if source is None:
        raise ConfigError(f"--mix: there is no source {match['source']!r}", hint=f"there are {', '.join(SOURCES)}")
    limit = None if match["max"] is None else int(match["max"])
    number = match["times"] or match["share"] or match["weight"]
    try:
        weight = float(number)
    except ValueError:
        raise ConfigError(f"--mix: {number} is no number", hint=f"write {source}=0.5") from None
    if match["share"] is not None:
        return source, Part(None, weight / 100, limit)
    if weight > MAX_COPIES:
        raise ConfigError(f"--mix: {text!r} repeats rows more than {MAX_COPIES} times", hint="write more examples")
    return source, Part(weight, None, limit)


@dataclass(frozen=True, slots=True)
class Mixed:
    """What was decided; iterating gives one ``Kept`` for each example, in the order in which they came."""

    weights: Mapping[Source, float]
    """The weight of each source that has rows, those that were found for shares included."""
    _rows: "_Rows"
    _codes: bytearray

    def __iter__(self) -> Iterator[Kept]:
        """Yield what becomes of each example."""
        for place, key in enumerate(self._rows.keys):
            code = self._codes[place]
            n_copies = 0 if code else self._rows.copies(place, self.weights)
            yield Kept(key, n_copies, _REASONS[code] if code else None)


def decide(metas: Iterable[Meta], mix: MixSpec, balance: BalanceSpec, seed: int) -> Mixed:
    """Decide for each example whether it stays, and how often it is written.

    Args:
        metas: All examples that are still in, splits decided.
        mix: From ``parse_mix``.
        balance: From ``balance.parse_balance``.
        seed: Another seed, another choice.

    Raises:
        ConfigError: A share cannot be reached.
    """
    rows = _Rows(metas, seed, with_conversations=balance.conversation_cap is not None)
    return _Deciding(rows, mix).run(balance)


class _Rows:
    """The examples as columns."""

    def __init__(self, metas: Iterable[Meta], seed: int, *, with_conversations: bool) -> None:
        self.keys, self.ranks, self.tokens = array("q"), array("Q"), array("i")
        self.sources, self.flags, self.conversations, self.answers = bytearray(), bytearray(), array("q"), array("i")
        signatures, seed_key = _Numbers(), str(seed).encode()
        numbers, called = {source: number for number, source in enumerate(SOURCES)}, array("i")
        for meta in metas:
            self.keys.append(meta.key)
            self.ranks.append(_hash(meta.hash, seed_key))
            self.tokens.append(meta.n_trained)
            self.sources.append(numbers[meta.source])
            is_train = meta.split == "train"
            self.flags.append(_TRAIN * is_train + _TOOLS * meta.has_tools + _CALLS * (meta.calls != ()))
            called.append(signatures[meta.calls if is_train else ()])
            if with_conversations:
                self.answers.append(len(meta.answers) or 1)
                self.conversations.append(
                    NO_GROUP if meta.conversation is None else _hash(meta.conversation.encode()) >> 1
                )
        self.tools = _tool_groups(called, list(signatures))

    def copies(self, place: int, weights: Mapping[Source, float]) -> int:
        """Return how often a row that stays is written."""
        weight = weights[SOURCES[self.sources[place]]] if self.flags[place] & _TRAIN else 1.0
        return max(1, floor(weight) + self.is_more(place, weight - floor(weight)))

    def is_below(self, place: int, share: float) -> bool:
        """Say whether a row belongs to a share of all rows."""
        return self.ranks[place] < share * 2**64

    def is_more(self, place: int, share: float) -> bool:
        """Say the same by a number of its own: limits keep the lowest ranks, so those are no fair draw any more."""
        return (self.ranks[place] * _SCRAMBLE) % 2**64 < share * 2**64


class _Numbers(dict[Any, int]):
    """Numbers what it is asked for, from 0."""

    def __missing__(self, key: Any) -> int:
        self[key] = number = len(self)
        return number


def _tool_groups(called: "array[int]", signatures: Sequence[tuple[str, ...]]) -> "array[int]":
    """Return for each row the number of the rarest tool it calls: the limit of a common one must not cost that one."""
    counts: Counter[str] = Counter()
    for signature, n_rows in Counter(called).items():
        counts.update(dict.fromkeys(signatures[signature], n_rows))
    numbers = {name: number for number, name in enumerate(counts)}
    rarest = [min(calls, key=lambda name: (counts[name], name), default="") for calls in signatures]
    groups = [numbers.get(name, NO_GROUP) for name in rarest]
    return array("i", (groups[signature] for signature in called))


class _Deciding:
    """The decisions in their order; each looks at what the ones before left."""

    def __init__(self, rows: _Rows, mix: MixSpec) -> None:
        self._rows = rows
        self._mix = mix
        self._codes = bytearray(len(rows.keys))

    def run(self, balance: BalanceSpec) -> Mixed:
        rows, present = self._rows, {SOURCES[number] for number in set(self._rows.sources)}
        parts = {source: self._mix.get(source, Part()) for source in SOURCES if source in present}
        weights = {source: part.weight for source, part in parts.items() if part.weight is not None}
        self._thin(weights, rows.is_below)
        self._limit(balance, weights)
        for source, part in parts.items():
            if part.limit is not None:
                beyond = beyond_cap(rows.sources, rows.ranks, self._train((source,)), part.limit)
                self._drop(beyond, "mixed_out")
        found = self._found_weights(parts, weights)
        self._thin(found, rows.is_more)
        return Mixed(weights | found, rows, self._codes)

    def _train(self, sources: Iterable[Source] = SOURCES) -> Iterator[int]:
        """Yield the places of the training split that are still in."""
        numbers = {SOURCES.index(source) for source in sources}
        rows, codes = self._rows, self._codes
        return (
            place
            for place, flags in enumerate(rows.flags)
            if flags & _TRAIN and not codes[place] and rows.sources[place] in numbers
        )

    def _drop(self, places: Iterable[int], reason: str) -> None:
        for place in places:
            self._codes[place] = _REASONS.index(reason)

    def _thin(self, weights: Mapping[Source, float], is_in: Callable[[int, float], bool]) -> None:
        """Leave out rows of the sources whose weight is below 1, in every split."""
        shares = {SOURCES.index(source): weight for source, weight in weights.items() if weight < 1}
        for place, number in enumerate(self._rows.sources):
            if number in shares and not self._codes[place] and not is_in(place, shares[number]):
                self._codes[place] = _REASONS.index("mixed_out")

    def _limit(self, balance: BalanceSpec, weights: Mapping[Source, float]) -> None:
        """Leave out what a limit has no room for. What counts is what is written: a row as often as it is repeated."""
        rows, known = self._rows, {source: weights.get(source, 1.0) for source in SOURCES}

        def copies(place: int) -> int:
            return rows.copies(place, known)

        def answers(place: int) -> int:
            return rows.copies(place, known) * rows.answers[place]

        if balance.conversation_cap is not None:
            beyond = beyond_cap(rows.conversations, rows.ranks, self._train(), balance.conversation_cap, answers)
            self._drop(beyond, "enough_steps")
        if balance.tool_cap is not None:
            self._drop(beyond_cap(rows.tools, rows.ranks, self._train(), balance.tool_cap, copies), "balanced_out")
        if balance.negatives is not None:
            self._limit_negatives(balance.negatives, copies)

    def _limit_negatives(self, share: float, copies: Size) -> None:
        rows, without, n_with = self._rows, array("q"), 0
        for place in self._train(_JUDGED):
            if rows.flags[place] & _CALLS:
                n_with += copies(place)
            elif rows.flags[place] & _TOOLS:
                without.append(place)
        self._drop(surplus(without, rows.ranks, n_with, share, copies), "enough_negatives")

    def _found_weights(self, parts: Mapping[Source, Part], weights: Mapping[Source, float]) -> dict[Source, float]:
        """Return the weights that give each source its share of the trained tokens."""
        rows, tokens = self._rows, dict.fromkeys(parts, 0)
        for place in self._train():
            source = SOURCES[rows.sources[place]]
            tokens[source] += rows.tokens[place] * (rows.copies(place, weights) if source in weights else 1)
        shares = {source: part.share for source, part in parts.items() if part.share is not None and tokens[source]}
        if not shares:
            return {source: 0.0 for source, part in parts.items() if part.share is not None}
        weighed = sum(tokens[source] for source in weights)
        if not weighed:
            hint = "give one source that has rows a weight instead of a share"
            raise ConfigError("--mix: there is nothing beside the shares that they could be shares of", hint=hint)
        total = weighed / (1 - sum(shares.values()))
        found = {source: share * total / tokens[source] for source, share in shares.items()}
        for source, weight in found.items():
            if weight > MAX_COPIES:
                message = f"--mix: {source}={shares[source] * 100:g}% would repeat each row {weight:.0f} times"
                raise ConfigError(message, hint=f"the limit is {MAX_COPIES}: ask for less, or write more examples")
        return {source: found.get(source, 0.0) for source, part in parts.items() if part.share is not None}


def _hash(value: bytes, key: bytes = b"") -> int:
    return int.from_bytes(blake2b(value, digest_size=8, key=key).digest())
