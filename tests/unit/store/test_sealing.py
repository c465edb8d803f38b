"""The journal is sealed: what it takes to open it, where the key is held and when it goes."""

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog import Settings
from tarx_toollog.errors import JournalError
from tarx_toollog.ids import uuid7
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store import quarantine, sealing
from tarx_toollog.store.frames import FrameParts, Kind
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.sealing import Cipher, KeyGoneError, KeyKeeper, find_key, forget_key
from tests.support.asgi import query, recording, uids
from tests.support.builders import assistant, raw_exchange, user

UID = UUID(int=7).bytes
SAID = b"what nobody else may read"
shared_memory = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="its objects are files on Linux only")


def frame(payload: bytes = SAID, kind: Kind = Kind.CHUNKS) -> FrameParts:
    return (kind, UID, [payload])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def shared(folder: Path, writer_uid: str) -> Path:
    """Return where Linux shows the shared memory of a writer."""
    return Path("/dev/shm") / sealing._name(folder, writer_uid).lstrip("/")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, "w")
    yield made
    made.close()
    forget_key(tmp_path, "w")


# ---- bytes ----------------------------------------------------------------------------------------------------------

kinds = st.sampled_from(list(Kind))
some_frames = st.lists(
    st.tuples(kinds, st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=99))), max_size=5
)


