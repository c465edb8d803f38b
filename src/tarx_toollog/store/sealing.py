"""What stands in the journal is sealed: encrypted with AES-256-GCM, so that its files alone tell nobody what was said.

*Theory.* A frame is written before anybody could look for secrets in it, so the bytes on the disk must be worth
nothing by themselves. Each writer has a key of its own, made at random when its journal opens. It is held in shared
memory, which outlives the process, so that the next one can open what a killed one left, and does not outlive the
machine. Where what is sealed must outlive that, too, the key stands *beside* the segments, in a file: at durability
``power``, while the database does not take what the journal holds, after an end that left segments behind, and where
there is no shared memory.

The key goes with the last segment of its writer. This module knows keys and bytes; frames and segments are others'.
"""

import mmap
import os
import secrets
from errno import ENOENT, ENOSYS
from functools import cache
from hashlib import sha256
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from tarx_toollog.errors import JournalError
from tarx_toollog.store.private import write_private
from tarx_toollog.store.syncing import sync_file, sync_folder

KEY_SUFFIX = ".key"
KEY_BYTES = 32
TAG_BYTES = 16
"""What sealing adds to the bytes."""
_NONCE_BYTES = 12
_NOT_THERE = (ENOENT, ENOSYS)

_own: dict[tuple[Path, str], bytes] = {}
"""Keys of the journals that this process writes: it reads them whatever becomes of the shared memory."""


class KeyGoneError(JournalError):
    """What is sealed cannot be opened any more: its key went with the memory of the machine."""


class Cipher:
    """Seals and opens the bytes of one writer. Sealing is for one thread at a time.

    Args:
        key: Of that writer.
        writer_uid: The bytes are bound to it: with another one they do not open.

    Raises:
        JournalError: ``cryptography`` cannot be loaded.
    """

    def __init__(self, key: bytes, writer_uid: str) -> None:
        library = _library()
        if isinstance(library, str):
            raise JournalError(f"cannot open what is sealed: {library}", hint="install the package cryptography")
        self._aead, self._invalid = library
        self._aead = self._aead(key)
        self._bound_to = writer_uid.encode() + b"\0"
        self._nonces = count()

    def next_nonce(self) -> int:
        """Return a number that was never used under this key: not even one whose write failed comes back."""
        return next(self._nonces)

    def seal(self, nonce: int, data: bytes, about: bytes) -> bytes:
        """Return the bytes sealed; ``about`` is not in them, and has to be the same when they are opened."""
        sealed: bytes = self._aead.encrypt(nonce.to_bytes(_NONCE_BYTES, "little"), data, self._bound_to + about)
        return sealed

    def open(self, nonce: int, sealed: bytes, about: bytes) -> bytes | None:
        """Return what was sealed; None when a bit of it, of its nonce, or of what it is about has changed."""
        try:
            data: bytes = self._aead.decrypt(nonce.to_bytes(_NONCE_BYTES, "little"), sealed, self._bound_to + about)
        except self._invalid:
            return None
        return data


def why_not() -> str | None:
    """Say why nothing can be sealed in this process; None when it can."""
    library = _library()
    return library if isinstance(library, str) else None


@cache
def _library() -> "tuple[Any, type[Exception]] | str":
    # Only when a journal opens: it takes 20 ms and 8 MB, which a command that reads the database does not need.
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        AESGCM(bytes(KEY_BYTES)).encrypt(bytes(_NONCE_BYTES), b"", None)
    except BaseException as error:  # an installation that lacks a part panics, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return f"{type(error).__name__}: {error}"
    return AESGCM, InvalidTag


# ---- where a key is held --------------------------------------------------------------------------------------------


