"""The bounds of the journal, and what is left of an exchange beyond them."""

import os
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest

from tarx_toollog.store import frames as fr
from tarx_toollog.store import overflow
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.overflow import Room, stub
from tarx_toollog.store.sealing import Cipher
from tests.support.builders import assistant, raw_exchange, user

UID = UUID(int=7).bytes


def test_there_is_room_up_to_the_bound_of_all_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.append([(fr.Kind.END, UID, [b"x" * 600])])
    room = Room(tmp_path, 1000, 0)
    assert (True, False) == (room.has(300), room.has(400))
    room.took(200)
    assert (True, False) == (room.has(100), room.has(300))
    journal.close()


def test_room_comes_back_when_segments_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "w")
    journal.append([(fr.Kind.END, UID, [b"x" * 1100])])
    room = Room(tmp_path, 1000, 0)
    assert room.is_full
    journal.current.unlink()
    clock = SimpleNamespace(monotonic=lambda: 1e12)
    monkeypatch.setattr(overflow, "time", clock)
    assert not room.is_full
    journal.close()


def test_what_has_to_stay_free_on_the_disk_is_left_free(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    free = found.f_bavail * found.f_frsize
    assert Room(tmp_path, 2**60, free + 2**30).is_full
    assert Room(tmp_path, 2**20, 0).has(2**19)


def test_stubs_go_a_little_beyond_the_bound_and_no_further(tmp_path: Path) -> None:
    room = Room(tmp_path, 1000, 0)
    room.has(0)
    room.took(2000)
    assert (False, True, False) == (room.has(1), room.has_for_stub(500), room.has_for_stub(2**21))


def test_a_folder_that_is_gone_is_not_called_full(tmp_path: Path) -> None:
    assert Room(tmp_path / "gone", 1000, 0).has(500)


def test_a_stub_keeps_everything_but_the_bodies() -> None:
    raw = raw_exchange([user("a secret wish")], assistant("granted"))
    frames = fr.exchange_frames(UID, raw)
    kept = stub(frames)
    assert [fr.Kind.BEGIN, fr.Kind.RESPONSE, fr.Kind.END] == [kind for kind, *_ in kept]
    data = fr.pack_frames(kept)
    assert (False, False) == (b"wish" in data, b"granted" in data)
    cipher = Cipher(bytes(32), "w")
    sizes = [len(fr.seal_frames(some, cipher, 0, 0)) for some in (frames, kept)]
    assert sizes == [fr.packed_size(frames), fr.packed_size(kept)]
