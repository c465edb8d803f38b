"""Owns near duplicates: which of a million examples are alike. Knows no SQL, and of texts only what is compared.

Theory. What is compared, and why, stands in ``export.documents``: an essence, which must be equal, and three sections,
each of which must be alike. Here is how pairs are found without comparing all with all.

A section becomes a set of word pairs, hashed by simple tabulation (the XOR of a random number per word and place;
Pătraşcu & Thorup 2012), and of that set the 128 smallest hashes are kept: a bottom-k sketch (Cohen 1997), exact for
sections of up to 128 pairs, and for longer ones an estimate of the Jaccard similarity with a standard error of at most
0.044. Sketches lie in a temporary file. Only equal essences are compared, and of equal sketches only the first.

A block of few is compared pair by pair. A large one goes through one-permutation MinHash (Li, Owen & Zhang 2012; 128
bins, and an empty one takes the value of another that its own fixed sequence finds first: Shrivastava 2017) in 32
bands of 4: the chance to miss a pair that is alike to 0.8 is below one in ten million. Every band holds bins of every
section, so that neither one answer to a thousand questions nor one question with a thousand answers brings them
together. What has a band in common is verified with the sketches; where very many have, each is held against those
nearest in size. What is connected already is not looked at again: a spanning forest is found, and a thousand copies
give 999 pairs, not half a million.

Nothing depends on ``PYTHONHASHSEED`` or on chance.
"""

import os
import tempfile
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import groupby
from operator import xor
from pathlib import Path
from typing import Any, Self

from tarx_toollog.export.clusters import UnionFind
from tarx_toollog.export.documents import document

__all__ = ["THRESHOLD", "NearIndex", "document"]

THRESHOLD = 0.8
"""The similarity from which two examples are near duplicates."""

_SKETCH = 128  # hashes of one section; its number has to fit in a byte
_SECTIONS = "ura"
_TABLE_LIMIT = 50_000  # words whose random numbers are remembered


class _Table(dict[str, int]):
    """A random number of 32 bits for every word at one place of a pair."""

    def __init__(self, place: int) -> None:
        self._person = bytes([place])

    def __missing__(self, word: str) -> int:
        if len(self) >= _TABLE_LIMIT:
            self.clear()
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4, person=self._person).digest()
        number = self[word] = int.from_bytes(digest, "little")
        return number


_FIRST, _SECOND = _Table(1), _Table(2)


@lru_cache(maxsize=128)
def _line_sketch(line: str) -> tuple[int, ...]:
    """Return the smallest hashes of the word pairs of a line. Its first word, the section, marks both its ends."""
    words = line.split(" ")
    words.append(words[0])
    pairs = set(map(xor, map(_FIRST.__getitem__, words), map(_SECOND.__getitem__, words[1:])))
    return tuple(sorted(pairs)[:_SKETCH])


def _sketch(lines: Iterable[str]) -> bytes:
    """Return the record of a document: the number of hashes of each section, then the hashes."""
    sections: dict[str, set[int]] = {section: set() for section in _SECTIONS}
    for line in lines:
        sections[line[0]].update(_line_sketch(line))
    lowest = [sorted(sections[section])[:_SKETCH] for section in _SECTIONS]
    return bytes(map(len, lowest)) + array("I", [value for values in lowest for value in values]).tobytes()


def _sections(record: bytes) -> list[frozenset[int]]:
    values = array("I", record[len(_SECTIONS) :])
    ends = [sum(record[: number + 1]) for number in range(len(_SECTIONS))]
    return [frozenset(values[end - record[number] : end]) for number, end in enumerate(ends)]


def _similarity(one: Sequence[frozenset[int]], other: Sequence[frozenset[int]], least: float = 0.0) -> float:
    """Return the similarity of the two sections that are least alike; 0 where it is below ``least``."""
    lowest = 1.0
    for a, b in zip(one, other, strict=True):
        if a != b:
            lowest = min(lowest, _jaccard(a, b) if min(len(a), len(b)) >= least * max(len(a), len(b)) else 0.0)
            if lowest < least:
                return 0.0
    return lowest


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    both, either = a & b, a | b
    if len(either) <= _SKETCH or max(len(a), len(b)) < _SKETCH:  # nothing was cut off
        return len(both) / len(either)
    last = sorted(either)[_SKETCH - 1]  # what lies beyond may be missing in one of them
    return sum(value <= last for value in both) / _SKETCH


# ---- the index ------------------------------------------------------------------------------------------------------

_BINS, _BANDS = 128, 32
_IN_BAND = _BINS // _BANDS
_WINDOW = 64  # a group of at most so many is compared pair by pair; in a larger one, each with so many of its size
_CHUNK = 8192  # rows of band keys that are read at once


