"""Folders and files that only their owner can look into."""

import os
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only; an existing one stays as it is.

    ``Path.mkdir(parents=True)`` gives the mode to the last one alone: the folder of the database would be open to all
    when the journal in it is made first.

    Raises:
        OSError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        make_private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file for its owner only; one that is there is replaced, and keeps its mode.

    Raises:
        OSError: It cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
