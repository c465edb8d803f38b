"""Near duplicates and splits: the index misses nothing, and no growth moves what was decided."""

import itertools
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.export.clusters import Quality, UnionFind, keep_best
from tarx_toollog.export.example import Split
from tarx_toollog.export.near import NearIndex, document
from tarx_toollog.export.splitting import NONE, Item, assign

# ---- the index ------------------------------------------------------------------------------------------------------

BASES = (
    "please tell me again what I have said about the cat and the dog next door",
    "how long does it take to walk from the station to the old house at the lake 1 2",
    "yes",
)


def _edited(base: str, edits: list[tuple[int, str]], answer: str) -> str:
    words = base.split()
    for place, word in edits:
        words[place % len(words)] = word
    question = {"role": "user", "content": " ".join(words)}
    return document([question], {"role": "assistant", "content": answer})


EDIT = st.tuples(st.integers(0, 30), st.sampled_from(("other", "new", "3", "")))
ANSWER = st.sampled_from(("Yes.", "No, it is not.", "That is what you said, and I believe it is so."))
DOCUMENT = st.builds(_edited, st.sampled_from(BASES), st.lists(EDIT, max_size=3), ANSWER)


def components(size: int, pairs: list[tuple[int, int]]) -> list[list[int]]:
    groups = UnionFind(size)
    for pair in pairs:
        groups.union(*pair)
    return list(groups.components())


@given(st.lists(DOCUMENT, max_size=120), st.sampled_from([0.6, 0.7, 0.8, 1.0]))
def test_the_index_connects_what_comparing_all_with_all_connects(documents: list[str], threshold: float) -> None:
    with NearIndex() as index:
        for key, text in enumerate(documents):
            index.add(key, text)
        pairs = list(index.pairs(threshold))
        every = list(itertools.combinations(range(len(documents)), 2))
        alike = [pair for pair in every if index.similarity(*pair) >= threshold]
        assert all(similarity == index.similarity(a, b) >= threshold for a, b, similarity in pairs)
    connected = components(len(documents), [pair[:2] for pair in pairs])
    assert components(len(documents), alike) == connected
    assert sum(len(part) - 1 for part in connected) == len(pairs)


@given(st.lists(DOCUMENT, min_size=1, max_size=60))
def test_the_order_of_the_documents_does_not_matter(documents: list[str]) -> None:
    found = []
    for order in (documents, documents[::-1]):
        with NearIndex() as index:
            for key, text in enumerate(order):
                index.add(key, text)
            pairs = [pair[:2] for pair in index.pairs()]
        found.append(sorted(sorted(order[key] for key in part) for part in components(len(order), pairs)))
    assert found[0] == found[1]


# ---- clusters -------------------------------------------------------------------------------------------------------

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(PAIRS)
def test_union_find_says_what_paths_say(pairs: list[tuple[int, int]]) -> None:
    reached = [{item} for item in range(20)]
    for _ in range(20):
        for a, b in pairs:
            reached[a] |= reached[b]
            reached[b] |= reached[a]
    groups = UnionFind(20)
    for pair in pairs:
        groups.union(*pair)
    assert [min(each) for each in reached] == [groups.find(item) for item in range(20)]


@given(PAIRS, st.lists(st.builds(Quality, st.booleans(), st.integers(-1, 1), st.just(0.0)), min_size=20, max_size=20))
def test_no_two_that_are_kept_are_alike_and_the_others_have_a_better_one(
    pairs: list[tuple[int, int]], worth: list[Quality]
) -> None:
    alike = {frozenset(pair) for pair in pairs}
    kept, instead = keep_best(range(20), worth.__getitem__, lambda a, b: frozenset((a, b)) in alike)
    assert sorted([*kept, *instead]) == list(range(20))
    assert not any(frozenset(pair) in alike for pair in itertools.combinations(kept, 2))
    for member, better in instead.items():
        assert better in kept
        assert frozenset((member, better)) in alike
        assert worth[better][:2] >= worth[member][:2]


# ---- the split ------------------------------------------------------------------------------------------------------

SPLIT: st.SearchStrategy[Split] = st.sampled_from(("train", "dev", "eval"))
_CONVERSATIONS = 6


class Log(NamedTuple):
    """Examples in the order of time."""

    conversations: list[int]
    homes: list[Split]
    """Of each conversation; those of examples without one follow."""
    times: list[float]
    pairs: list[tuple[int, int]]
    """Near duplicates, and members of one group."""


@st.composite
def logs(draw: st.DrawFn) -> Log:
    size = draw(st.integers(1, 24))
    conversations = draw(st.lists(st.integers(NONE, _CONVERSATIONS - 1), min_size=size, max_size=size))
    homes = draw(st.lists(SPLIT, min_size=_CONVERSATIONS + size, max_size=_CONVERSATIONS + size))
    times = draw(st.lists(st.floats(0, 10), min_size=size, max_size=size))
    pairs = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=12))
    return Log(conversations, homes, times, pairs)


def assigned(log: Log, size: int, prior: dict[int, Split], time: float | None) -> dict[int, Split]:
    """Assign the first ``size`` examples; return those that are in."""
    groups = UnionFind(size)
    for a, b in log.pairs:
        if a < size and b < size:
            groups.union(a, b)
    clustered = {member for part in groups.components() for member in part}
    items = [
        Item(
            key,
            log.homes[_CONVERSATIONS + key if log.conversations[key] == NONE else log.conversations[key]],
            log.conversations[key],
            groups.find(key) if key in clustered else NONE,
            log.times[key],
            prior.get(key),
        )
        for key in range(size)
    ]
    return {key: split for key, split in assign(items, time=time) if split is not None}


@given(logs(), st.none() | st.floats(0, 10), st.data())
def test_no_growth_moves_an_example_nor_tears_apart_what_belongs_together(
    log: Log, time: float | None, data: st.DataObject
) -> None:
    prior: dict[int, Split] = {}
    size = 0
    while size < len(log.conversations):
        size = data.draw(st.integers(size + 1, len(log.conversations)))
        now = assigned(log, size, prior, time)
        assert prior == {key: now.get(key) for key in prior}
        for a, b in itertools.combinations(now, 2):
            if log.conversations[a] == log.conversations[b] != NONE:
                assert now[a] == now[b]
        for a, b in log.pairs:
            if a in now and b in now:
                assert now[a] == now[b]
        prior = now


@given(logs(), st.none() | st.floats(0, 10))
def test_only_what_is_like_something_else_is_ever_left_out(log: Log, time: float | None) -> None:
    size = len(log.conversations)
    alone = set(range(size)) - {key for pair in log.pairs for key in pair}
    assert alone <= assigned(log, size, {}, time).keys()


@given(logs())
def test_what_is_kept_for_evaluation_is_never_left_out_of_it(log: Log) -> None:
    found = assigned(log, len(log.conversations), {}, None)
    for key, conversation in enumerate(log.conversations):
        if conversation != NONE and log.homes[conversation] == "eval":
            assert "eval" == found[key]