class NearIndex:
    """Finds near duplicates among documents. Needs some 50 bytes of memory a document; sketches lie in a file.

    Example:
        >>> with NearIndex() as index:
        ...     for key, cat in enumerate(["Mia", "mia!", "Tom"]):
        ...         index.add(key, document([], {"content": f"The name of your cat is {cat}"}))
        ...     list(index.pairs())
        [(0, 1, 1.0)]
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Begin an empty index; ``folder`` is where its temporary files lie, which have no names and vanish with it."""
        self._folder = folder
        self._file = self._temporary()
        self._keys, self._essences, self._digests = array("q"), array("Q"), array("Q")
        self._ends = array("Q", [0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._keys)

    def close(self) -> None:
        """Let go of the temporary file."""
        self._file.close()

    def add(self, key: int, document: str) -> None:
        """Add a document.

        Args:
            key: Greater than the one before.
            document: What ``document`` returned.
        """
        if self._keys and key <= self._keys[-1]:
            raise ValueError(f"keys have to ascend: {key} after {self._keys[-1]}")
        essence, *lines = document.split("\n")
        record = _sketch(lines)
        self._file.write(record)
        self._keys.append(key)
        self._essences.append(_hash(essence.encode("utf-8", "surrogatepass")))
        self._digests.append(_hash(record))
        self._ends.append(self._ends[-1] + len(record))

    def similarity(self, one: int, other: int) -> float:
        """Return how alike the documents of two keys are, from 0 to 1; 0 when their essences differ."""
        self._file.flush()
        a, b = self._place(one), self._place(other)
        return _similarity(self._sections(a), self._sections(b)) if self._essences[a] == self._essences[b] else 0.0

    def pairs(
        self, threshold: float = THRESHOLD, among: Callable[[int], object] | None = None
    ) -> Iterator[tuple[int, int, float]]:
        """Yield near duplicates: the smaller key, the larger one, their similarity, which is at least ``threshold``.

        What other pairs connect already is not yielded: n that are alike give n - 1 pairs. So to leave documents out
        afterwards would tear the others apart; ``among`` says of a key whether it is looked at.
        """
        self._file.flush()
        groups = UnionFind(len(self))
        for block in self._blocks(among):
            distinct = array("I")
            for _, same in groupby(block, key=self._digests.__getitem__):
                first, *others = same
                distinct.append(first)
                for other in others:
                    groups.union(first, other)
                    yield self._keys[first], self._keys[other], 1.0
            for bucket in [distinct] if len(distinct) <= _WINDOW else self._buckets(distinct):
                for a, b, similarity in self._alike(bucket, threshold, groups):
                    yield self._keys[min(a, b)], self._keys[max(a, b)], similarity

    def _blocks(self, among: Callable[[int], object] | None) -> Iterator["array[int]"]:
        """Yield what has one essence, where there are several; equal sketches stand together, the oldest first."""
        places = (place for place, key in enumerate(self._keys) if among is None or among(key))
        order = array("I", sorted(places, key=self._digests.__getitem__))
        order = array("I", sorted(order, key=self._essences.__getitem__))
        for start, stop in _runs(order, self._essences):
            yield order[start:stop]

    def _buckets(self, places: "array[int]") -> Iterator["array[int]"]:
        """Yield, band by band, those of a large block whose signatures agree in it."""
        with self._temporary() as file:
            for place in places:
                signature = _signature(self._sections(place))
                keys = [zlib.crc32(signature[at : at + 4 * _IN_BAND]) for at in range(0, 4 * _BINS, 4 * _IN_BAND)]
                file.write(array("I", keys).tobytes())
            file.flush()
            for band in range(_BANDS):
                column = array("I")
                for start in range(0, len(places), _CHUNK):
                    rows = os.pread(file.fileno(), _CHUNK * _BANDS * 4, start * _BANDS * 4)
                    column.extend(array("I", rows)[band::_BANDS])
                order = array("I", sorted(range(len(places)), key=column.__getitem__))
                for start, stop in _runs(order, column):
                    yield array("I", [places[number] for number in order[start:stop]])

    def _alike(self, bucket: "array[int]", threshold: float, groups: UnionFind) -> Iterator[tuple[int, int, float]]:
        """Yield pairs of a bucket that are alike and not connected yet."""
        if groups.is_connected(bucket):
            return
        sections = {place: self._sections(place) for place in bucket}
        by_size = sorted(bucket, key=lambda place: (sum(map(len, sections[place])), place))
        for number, a in enumerate(by_size):
            for b in by_size[number + 1 : number + 1 + _WINDOW]:
                if groups.find(a) == groups.find(b):
                    continue
                similarity = _similarity(sections[a], sections[b], threshold)
                if similarity >= threshold:
                    groups.union(a, b)
                    yield a, b, similarity

    def _sections(self, place: int) -> list[frozenset[int]]:
        start, end = self._ends[place], self._ends[place + 1]
        return _sections(os.pread(self._file.fileno(), end - start, start))

    def _place(self, key: int) -> int:
        place = bisect_left(self._keys, key)
        if place == len(self) or self._keys[place] != key:
            raise KeyError(key)
        return place

    def _temporary(self) -> Any:
        return tempfile.TemporaryFile(buffering=2**20, dir=self._folder)


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _runs(order: "array[int]", values: "array[int]") -> Iterator[tuple[int, int]]:
    """Yield where two or more neighbours in ``order`` have one value: first place, and the place after the last."""
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or values[order[stop]] != values[order[start]]:
            if stop - start > 1:
                yield start, stop
            start = stop


def _signature(sections: Sequence[frozenset[int]]) -> bytes:
    """Return the least hash of every bin. Parts that are not empty take the bins in turn, so each is in every band."""
    filled = [section for section in sections if section]
    signature = array("I", bytes(_BINS * 4))
    for number, section in enumerate(filled):
        least = {value % _BINS: value for value in sorted(section, reverse=True)}
        for bin_ in range(_BINS):
            if bin_ % _IN_BAND % len(filled) == number:
                found = least.get(bin_)
                signature[bin_] = least[next(filter(least.__contains__, _probes()[bin_]))] if found is None else found
    return signature.tobytes()


@cache
def _probes() -> list[list[int]]:
    """Return for every bin the order in which it asks the others."""
    bins = [bytes([bin_]) for bin_ in range(_BINS)]
    return [[other for _, other in sorted((_hash(bin_ + at), at[0]) for at in bins)] for bin_ in bins]
