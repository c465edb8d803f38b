"""The journal: what is appended comes back, whatever happens to the process, the disk or the file."""

import errno
import fcntl
import os
import re
from pathlib import Path
from uuid import UUID

import pytest

from tarx_toollog.errors import JournalError
from tarx_toollog.ids import uuid7
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store.frames import Frame, FrameParts, Kind
from tarx_toollog.store.journal import Journal, JournalEndedError

UID = uuid7()
OTHER_UID = uuid7()


def frame(payload: bytes = b"{}", uid: str = UID, kind: Kind = Kind.RESPONSE) -> FrameParts:
    return (kind, UUID(uid).bytes, [payload])


def payloads(path: Path, offset: int = 0) -> list[bytes]:
    return [found.payload for found in fr.read_frames(path, offset)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusing(fd: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "j", "w1")


def test_frames_come_back_in_order_with_kind_and_uid(journal: Journal) -> None:
    journal.append([frame(b"one"), frame(b"two", OTHER_UID, Kind.END)])
    journal.append([frame(b"three")])

    found = [(f.kind, f.uid, f.payload) for f in fr.read_frames(journal.current)]

    expected = [(Kind.RESPONSE, UID, b"one"), (Kind.END, OTHER_UID, b"two"), (Kind.RESPONSE, UID, b"three")]
    assert expected == found
    journal.close()


def test_reading_goes_on_where_it_stopped(journal: Journal) -> None:
    journal.append([frame(b"one")])
    (first,) = fr.read_frames(journal.current)
    journal.append([frame(b"two")])

    assert [b"two"] == payloads(journal.current, first.end_offset)
    journal.close()


def test_what_was_read_when_the_file_ended_early_is_whole_once_it_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "w-0.tlj"
    data = fr.MAGIC + fr.pack_frames([frame(b"one"), frame(b"x" * 5000)])
    for cut in (len(data) - 1, len(data) - 5000, len(data) - 5010):
        path.write_bytes(data[:cut])
        assert [b"one"] == payloads(path)
    path.write_bytes(data)
    assert [b"one", b"x" * 5000] == payloads(path)


def test_folder_and_files_are_readable_for_their_owner_only(journal: Journal) -> None:
    modes = {oct(path.stat().st_mode & 0o777) for path in journal.folder.iterdir()}

    assert ("0o700", {"0o600"}) == (oct(journal.folder.stat().st_mode & 0o777), modes)
    journal.close()


def test_a_torn_tail_ends_the_segment_and_costs_nothing_before_it(journal: Journal) -> None:
    journal.append([frame(b"one"), frame(b"two"), frame(b"three")])
    size = journal.current.stat().st_size
    for cut in range(1, 5 + 25):  # every cut within the last frame
        os.truncate(journal.current, size - cut)
        assert [b"one", b"two"] == payloads(journal.current)
    journal.close()


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w-0.tlj"
    data = fr.MAGIC + fr.pack_frames([frame(b"one"), frame(b"two")])
    start = len(fr.MAGIC) + len(fr.pack_frames([frame(b"one")]))
    for place in range(start, len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            assert [b"one"] == payloads(path), (place, bit)


def test_a_damaged_length_does_not_make_the_reader_allocate_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w-0.tlj"
    path.write_bytes(fr.MAGIC + b"\xff\xff\xff\xff" + b"\0" * 40)
    asked: list[int] = []
    opened = Path.open

    class Watching:
        def __init__(self, file: object) -> None:
            self._file = file

        def __enter__(self) -> "Watching":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

        def read(self, size: int) -> bytes:
            asked.append(size)
            return self._file.read(size)  # type: ignore[attr-defined,no-any-return]

    monkeypatch.setattr(Path, "open", lambda self, mode: Watching(opened(self, mode)))

    assert [] == payloads(path)
    assert max(asked) < 100


def test_a_file_of_another_kind_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "w-0.tlj"
    for data in (b"", b"TLJ", b"TLJ9\n" + fr.pack_frames([frame()]), b"\0" * 100):
        path.write_bytes(data)
        assert [] == payloads(path)


def test_a_frame_of_a_newer_version_ends_the_segment(tmp_path: Path) -> None:
    path = tmp_path / "w-0.tlj"
    newer = fr.pack_frames([(9, UUID(UID).bytes, [b"?"])])  # type: ignore[list-item]
    path.write_bytes(fr.MAGIC + fr.pack_frames([frame(b"one")]) + newer)

    assert [b"one"] == payloads(path)


def test_what_may_wait_is_written_with_what_comes_next(journal: Journal) -> None:
    journal.append([frame(b"one")])
    journal.append([frame(b"two")], may_wait=True)
    assert [b"one"] == payloads(journal.current)
    assert journal.bytes_written == jr.backlog_bytes(journal.folder) < journal.bytes_appended

    journal.append([frame(b"three")])

    assert [b"one", b"two", b"three"] == payloads(journal.current)
    assert journal.bytes_written == journal.bytes_appended == jr.backlog_bytes(journal.folder)
    journal.close()


@pytest.mark.parametrize("way", ["write_held", "end", "close"])
def test_what_waits_is_written_in_the_end(journal: Journal, way: str) -> None:
    journal.append([frame(b"one")], may_wait=True)

    getattr(journal, way)()

    assert [b"one"] == payloads(journal.current)
    journal.close()


def test_nothing_waits_where_an_answer_survives_the_machine(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w1", "power")
    journal.append([frame(b"one")], may_wait=True)

    assert [b"one"] == payloads(journal.current)
    journal.close()


def test_a_full_disk_costs_nothing_of_what_waits(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append([frame(b"one")], may_wait=True)
    with monkeypatch.context() as full:
        full.setattr(os, "write", refusing)
        with pytest.raises(OSError, match="No space left"):
            journal.append([frame(b"lost")])
        with pytest.raises(OSError, match="No space left"):
            journal.write_held()
    assert 0 == journal.bytes_written < journal.bytes_appended

    journal.append([frame(b"two")])

    assert [b"one", b"two"] == payloads(journal.current)
    journal.close()


def test_what_a_full_disk_keeps_waiting_at_the_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = []
    journal = Journal(tmp_path, "w1", failed=errors.append)
    journal.append([frame(b"one")], may_wait=True)
    monkeypatch.setattr(os, "write", refusing)

    journal.close()

    assert ["No space left on device"] == [error.strerror for error in errors if isinstance(error, OSError)]


def test_a_long_segment_is_followed_by_a_new_one(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 200)
    for number in range(10):
        journal.append([frame(b"%02d" % number * 20)])

    segments = jr.list_segments(journal.folder, "w1")

    assert len(segments) > 2
    assert [b"%02d" % number * 20 for number in range(10)] == [p for path in segments for p in payloads(path)]
    journal.close()


def test_rotating_an_empty_segment_does_nothing(journal: Journal) -> None:
    journal.rotate()

    assert ["w1-000000.tlj", "w1.lock"] == files(journal.folder)
    journal.close()


def test_closing_an_unused_journal_leaves_nothing(journal: Journal) -> None:
    journal.close()
    journal.close()

    assert [] == files(journal.folder)


def test_closing_a_used_journal_leaves_its_segment_and_lets_it_be_claimed(journal: Journal) -> None:
    journal.append([frame(b"one")])
    assert [] == list(jr.claim_dead(journal.folder))
    journal.close()

    assert ["w1"] == list(jr.claim_dead(journal.folder))
    assert [b"one"] == payloads(journal.current)


def test_a_journal_that_has_ended_takes_no_more_frames(journal: Journal) -> None:
    journal.append([frame(b"one")])
    journal.end()

    with pytest.raises(JournalEndedError):
        journal.append([frame(b"two")])
    journal.rotate()
    assert [b"one"] == payloads(journal.current)
    journal.close()
    with pytest.raises(JournalEndedError):
        journal.append([frame(b"three")])


# ---- a disk that is full --------------------------------------------------------------------------------------------


class FullDisk:
    """``os.write`` for a disk on which there is room for so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return self._write(fd, data[:taken])


def test_a_disk_that_fills_up_in_the_middle_of_a_frame_leaves_no_half_frame(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([frame(b"one")])
    disk = FullDisk(monkeypatch, room=30)

    with pytest.raises(OSError, match="No space"):
        journal.append([frame(b"two" * 50)])
    disk.room = 1000
    journal.append([frame(b"three")])

    assert [b"one", b"three"] == payloads(journal.current)
    assert journal.current.stat().st_size == journal.segment_bytes
    journal.close()


def test_a_half_frame_that_cannot_be_taken_back_costs_only_itself(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([frame(b"one")])
    disk = FullDisk(monkeypatch, room=30)

    def fail(_fd: int, _size: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(OSError, match="No space"):
        journal.append([frame(b"two" * 50)])
    with pytest.raises(OSError, match="No space"):
        journal.append([frame(b"three")])
    disk.room = 1000
    journal.append([frame(b"four")])

    found = [p for path in jr.list_segments(journal.folder) for p in payloads(path)]
    assert [b"one", b"four"] == found
    journal.close()


def test_a_rotation_that_fails_loses_nothing_and_writes_to_no_foreign_file(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 10)
    opened = os.open

    def full(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.suffix == ".tlj":
            raise OSError(28, "No space left on device")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    journal.append([frame(b"one")])
    with (tmp_path / "foreign").open("wb") as foreign:  # takes the lowest free descriptor
        journal.append([frame(b"two")])
        foreign.flush()
        assert b"" == (tmp_path / "foreign").read_bytes()
    assert [b"one", b"two"] == payloads(journal.current)

    monkeypatch.setattr(os, "open", opened)
    journal.append([frame(b"three")])
    journal.append([frame(b"four")])
    found = [p for path in jr.list_segments(journal.folder) for p in payloads(path)]
    assert [b"one", b"two", b"three", b"four"] == found
    journal.close()


def test_a_journal_that_cannot_be_opened_leaves_no_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, room=3)
    before = open_files()
    for number in range(20):
        with pytest.raises(JournalError, match="No space left"):
            Journal(tmp_path / "j", f"w{number}")

    assert ([], before) == (files(tmp_path / "j"), open_files())


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(JournalError, match=re.escape(str(tmp_path / "file"))) as caught:
        Journal(tmp_path / "file" / "j", "w1")
    assert "TOOLLOG_JOURNAL_DIR" in caught.value.hint


# ---- whose segments -------------------------------------------------------------------------------------------------


def test_the_segments_of_a_living_process_are_not_claimed(tmp_path: Path) -> None:
    alive, dead = Journal(tmp_path, "alive"), Journal(tmp_path, "dead")
    for journal in (alive, dead):
        journal.append([frame()])
    dead.close()

    assert (["dead"], True, False) == (
        list(jr.claim_dead(tmp_path)),
        jr.is_alive(tmp_path, "alive"),
        jr.is_alive(tmp_path, "dead"),
    )
    alive.close()


def test_of_two_that_claim_at_once_one_gets_the_segments(tmp_path: Path) -> None:
    dead = Journal(tmp_path, "dead")
    dead.append([frame()])
    dead.close()

    for writer_uid in jr.claim_dead(tmp_path):
        assert ("dead", []) == (writer_uid, list(jr.claim_dead(tmp_path)))
    assert ["dead"] == list(jr.claim_dead(tmp_path))


def test_a_claim_whose_segments_are_gone_takes_the_lock_file_along(tmp_path: Path) -> None:
    dead = Journal(tmp_path, "dead")
    dead.append([frame()])
    dead.close()
    for _ in jr.claim_dead(tmp_path):
        dead.current.unlink()

    assert [] == files(tmp_path)


def test_a_child_that_was_forked_does_not_keep_up_the_lock_of_its_parent(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "parent")
    journal.append([frame()])
    inherited = os.dup(journal._lock_fd)  # what a fork gives to a child: the same open file
    journal.close()
    assert [] == list(jr.claim_dead(tmp_path)), "the test proves nothing if this does not block"
    os.close(inherited)
    assert ["parent"] == list(jr.claim_dead(tmp_path))

    journal = Journal(tmp_path, "again")
    lock_fd = journal._lock_fd
    journal.forget_after_fork()
    with pytest.raises(OSError, match="Bad file descriptor"):
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
    with pytest.raises(JournalEndedError):
        journal.append([frame()])


def test_the_backlog_is_what_the_segments_hold(journal: Journal) -> None:
    journal.append([frame(b"12345")])

    assert journal.bytes_appended == jr.backlog_bytes(journal.folder)
    journal.close()


# ---- putting an exchange together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        b"\x02\x00\x00\x00{}",
        b"\xff\xff\xff\xff",
        b"\x02\x00\x00\x00[]",
        b"[]",
        b"5",
        b'{"status":200,"headers":[["a"]]}',
        b'{"status":200,"headers":[],"new_field":1}',
        b"\xff" * 40,
        b"[" * 20_000,
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_a_payload_that_makes_no_sense_is_a_journal_error(kind: Kind, payload: bytes) -> None:
    with pytest.raises(JournalError, match=f"journal frame {kind.name} of {UID}"):
        fr.Assembly().add(Frame(kind, UID, payload, 0))
