"""Clusters: what hangs together, and which of them are kept."""

from tarx_toollog.export.clusters import Quality, UnionFind, keep_best


def test_everything_stands_alone_at_first() -> None:
    groups = UnionFind(3)
    assert [0, 1, 2] == [groups.find(item) for item in range(3)]
    assert [] == list(groups.components())


def test_a_set_is_named_by_its_smallest_member_whatever_the_order() -> None:
    for pairs in ([(4, 2), (2, 1)], [(1, 2), (4, 2)], [(4, 1), (4, 2)]):
        groups = UnionFind(5)
        assert [True, True] == [groups.union(*pair) for pair in pairs]
        assert [0, 1, 1, 3, 1] == [groups.find(item) for item in range(5)]
        assert [[1, 2, 4]] == list(groups.components())


def test_what_is_one_already_is_not_united_again() -> None:
    groups = UnionFind(2)
    assert [True, False, False] == [groups.union(0, 1), groups.union(0, 1), groups.union(1, 0)]


def test_it_grows_and_keeps_what_it_knows() -> None:
    groups = UnionFind(2)
    groups.union(0, 1)
    groups.grow(4)
    groups.grow(3)
    groups.union(3, 1)
    assert 4 == len(groups)
    assert [[0, 1, 3]] == list(groups.components())


def test_it_says_whether_all_are_connected() -> None:
    groups = UnionFind(4)
    groups.union(0, 1)
    groups.union(1, 2)
    assert groups.is_connected([2, 0, 1])
    assert not groups.is_connected([0, 3])
    assert groups.is_connected([])


PLAIN = Quality(is_prior=False, label=0, started_at=100.0)


def kept(worth: dict[int, Quality]) -> list[int]:
    """Return which of members that are all alike is kept."""
    return keep_best(worth, worth.__getitem__, lambda a, b: True)[0]


def test_of_equals_the_oldest_is_kept_and_then_the_first() -> None:
    assert [2] == kept({1: PLAIN, 2: PLAIN._replace(started_at=50.0), 3: PLAIN})
    assert [1] == kept({3: PLAIN, 1: PLAIN, 2: PLAIN})


def test_a_label_counts_more_than_age() -> None:
    assert [3] == kept({1: PLAIN, 2: PLAIN._replace(label=-1, started_at=1.0), 3: PLAIN._replace(label=1)})


def test_what_stands_in_the_parent_build_counts_most() -> None:
    assert [2] == kept({1: PLAIN._replace(label=1), 2: PLAIN._replace(is_prior=True, started_at=200.0)})


def test_the_ends_of_a_row_of_likes_are_both_kept_when_they_are_better_than_what_connects_them() -> None:
    worth = {1: PLAIN._replace(label=1), 2: PLAIN, 3: PLAIN._replace(label=1)}
    assert ([1, 3], {2: 1}) == keep_best([1, 2, 3], worth.__getitem__, lambda a, b: abs(a - b) == 1)


def test_what_connects_a_row_of_likes_is_kept_alone_when_it_is_the_best() -> None:
    worth = {1: PLAIN, 2: PLAIN._replace(label=1), 3: PLAIN}
    assert ([2], {1: 2, 3: 2}) == keep_best([1, 2, 3], worth.__getitem__, lambda a, b: abs(a - b) == 1)
