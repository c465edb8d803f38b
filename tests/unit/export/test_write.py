from contextlib import closing
from pathlib import Path

from tarx_toollog.export.example import Dropped, Row, Summary, Task, Unit
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.canonical import CanonicalFormat
from tarx_toollog.export.write import write_rows
from tarx_toollog.store.spool import Body, Entry, Spool, Written


class Mute:
    """A format of somebody else: it makes its file at once, and can say nothing."""

    name = "mute"
    about = "nothing"
    tasks: frozenset[Task] = frozenset({"sft"})
    units: frozenset[Unit] = frozenset({"step"})

    def writer(self, folder: Path, options: FormatOptions) -> "Mute":
        (folder / "train.jsonl").touch()
        return self

    def add(self, row: Row) -> Location:
        raise Dropped("too_quiet")

    def finish(self, summary: Summary) -> None:
        raise AssertionError("there is nothing to finish")

    def close(self) -> None:
        pass


def test_a_format_without_rows_leaves_no_file_and_is_not_finished(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db")) as spool:
        entry = Entry(1, b"1", "chat", n_tokens=1, n_trained=1, tokens_from="usage", split="train")
        spool.add(entry, Body("[]", '{"role": "assistant", "content": "Hello."}'))
        content = tmp_path / "content"
        content.mkdir()

        counts, _ = write_rows(spool, content, [Mute(), CanonicalFormat()], FormatOptions(), lambda _: (), lambda: None)

    assert {"mute": {}, "canonical": {"train": 1}} == {name: one.rows for name, one in counts.items()}
    assert {"too_quiet": 1} == counts["mute"].dropped
    assert ["canonical"] == [path.name for path in content.iterdir()]


def test_only_what_no_format_has_written_is_out_with_the_reason_of_the_first(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db")) as spool:
        for key in range(1, 5):
            spool.add(Entry(key, None, "chat", reason="no_answer" if key == 4 else None), None)
        for name, reason, kept in (("trl", "needs_mask", 1), ("openai", "format_cannot_say", 2)):
            for key in range(1, 4):
                is_kept = key == kept
                place = ("train.jsonl", 1, None) if is_kept else (None, None, reason)
                spool.note(Written(name, key, 0, *place))

        spool.drop_unwritten()

        assert [None, None, "needs_mask", "no_answer"] == [one.reason for one in spool.entries(only_in=False)]
