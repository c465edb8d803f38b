"""What is kept beside the journal and told to nobody: the key of hashes and marks, and the tokens of our servers.

The key is not in the database, so whoever gets a copy of that cannot try out what a mark stands for.
"""

import os
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.store.engine import create_private_file

KEY_BYTES = 32
LEAST_BYTES, MOST_BYTES = 16, 64
"""A shorter key can be tried out; BLAKE2b takes no longer one."""
_NAME = "identity.key"
_TOKEN = re.compile(r"[!-~]{16,256}")  # a shorter one can be tried out; no space, or a header would not bring it


def load_secret(settings: Settings) -> bytes:
    """Return the key of a store; the first call makes it (0600).

    Raises:
        StoreError: The folder of the journal cannot be made, or the file holds no key.
        OSError: The file cannot be read or written.
    """
    path = settings.journal_path / _NAME
    key = _kept(path, lambda: secrets.token_bytes(KEY_BYTES))
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise StoreError(
            f"{path} holds no key: it has {len(key)} bytes, a key has {KEY_BYTES}",
            hint="take it from a backup; or move it away: a new one is made, which makes other marks of equal values",
        )
    return key


def token_path(settings: Settings, what: str) -> Path:
    """Return the file of a token."""
    return settings.journal_path / f"{what}.token"


def load_token(settings: Settings, what: str) -> str:
    """Return the token for ``what``; the first call makes it (0600), and a file that others could read is closed.

    Raises:
        StoreError: The file cannot be read, written or closed to others, or it holds no token.
    """
    path = token_path(settings, what)
    try:
        data = _kept(path, lambda: f"{secrets.token_urlsafe(24)}\n".encode("ascii"))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"cannot use {path}: {error.strerror}", hint="see `ls -l` of it, and of its folder") from error
    token = data.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise StoreError(
            f"{path} holds no token: 16 to 256 letters, digits and marks, without a space",
            hint="write one into it, or move it away: a new one is made",
        )
    return token


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what a file holds; where there is none, first make it."""
    if not path.exists():
        # Complete before it has its name: of two that start together (processes, or the tap and the writer thread of
        # one), both take the one that came first.
        new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        create_private_file(new)
        new.write_bytes(make())
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return path.read_bytes()
