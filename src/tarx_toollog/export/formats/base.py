"""What an export format is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tarx_toollog.export.example import Row, Summary, Task, Unit


class Location(NamedTuple):
    """Where a row was written."""

    file: str
    """Relative to the format's folder, with ``/``."""
    line: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """What a person asked for, as far as formats care."""

    task: Task = "sft"
    unit: Unit = "step"
    base_model: str = "Qwen/Qwen2.5-7B-Instruct"
    """The model to fine-tune: a name on the Hugging Face hub or a folder. It stands in generated configurations."""
    template: str | None = None
    """Text of the chat template to train with: the served one, unless somebody named another."""
    template_tokens: Mapping[str, str] = field(default_factory=dict)
    """Special tokens that it names: ``bos_token``, ``eos_token``."""
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    """More variables to render it with: ``enable_thinking`` …"""
    served_template: str | None = None
    """Text of the chat template that was served while the log was written, where it is known."""
    parquet: bool = False
    """Write Parquet beside the JSONL files, where the format's readers take it."""
    build_name: str | None = None
    """Name that somebody gave this build; None for the next of v1, v2 …, which would make other bytes of equal rows."""
    upstream: str = "http://127.0.0.1:11435"
    """Base URL of the model server."""
    seed: int = 0


class FormatWriter(Protocol):
    """Writes the rows of one export into its folder. Rows come by split, and within a split in the order of the log."""

    def add(self, row: Row) -> Location:
        """Write one row and say where it stands.

        Raises:
            Dropped: The format cannot say it; the pipeline counts that.
        """

    def finish(self, summary: Summary) -> None:
        """Write what has to stand beside the rows: cards, configurations, scripts. Called once, when all went well."""

    def close(self) -> None:
        """Close all files. Called also when the export fails."""


class ExportFormat(Protocol):
    """A kind of training files, for one consumer."""

    name: str
    about: str
    tasks: frozenset[Task]
    """What it can be used for."""
    units: frozenset[Unit]

    def writer(self, folder: Path, options: FormatOptions) -> FormatWriter:
        """Return a writer into ``folder``, which exists and is empty.

        Raises:
            ConfigError: The options do not fit the format.
        """
