"""Files of an export: private, UTF-8, and lines that every JSONL reader splits alike."""

import hashlib
import json
import os
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO

_SPLITTERS = {ord(char): f"\\u{ord(char):04x}" for char in "\u0085\u2028\u2029"}
_BLOCK = 2**20
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode  # json.dumps makes one for each call


def jsonl_line(value: Any) -> str:
    """Return ``value`` as one line, with its line end.

    U+0085, U+2028 and U+2029 are escaped: ``str.splitlines`` and readers built on it would break there.
    """
    text = _encode(value)
    return f"{text if text.isascii() else text.translate(_SPLITTERS)}\n"


def create_private(path: Path) -> TextIO:
    """Open a new text file that only its owner can read; makes its folder."""
    return TextIOWrapper(create_private_bytes(path), encoding="utf-8", newline="\n")


def create_private_bytes(path: Path) -> BinaryIO:
    """Open a new file that only its owner can read; makes its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return open(descriptor, "wb", _BLOCK)  # noqa: PTH123 - a descriptor, not a path


def write_private(path: Path, text: str) -> None:
    """Write a whole new file that only its owner can read."""
    with create_private(path) as stream:
        stream.write(text)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
