"""Owns the split: which examples are for training and which for watching and testing it. Pure; knows nothing of texts.

Theory. Two examples belong together when they come from one conversation, when one is nearly the other, or when a
source says so (the paraphrases of one question). Making components of all that at once does not work in a log: "hi"
and "thanks" are near duplicates across most conversations, and one component would hold nearly everything.
So there are two levels, and where they disagree a single example goes, never a conversation:

1. *A conversation* has one split. In order: what the parent build gave it; the registry's choice, which was made
   when it was first logged; with ``time`` the registry decides for ``eval`` only, and the rest goes by when the
   conversation began.
2. *A cluster* (a component of near duplicates and declared groups) has one split. In order: what the parent build gave
   to a member; ``eval``, when a conversation of that split is in it, since tests must stay clean; the split of its
   oldest member, because that one is there for good.
3. An example whose conversation and cluster disagree is left out (``split_conflict``). One without a conversation
   simply goes with its cluster.

From this follows, and ``tests/property/test_export_near.py`` shows it: no conversation and no cluster is in two
splits. A build that continues a parent moves none of its examples. The one exception to the first serves the second:
when new examples connect clusters that the parent has put into two splits, the old ones stay, since they were no near
duplicates then, and the new ones are left out.

An example that is in no conversation and has no parent goes by the hash of a stable name (``split_of_name``), and so
does a declared group.
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

from tarx_toollog.export.example import Split
from tarx_toollog.store.splits import bucket_of, split_of_bucket

CONFLICT = "split_conflict"
"""The reason, a key of ``export.reasons``, for what its conversation and its cluster put into different splits."""

NONE = -1
"""No conversation; no cluster."""

_SPLITS: tuple[Split, ...] = ("train", "dev", "eval")
_CODES = {split: code for code, split in enumerate(_SPLITS)}
_TRAIN, _DEV, _EVAL = range(3)
_UNSET = -1
_TORN = 3  # of a cluster: the parent has put it into several splits


class Item(NamedTuple):
    """One example to assign."""

    key: int
    home: Split
    """What its conversation is kept for: by the parent build if that knows the conversation, else by the registry.
    Without a conversation ``split_of_name`` of its group, or of its example id."""
    conversation: int = NONE
    """Number of its conversation. Such numbers begin at 0, and memory goes by the largest."""
    cluster: int = NONE
    """Number of its cluster, in the same way: the smallest key in it, for example."""
    started_at: float | None = None
    """Seconds since 1970."""
    prior: Split | None = None
    """What the parent build gave this very example; None when it is new."""


def split_of_name(name: str) -> Split:
    """Return the split of a stable name, with the shares of the registry."""
    return cast("Split", split_of_bucket(bucket_of(name)))


class Assignment:
    """What was decided for every item, in the order in which they came."""

    def __init__(self, keys: "array[int]", codes: "array[int]") -> None:
        self._keys, self._codes = keys, codes

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[tuple[int, Split | None]]:
        """Yield keys with their split; None for what is left out, with the reason ``CONFLICT``."""
        for key, code in zip(self._keys, self._codes, strict=True):
            yield key, None if code == _UNSET else _SPLITS[code]


def assign(items: Iterable[Item], *, time: float | None = None) -> Assignment:
    """Assign every item to a split. Needs some 50 bytes of memory an item.

    Args:
        items: In the order of the log: the first of a cluster is its oldest.
        time: Split by time: conversations that began before this moment (seconds since 1970) are for training, others
            for watching it. Without it the home of a conversation decides.

    Example:
        >>> same = {"conversation": 0, "home": "train"}
        >>> list(assign([Item(1, **same), Item(2, **same, cluster=0), Item(3, "eval", conversation=1, cluster=0)]))
        [(1, 'train'), (2, None), (3, 'eval')]
    """
    table = _Table(items)
    conversations = table.conversations(time)
    clusters = table.clusters(conversations)
    codes = array("b", (table.decided(row, conversations, clusters) for row in range(len(table.keys))))
    return Assignment(table.keys, codes)


class _Table:
    """Items as columns. Codes of splits are as in ``_SPLITS``; ``_UNSET`` where there is none."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.keys, self._conversations, self._clusters = array("q"), array("q"), array("q")
        self._homes, self._priors, self._starts = array("b"), array("b"), array("d")
        for item in items:
            self.keys.append(item.key)
            self._conversations.append(item.conversation)
            self._clusters.append(item.cluster)
            self._homes.append(_CODES[item.home])
            self._priors.append(_UNSET if item.prior is None else _CODES[item.prior])
            self._starts.append(math.inf if item.started_at is None else item.started_at)

    def conversations(self, time: float | None) -> "array[int]":
        """Return the split of every conversation, by its number."""
        splits, priors = _blank(self._conversations), _blank(self._conversations)
        starts = array("d", [math.inf]) * len(splits)
        for row, conversation in enumerate(self._conversations):
            if conversation != NONE:
                splits[conversation] = max(splits[conversation], self._homes[row])
                priors[conversation] = max(priors[conversation], self._priors[row])
                starts[conversation] = min(starts[conversation], self._starts[row])
        for conversation, prior in enumerate(priors):
            if prior != _UNSET:
                splits[conversation] = prior
            elif time is not None and splits[conversation] != _EVAL and starts[conversation] != math.inf:
                splits[conversation] = _TRAIN if starts[conversation] < time else _DEV
        return splits

    def clusters(self, conversations: "array[int]") -> "array[int]":
        """Return the split of every cluster, by its number."""
        priors, fixed, free = (_blank(self._clusters) for _ in range(3))
        for row, cluster in enumerate(self._clusters):
            if cluster == NONE:
                continue
            prior, conversation = self._priors[row], self._conversations[row]
            if prior != _UNSET:
                priors[cluster] = prior if priors[cluster] in (_UNSET, prior) else _TORN
            if conversation == NONE:
                free[cluster] = self._homes[row] if free[cluster] == _UNSET else free[cluster]
            elif fixed[cluster] == _UNSET or conversations[conversation] == _EVAL:
                fixed[cluster] = conversations[conversation]
        firsts = ((code for code in codes if code != _UNSET) for codes in zip(priors, fixed, free, strict=True))
        return array("b", (next(codes, _UNSET) for codes in firsts))

    def decided(self, row: int, conversations: "array[int]", clusters: "array[int]") -> int:
        """Return the split of a row; ``_UNSET`` when it is left out."""
        prior, conversation, cluster = self._priors[row], self._conversations[row], self._clusters[row]
        by_conversation = _UNSET if conversation == NONE else conversations[conversation]
        by_cluster = _UNSET if cluster == NONE else clusters[cluster]
        if by_cluster == _TORN:
            if prior == _UNSET:
                return _UNSET
            by_cluster = prior
        asked = {prior, by_conversation, by_cluster} - {_UNSET}
        if not asked:
            return self._homes[row]
        return asked.pop() if len(asked) == 1 else _UNSET


def _blank(numbers: "array[int]") -> "array[int]":
    """Return a column with a place for every number that may come."""
    return array("b", [_UNSET]) * (max(numbers, default=NONE) + 1)
