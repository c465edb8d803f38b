"""One JSONL file for each split, which is what most formats write, and what their writers share.

Lines are put together from the texts of a row, without reading the JSON in them: an export has millions of rows, and
each of them has been serialised before.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Row, Split
from tarx_toollog.export.files import create_private_bytes
from tarx_toollog.export.formats.base import ExportFormat, FormatOptions, Location

SPLIT_FILES: Mapping[Split, str] = {"train": "train.jsonl", "dev": "valid.jsonl", "eval": "test.jsonl"}
"""The names that mlx-lm wants, and that ``datasets`` takes for training, validation and test."""

_LINE_ENDS = {char: f"\\u{ord(char):04x}" for char in "\u0085\u2028\u2029"}


class JsonlFiles:
    """The files of one writer. A file is made when its first line comes: trainers fail on empty files.

    Args:
        folder: Where the files go.
        names: Name of the file of each split, relative to the folder, with ``/``.
    """

    def __init__(self, folder: Path, names: Mapping[Split, str] = SPLIT_FILES) -> None:
        self._folder = folder
        self._names = names
        self._streams: dict[Split, BinaryIO] = {}
        self.lines: dict[Split, int] = {}
        """Lines written so far; a split without lines is absent."""
        self.longest = 0
        """Bytes of the longest line."""
        self._hash = hashlib.sha256()  # which most processors have an instruction for

    def add(self, split: Split, text: str) -> Location:
        """Write a JSON text as one line of the split's file, and say where it stands."""
        stream = self._streams.get(split)
        if stream is None:
            stream = self._streams[split] = create_private_bytes(self._folder / self._names[split])
        line = f"{one_line(text)}\n".encode()
        self.longest = max(self.longest, len(line) - 1)
        stream.write(line)
        self._hash.update(line)
        self.lines[split] = self.lines.get(split, 0) + 1
        return Location(self._names[split], self.lines[split])

    @property
    def digest(self) -> str:
        """Content hash of all lines so far, in hex."""
        return self._hash.hexdigest()[:32]

    def close(self) -> None:
        """Close all files."""
        for stream in self._streams.values():
            stream.close()


def one_line(text: str) -> str:
    """Return a JSON text that no reader breaks in two.

    U+0085, U+2028 and U+2029 are escaped, because ``str.splitlines`` and readers built on it break there. In JSON they
    can only stand inside a string. ``str.translate`` would do the same, ten times as slowly.
    """
    if not text.isascii():
        for char, escape in _LINE_ENDS.items():
            if char in text:
                text = text.replace(char, escape)
    return text


def messages_and_tools(row: Row) -> str:
    """Return ``"messages": […], "tools": […]`` of a row, without braces; without ``tools`` when none were offered."""
    tools = "" if row.tools_text is None else f', "tools": {row.tools_text}'
    return f'"messages": {row.messages_text}{tools}'


def learned_places(row: Row) -> frozenset[int]:
    """Return the places of the messages to learn."""
    return frozenset(row.targets or (len(row.prompt),))


def check_fits(export_format: ExportFormat, options: FormatOptions) -> None:
    """Refuse a task or a unit that the format has no way to say.

    Raises:
        ConfigError: The hint says what the format can do.
    """
    for word, asked, known in (
        ("task", options.task, export_format.tasks),
        ("unit", options.unit, export_format.units),
    ):
        if asked not in known:
            raise ConfigError(
                f"format {export_format.name} has no {word} {asked}", hint=f"it has: {', '.join(sorted(known))}"
            )
