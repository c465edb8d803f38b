"""What an export format is."""

from pathlib import Path
from typing import NamedTuple, Protocol

from tarx_toollog.export.example import Example


class Location(NamedTuple):
    """Where an example was written."""

    file: str
    """Relative to the export's folder, with ``/``."""
    line: int
    """From 1."""


class FormatWriter(Protocol):
    """Writes the examples of one export into its folder."""

    def add(self, example: Example) -> Location:
        """Write one example and say where it stands."""

    def close(self) -> None:
        """Finish all files; nothing is added any more. Called also when the export fails."""


class ExportFormat(Protocol):
    """A kind of training file, for one consumer."""

    name: str
    about: str

    def writer(self, folder: Path) -> FormatWriter:
        """Return a writer into ``folder``, which exists and is empty."""
