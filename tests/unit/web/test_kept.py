"""Figures that are kept: never those of another state than the one that is."""

from tarx_toollog.web.kept import Kept


class Source:
    """Something that changes, counted, and how often it was counted."""

    def __init__(self) -> None:
        self.state = b"1"
        self.counted = 0

    def count(self) -> bytes:
        self.counted += 1
        return self.state


def read(kept: Kept[bytes], source: Source, key: str = "a") -> bytes:
    return kept.get(key, lambda: source.state, source.count)


def test_what_did_not_change_is_counted_once() -> None:
    kept, source = Kept[bytes](8), Source()
    assert [b"1"] * 3 == [read(kept, source) for _ in range(3)]
    assert 1 == source.counted


def test_what_changed_is_counted_again_also_when_it_changes_back() -> None:
    kept, source = Kept[bytes](8), Source()
    for state in (b"1", b"2", b"1"):
        source.state = state
        assert state == read(kept, source)
    assert 3 == source.counted


def test_what_changes_while_it_is_counted_is_not_kept() -> None:
    kept, source = Kept[bytes](8), Source()

    def count() -> bytes:
        source.state = b"2"
        return b"of neither"

    assert b"of neither" == kept.get("a", lambda: source.state, count)
    source.state = b"1"
    assert b"1" == read(kept, source)


def test_only_what_was_asked_for_last_is_kept() -> None:
    kept, source = Kept[bytes](2), Source()
    for key in ("a", "b", "a", "c"):
        read(kept, source, key)
    assert 3 == source.counted
    read(kept, source, "a")
    assert 3 == source.counted
    read(kept, source, "b")
    assert 4 == source.counted
