"""A folder that Hugging Face ``datasets`` loads: the rows, a card that states their types, and a module to read them.

*Theory.* ``datasets`` keeps rows in Arrow, which wants one type a column. Left to itself it guesses them from the first
rows: the argument names of one tool turn up as ``null`` in the calls of all others, text that looks like a date becomes
a date, and a value that is a number here and text there stops the loading. So the card gives each column a type. Lists
of messages are of type ``json``, which keeps any object (datasets 4.7 and later).

That type has one flaw: it reads and writes numbers with a short algorithm of its own, so that 0.7 comes out as
0.7000000000000001, and everything after the tenth decimal is lost. A model would learn that. Tools are therefore a
string of JSON where the trainer takes one, and ``load.py``, which the generated scripts use, reads the lines by itself:
exactly, and with any version of datasets. ``tests/consumers/test_datasets.py`` shows all of this.

Parquet, when it is wanted, holds the same columns as strings of JSON (``export.formats.parquet``).

Format: https://huggingface.co/docs/hub/datasets-cards, and ``datasets/features/features.py`` of datasets 5.2.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from tarx_toollog.export.example import Row, Split
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.jsonl import JsonlFiles
from tarx_toollog.export.formats.mlx_config import TEMPLATE_TOKENS
from tarx_toollog.export.formats.parquet import ParquetFiles

Kind = Literal["objects", "chat", "text", "flag"]
"""Type of a column: a list of JSON objects; messages whose arguments are strings; a string; true and false."""

SPLITS: Mapping[Split, str] = {"train": "train", "dev": "validation", "eval": "test"}
"""Names of the splits, as everybody on the hub calls them."""
FILES: Mapping[Split, str] = {split: f"data/{name}.jsonl" for split, name in SPLITS.items()}

_FEATURES: Mapping[Kind, str] = {
    "objects": "list: json",
    "text": "dtype: string",
    "flag": "dtype: bool",
    "chat": """\
list:
    - name: role
      dtype: string
    - name: content
      dtype: string
    - name: reasoning_content
      dtype: string
    - name: tool_calls
      list:
      - name: id
        dtype: string
      - name: type
        dtype: string
      - name: function
        struct:
        - name: name
          dtype: string
        - name: arguments
          dtype: string
    - name: name
      dtype: string
    - name: tool_call_id
      dtype: string
    - name: train
      dtype: bool""",
}


class HfFiles:
    """The files of one writer: ``data/*.jsonl``, Parquet if wanted, then the card and ``load.py``.

    Args:
        folder: Where the files go.
        columns: Kind of every column, in the order of the line; one that a row has not is absent from its line.
        options: Whether Parquet is wanted.

    Raises:
        ConfigError: Parquet is wanted, and pyarrow is not installed.
    """

    def __init__(self, folder: Path, columns: Mapping[str, Kind], options: FormatOptions) -> None:
        self._folder = folder
        self._columns = columns
        self._files = JsonlFiles(folder, FILES)
        flags = frozenset(name for name, kind in columns.items() if kind == "flag")
        self._parquet = ParquetFiles(folder / "parquet", tuple(columns), flags) if options.parquet else None

    def add(self, row: Row, cells: Mapping[str, str | None]) -> Location:
        """Write one row.

        Args:
            row: For its split, and for what Parquet says about it.
            cells: JSON text of each column; None for one that this row has not.
        """
        parts = []
        for name, text in cells.items():
            if text is not None:
                parts.append(f'"{name}": {_quoted(text) if self._columns[name] == "text" else text}')
        line = f"{{{', '.join(parts)}}}"
        if self._parquet is not None:
            self._parquet.add(SPLITS[row.split], row, cells)
        return self._files.add(row.split, line)

    def finish(self, about: str) -> None:
        """Write the card, with ``about`` as its text, and ``load.py``."""
        paths = {SPLITS[split]: FILES[split] for split in self._files.lines}
        write_private(self._folder / "README.md", card(self._columns, paths, self._files.digest) + about)
        write_private(self._folder / "load.py", script("hf_load.py.txt", {}))

    @property
    def longest(self) -> int:
        """Bytes of the longest line."""
        return self._files.longest

    @property
    def has_training_rows(self) -> bool:
        """Whether there is anything to train on."""
        return "train" in self._files.lines

    def close(self) -> None:
        """Close all files."""
        self._files.close()
        if self._parquet is not None:
            self._parquet.close()


@lru_cache(64)  # rows come one after the other with the same tools
def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def card(columns: Mapping[str, Kind], paths: Mapping[str, str], digest: str) -> str:
    """Return the head of a dataset card: which file is which split, and the type of every column.

    Args:
        columns: Kind of every column.
        paths: Split → file, relative to the card.
        digest: Content hash of the rows. ``datasets`` looks for what it has read before by the name of the folder and
            by the card, not by the files: without this, whoever loads a second export gets the rows of the first.
    """
    data_files = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in paths.items())
    features = "".join(f"  - name: {name}\n    {_FEATURES[kind]}\n" for name, kind in columns.items())
    return (
        f"---\nconfigs:\n- config_name: default\n  description: rows {digest}\n  data_files:\n{data_files}"
        f"dataset_info:\n- config_name: default\n  features:\n{features}---\n"
    )


def script(name: str, values: Mapping[str, object]) -> str:
    """Return a text that stands beside this module, with each ``@NAME@`` in it replaced by a value, as JSON."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    for mark, value in values.items():
        text = text.replace(f"@{mark}@", json.dumps(value, ensure_ascii=False))
    return text


def length_limit(longest: int) -> int:
    """Return a maximum length in tokens that no row can reach.

    Trainers cut what is longer, in silence. Token counts are of the served model, or estimates; but no tokenizer makes
    more tokens than there are bytes, and a template adds little. A large limit costs nothing: rows are padded to the
    longest of their batch.

    Args:
        longest: Bytes of the longest line.
    """
    return 64 * math.ceil((longest + TEMPLATE_TOKENS) / 64)
