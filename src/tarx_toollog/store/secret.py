"""The key beside the journal: hashes of clients and marks of redacted values cannot be computed without it.

It is not in the database, so whoever gets a copy of that cannot try out what a mark stands for.
"""

import os
import secrets
import threading

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.store.engine import create_private_file

KEY_BYTES = 32
LEAST_BYTES, MOST_BYTES = 16, 64
"""A shorter key can be tried out; BLAKE2b takes no longer one."""
_NAME = "identity.key"


def load_secret(settings: Settings) -> bytes:
    """Return the key of a store; the first call makes it (0600).

    Raises:
        StoreError: The folder of the journal cannot be made, or the file holds no key.
        OSError: The file cannot be read or written.
    """
    path = settings.journal_path / _NAME
    if not path.exists():
        # Complete before it has its name: of two that start together (processes, or the tap and the writer thread of
        # one), both take the one that came first.
        new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        create_private_file(new)
        new.write_bytes(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    key = path.read_bytes()
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise StoreError(
            f"{path} holds no key: it has {len(key)} bytes, a key has {KEY_BYTES}",
            hint="take it from a backup; or move it away: a new one is made, which makes other marks of equal values",
        )
    return key
