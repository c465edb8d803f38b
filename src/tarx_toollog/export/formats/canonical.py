"""``canonical``: everything that is known of a row, and nothing changed. For own scripts.

One object a line, in ``train.jsonl``, ``dev.jsonl`` and ``eval.jsonl``:

=================== ==================================================================================================
``example_id``      content hash of what is learned, in hex
``split``           ``train``, ``dev`` or ``eval``
``source``          where it comes from: ``tool``, ``chat``, ``summary``, ``identity``, ``synthetic``
``messages``        the chat; the last message is an answer of the model. Arguments of calls are objects
``tools``           the offered functions; absent when there were none
``targets``         places of the messages to learn, from 0; absent when it is the last one alone
``rejected``        for ``dpo``: the answer that is worse than the last message
``label``           for ``kto``: whether the last message is a good answer
``n_tokens``        tokens of the whole row
``n_trained_tokens`` tokens of what is learned
``tokens_from``     who counted them: ``usage`` (the log), ``server``, ``estimate``
=================== ==================================================================================================
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tarx_toollog.export.example import Row, Split, Summary, Task, Unit
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.jsonl import JsonlFiles, messages_and_tools

_FILES: Mapping[Split, str] = {"train": "train.jsonl", "dev": "dev.jsonl", "eval": "eval.jsonl"}


class CanonicalFormat:
    """The format, as the registry holds it."""

    name = "canonical"
    about = "everything known of each row, unchanged: for own scripts"
    tasks: frozenset[Task] = frozenset({"sft", "dpo", "kto"})
    units: frozenset[Unit] = frozenset({"step", "trajectory"})

    def writer(self, folder: Path, options: FormatOptions) -> "CanonicalWriter":
        """Return a writer into ``folder``; no option changes anything."""
        return CanonicalWriter(folder)


class CanonicalWriter:
    """Writes one file a split."""

    def __init__(self, folder: Path) -> None:
        self._files = JsonlFiles(folder, _FILES)

    def add(self, row: Row) -> Location:
        """Write one line."""
        parts = [
            f'{{"example_id": "{row.example_id}", "split": "{row.split}", "source": "{row.source}"',
            messages_and_tools(row),
        ]
        if row.targets:
            parts.append(f'"targets": {json.dumps(row.targets)}')
        if row.rejected_text is not None:
            parts.append(f'"rejected": {row.rejected_text}')
        if row.label is not None:
            parts.append(f'"label": {json.dumps(row.label)}')
        parts.append(
            f'"n_tokens": {row.n_tokens}, "n_trained_tokens": {row.n_trained_tokens},'
            f' "tokens_from": "{row.tokens_from}"}}'
        )
        return self._files.add(row.split, ", ".join(parts))

    def finish(self, summary: Summary) -> None:
        """Nothing stands beside the rows."""

    def close(self) -> None:
        """Close all files."""
        self._files.close()