class KeyKeeper:
    """Makes the key of one writer, and holds it where it outlives what it has to.

    Args:
        folder: Where the segments of the writer are.
        writer_uid: Whose key it is.
        outlives_machine: Hold it beside the segments as long as there are any.

    Raises:
        OSError: It can be held nowhere.
    """

    def __init__(self, folder: Path, writer_uid: str, *, outlives_machine: bool = False) -> None:
        self.key = secrets.token_bytes(KEY_BYTES)
        self._folder, self._writer_uid = folder, writer_uid
        self._path = _path(folder, writer_uid)
        self._is_beside = False
        forget_key(folder, writer_uid)
        self._stays_beside = outlives_machine or not self._share()
        if self._stays_beside:
            self.put_beside()
        _own[folder, writer_uid] = self.key

    def put_beside(self, *, synced: bool = False) -> None:
        """See that a file beside the segments holds the key, so that it outlives the machine.

        Args:
            synced: Return only when the disk has it.

        Raises:
            OSError: It cannot be written.
        """
        if not self._is_beside or synced:
            write_private(self._path, self.key)
            self._is_beside = True
        if synced:
            fd = os.open(self._path, os.O_RDWR)
            try:
                sync_file(fd)
            finally:
                os.close(fd)
            sync_folder(self._folder)

    def take_back(self) -> None:
        """Hold the key in memory alone again, where that is enough.

        Raises:
            OSError: It cannot be held there, and not beside either; or the file cannot be deleted.
        """
        # A login that ends takes the user's shared memory along (RemoveIPC of systemd), under a process that goes on.
        if not self._stays_beside and _shared(self._folder, self._writer_uid) != self.key and not self._share():
            self._stays_beside = True
            self.put_beside()
        if self._is_beside and not self._stays_beside:
            self._path.unlink(missing_ok=True)
            self._is_beside = False

    def let_go(self) -> None:
        """Forget the key in this process; others find it where it is held."""
        _own.pop((self._folder, self._writer_uid), None)

    def _share(self) -> bool:
        try:
            return _share(self._folder, self._writer_uid, self.key)
        except OSError:
            return False  # full, forbidden, or somebody else's


def find_key(folder: Path, writer_uid: str) -> bytes | None:
    """Return the key of a writer; None when it is gone.

    Raises:
        OSError: It is there, and cannot be read now.
    """
    if (key := _own.get((folder, writer_uid)) or _shared(folder, writer_uid)) is not None:
        return key
    try:
        key = _path(folder, writer_uid).read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_BYTES else None


def forget_key(folder: Path, writer_uid: str) -> None:
    """Let the key of a writer go, from wherever it is held: nothing that it seals is left.

    Raises:
        OSError: It cannot be deleted.
    """
    _own.pop((folder, writer_uid), None)
    _path(folder, writer_uid).unlink(missing_ok=True)
    _unshare(folder, writer_uid)


def _path(folder: Path, writer_uid: str) -> Path:
    return folder / f"{writer_uid}{KEY_SUFFIX}"


def _share(folder: Path, writer_uid: str, key: bytes) -> bool:
    if (memory := _memory()) is None:
        return False
    name = _name(folder, writer_uid)
    fd = memory.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
    try:
        os.ftruncate(fd, KEY_BYTES)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, KEY_BYTES)  # a mapping of memory that is full kills whoever writes to it
        with mmap.mmap(fd, KEY_BYTES) as shared:  # not os.write, which macOS refuses here
            shared[:] = key
    except OSError:
        memory.shm_unlink(name)
        raise
    finally:
        os.close(fd)
    return True


def _shared(folder: Path, writer_uid: str) -> bytes | None:
    if (memory := _memory()) is None:
        return None
    try:
        fd = memory.shm_open(_name(folder, writer_uid), os.O_RDONLY, mode=0)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    try:
        if os.fstat(fd).st_size < KEY_BYTES:
            return None  # its writer was killed while it made it: nothing is sealed with it
        with mmap.mmap(fd, KEY_BYTES, access=mmap.ACCESS_READ) as shared:
            return shared[:]
    finally:
        os.close(fd)


def _unshare(folder: Path, writer_uid: str) -> None:
    if (memory := _memory()) is not None:
        try:
            memory.shm_unlink(_name(folder, writer_uid))
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise


def _memory() -> Any:
    # The part of multiprocessing.shared_memory that has no tracker: that one deletes what a process leaves behind.
    try:
        return import_module("_posixshmem")
    except ImportError:
        return None


def _name(folder: Path, writer_uid: str) -> str:
    # By the folder itself, not by its path: it may be moved. macOS takes 30 characters.
    found = folder.stat()
    of_folder = f"{found.st_dev}:{found.st_ino}:{writer_uid}"
    return f"/toollog-{sha256(of_folder.encode()).hexdigest()[:20]}"