@given(appends=st.lists(some_frames, min_size=1, max_size=4), segment_bytes=st.integers(1, 600))
def test_what_was_sealed_opens_and_no_nonce_is_used_twice(
    tmp_path_factory: pytest.TempPathFactory, appends: list[list[FrameParts]], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("sealed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jr, "MAX_SEGMENT_BYTES", segment_bytes)
        journal = Journal(folder, "w")
        for frames in appends:
            journal.append(frames)
    segments = jr.list_segments(folder)
    found = [(f.kind, UUID(f.uid).bytes, f.payload) for path in segments for f in fr.read_frames(path)]
    heads = [(h.kind, UUID(h.uid).bytes) for path in segments for h in fr.read_heads(path)]
    nonces = [fr._SEALED.unpack(one.head)[1] for path in segments for one in raw(path)]
    for path in segments:
        path.unlink()
    journal.close()
    forget_key(folder, "w")

    written = [(kind, uid, b"".join(payload)) for frames in appends for kind, uid, payload in frames]
    assert (written, [part[:2] for part in written]) == (found, heads)
    assert list(range(len(written))) == nonces


def raw(path: Path) -> list[fr._Found]:
    with path.open("rb") as file:
        return list(fr._found(file, fr._SEALED, len(fr.MAGIC)))


def test_nothing_of_what_was_said_can_be_read_in_the_segment(journal: Journal) -> None:
    journal.append([frame(SAID * 3)])

    data = journal.current.read_bytes()
    assert [] == [at for at in range(len(SAID) - 7) if SAID[at : at + 8] in data]
    assert [SAID * 3] == [f.payload for f in fr.read_frames(journal.current)]


def test_every_flipped_bit_of_a_sealed_frame_is_noticed(journal: Journal) -> None:
    journal.append([frame(b"one")])
    start = journal.segment_bytes
    journal.append([frame(b"two")])
    data = journal.current.read_bytes()
    for place in range(start, len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            journal.current.write_bytes(damaged)
            assert [b"one"] == [f.payload for f in fr.read_frames(journal.current)], (place, bit)


def test_a_frame_opens_only_where_it_was_written(journal: Journal) -> None:
    journal.append([frame(b"one")])
    size = journal.segment_bytes
    journal.append([frame(b"two")])
    data = journal.current.read_bytes()
    first, second = data[len(fr.MAGIC) : size], data[size:]
    for moved in (second + first, first + first, second):
        journal.current.write_bytes(fr.SEALED_MAGIC + moved)
        assert moved.startswith(first) == bool(list(fr.read_frames(journal.current)))
        assert len(list(fr.read_frames(journal.current))) <= 1
    journal.current.write_bytes(data)
    other = journal.folder / "w-000001.tlj"
    other.write_bytes(data)
    assert [] == list(fr.read_frames(other))
    other.unlink()


def test_with_another_key_or_for_another_writer_nothing_opens() -> None:
    key = bytes(range(32))
    sealed = Cipher(key, "w").seal(1, SAID, b"about")

    assert SAID == Cipher(key, "w").open(1, sealed, b"about")
    assert [None] * 4 == [
        Cipher(bytes(32), "w").open(1, sealed, b"about"),
        Cipher(key, "v").open(1, sealed, b"about"),
        Cipher(key, "w").open(2, sealed, b"about"),
        Cipher(key, "w").open(1, sealed, b"other"),
    ]


def test_a_write_that_failed_does_not_give_its_nonce_to_the_next_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            journal.append([frame(b"one")])
    journal.append([frame(b"two")])

    assert [1] == [fr._SEALED.unpack(one.head)[1] for one in raw(journal.current)]


def test_what_async_holds_is_sealed_when_it_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w", "async")
    journal.append([frame()])
    journal.write_held()

    assert SAID not in journal.current.read_bytes()
    assert [SAID] == [f.payload for f in fr.read_frames(journal.current)]
    journal.close()
    forget_key(tmp_path, "w")


# ---- the key --------------------------------------------------------------------------------------------------------


@shared_memory
def test_the_key_is_in_memory_for_its_owner_only_and_in_no_file(journal: Journal) -> None:
    place = shared(journal.folder, "w")

    assert ["w-000000.tlj", "w.lock"] == names(journal.folder)
    assert (0o600, find_key(journal.folder, "w")) == (place.stat().st_mode & 0o777, place.read_bytes())


@shared_memory
def test_the_key_stands_beside_while_that_is_asked_for(journal: Journal) -> None:
    journal.put_key_beside()
    key = journal.folder / "w.key"
    assert (shared(journal.folder, "w").read_bytes(), 0o600) == (key.read_bytes(), key.stat().st_mode & 0o777)
    journal.take_key_back()
    assert not key.exists()


@shared_memory
def test_a_key_that_a_logout_took_from_memory_is_put_there_again(journal: Journal) -> None:
    journal.append([frame()])
    key = shared(journal.folder, "w").read_bytes()
    shared(journal.folder, "w").unlink()

    assert [SAID] == [f.payload for f in fr.read_frames(journal.current)]
    journal.take_key_back()
    assert key == shared(journal.folder, "w").read_bytes()


@shared_memory
@pytest.mark.parametrize("level", ["process", "power", "async"])
def test_the_key_goes_with_the_last_segment(tmp_path: Path, level: str) -> None:
    journal = Journal(tmp_path, "w", level)
    assert ((tmp_path / "w.key").exists(), shared(tmp_path, "w").exists()) == (level == "power", level != "power")
    journal.close()

    assert ([], False) == (names(tmp_path), shared(tmp_path, "w").exists())


@shared_memory
def test_an_end_that_leaves_segments_leaves_the_key_beside_and_who_claims_them_takes_it_along(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.append([frame()])
    journal.close()
    shared(tmp_path, "w").unlink()  # the machine was started again

    assert ["w-000000.tlj", "w.key", "w.lock"] == names(tmp_path)
    assert [SAID] == [f.payload for f in fr.read_frames(journal.current)]
    for _ in jr.claim_dead(tmp_path):
        journal.current.unlink()
    assert [] == names(tmp_path)


@shared_memory
def test_a_folder_that_was_moved_still_opens(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "old", "w")
    journal.append([frame()])
    journal._close_files()  # as a kill leaves it: nothing is put in order
    moved = (tmp_path / "old").rename(tmp_path / "new")

    assert [SAID] == [f.payload for f in fr.read_frames(moved / "w-000000.tlj")]
    forget_key(moved, "w")


@shared_memory
def test_a_copy_of_the_folder_does_not_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "w")
    journal.append([frame()])
    copy = Path(shutil.copytree(tmp_path / "j", tmp_path / "copy"))

    with pytest.raises(KeyGoneError, match="its key is gone"):
        list(fr.read_frames(copy / "w-000000.tlj"))
    journal.current.unlink()
    journal.close()


def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_memory", lambda: None)


def test_without_shared_memory_the_key_stands_beside_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_memory(monkeypatch)
    journal = Journal(tmp_path, "w")
    journal.append([frame()])
    journal.take_key_back()

    assert SAID not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert ["w-000000.tlj", "w.key", "w.lock"] == names(tmp_path)
    sealing._own.clear()
    assert [SAID] == [f.payload for f in fr.read_frames(journal.current)]
    journal.current.unlink()
    journal.close()
    assert [] == names(tmp_path)


@shared_memory
def test_shared_memory_that_is_full_costs_nothing_but_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    keeper = KeyKeeper(tmp_path, "w")

    assert (["w.key"], False) == (names(tmp_path), shared(tmp_path, "w").exists())
    assert keeper.key == (tmp_path / "w.key").read_bytes()
    forget_key(tmp_path, "w")


def test_a_key_that_can_be_held_nowhere_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    no_memory(monkeypatch)
    monkeypatch.setattr(sealing, "write_private", full)
    with pytest.raises(JournalError, match="No space left"):
        Journal(tmp_path / "j", "w")
    assert [] == names(tmp_path / "j")


def test_with_power_the_key_is_on_the_disk_before_the_first_answer_relies_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def answer(done: threading.Event) -> None:
        order.append("answer")
        done.set()

    monkeypatch.setattr(sealing, "sync_file", lambda _fd: order.append("key"))
    monkeypatch.setattr(sealing, "sync_folder", lambda _folder: order.append("its name"))
    monkeypatch.setattr(jr, "sync_file", lambda _fd: order.append("segment"))
    journal = Journal(tmp_path, "w", "power")
    for _ in range(2):
        journal.append([frame()])
        done = threading.Event()
        journal.when_synced(partial(answer, done))
        assert done.wait(5)
    journal.close()

    assert ["key", "its name", "segment", "answer", "segment", "answer"] == order[:6]
    forget_key(tmp_path, "w")


def test_where_nothing_can_be_sealed_chats_are_kept_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Exception] = []
    sealed = Journal(tmp_path, "sealed")
    sealed.append([frame()])
    sealed.close()
    sealing._own.clear()
    monkeypatch.setattr(sealing, "_library", lambda: "ModuleNotFoundError: no cryptography")
    journal = Journal(tmp_path, "w", failed=said.append)
    journal.append([frame()])

    assert fr.MAGIC == journal.current.read_bytes()[:5]
    assert [SAID] == [f.payload for f in fr.read_frames(journal.current)]
    assert ["the journal is not sealed: ModuleNotFoundError: no cryptography"] == [str(error) for error in said]
    assert (True, False) == (fr.can_open([journal.current]), fr.can_open([sealed.current]))
    with pytest.raises(JournalError, match="cannot open what is sealed"):
        list(fr.read_frames(sealed.current))
    journal.close()
    forget_key(tmp_path, "sealed")


# ---- what cannot be opened ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def left_behind(settings: Settings, *texts: str) -> Journal:
    journal = Journal(settings.journal_path, uuid7())
    for text in texts:
        one = raw_exchange([user(text)], assistant("yes"), uid=uuid7())
        journal.append(fr.exchange_frames(UUID(one.begin.uid).bytes, one))
    journal.close()
    return journal


def recover(settings: Settings) -> None:
    ingester = Ingester(settings, uuid7())
    ingester.open()
    ingester.recover()
    ingester.close()


def gaps(settings: Settings) -> list[tuple[str, int]]:
    return [(row["kind"], row["n"]) for row in query(settings, "SELECT kind, n FROM gap")]


def put_aside(settings: Settings) -> list[Path]:
    folder = settings.journal_path / quarantine.FOLDER
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_segment_without_its_key_is_put_aside_and_each_exchange_in_it_is_counted(settings: Settings) -> None:
    lost = left_behind(settings, "one", "two")
    data = lost.current.read_bytes()
    forget_key(settings.journal_path, lost.writer_uid)
    left_behind(settings, "three")
    recover(settings)

    assert (1, [("sealed", 2)]) == (len(uids(settings)), gaps(settings))
    assert [data] == [path.read_bytes() for path in put_aside(settings)]
    assert [] == jr.list_segments(settings.journal_path)


def test_what_the_database_has_already_is_not_lost_with_its_key(settings: Settings) -> None:
    journal = left_behind(settings, "one", "two")
    data = journal.current.read_bytes()
    recover(settings)
    journal.current.write_bytes(data)  # it was stored, and the machine died before the segment went
    recover(settings)

    assert (2, [], []) == (len(uids(settings)), gaps(settings), put_aside(settings))
    assert [] == jr.list_segments(settings.journal_path)


def test_a_key_that_is_not_the_right_one_is_damage(settings: Settings) -> None:
    journal = left_behind(settings, "one")
    forget_key(settings.journal_path, journal.writer_uid)
    (settings.journal_path / f"{journal.writer_uid}.key").write_bytes(bytes(32))
    recover(settings)

    assert ([], [("torn", 1)], 1) == (uids(settings), gaps(settings), len(put_aside(settings)))
    assert [] == list(settings.journal_path.glob(f"{journal.writer_uid}*"))


def test_segments_of_an_older_version_go_in(settings: Settings) -> None:
    one = raw_exchange([user("hi")], assistant("yes"), uid=uuid7())
    settings.journal_path.mkdir(exist_ok=True)
    data = fr.MAGIC + fr.pack_frames(fr.exchange_frames(UUID(one.begin.uid).bytes, one))
    (settings.journal_path / f"{uuid7()}-000000.tlj").write_bytes(data)
    recover(settings)

    assert ([one.begin.uid], []) == (uids(settings), gaps(settings))


def test_what_waits_for_a_process_that_can_open_it_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(settings, "one")
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_library", lambda: "gone")
        recover(settings)
        assert ([], [], []) == (uids(settings), gaps(settings), put_aside(settings))
    recover(settings)
    assert (1, []) == (len(uids(settings)), gaps(settings))
