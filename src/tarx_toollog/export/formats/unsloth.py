"""``unsloth``: a Hugging Face dataset for Unsloth, with a script that trains.

Rows are those of ``trl``; but ``tools`` is a list, because Unsloth gives it to the chat template as it is. The script
marks what to learn itself, so that Unsloth has nothing to guess. It was written against the sources of Unsloth 2026.10
and has not been run: it needs a GPU. Preferences are left to ``trl``.

Format: ``sft_prepare_dataset`` in ``unsloth_zoo/dataset_utils.py`` of 2026.10.
"""

from collections.abc import Mapping
from pathlib import Path

from tarx_toollog.export.example import Row, Summary, Task, Unit
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.hf import HfFiles, Kind, length_limit, script
from tarx_toollog.export.formats.jsonl import check_fits
from tarx_toollog.export.formats.trl import step_cells

_COLUMNS: Mapping[str, Kind] = {"prompt": "objects", "completion": "objects", "tools": "objects"}

_ABOUT = """
# Tool-calling examples

Written by tarx-toollog from logged traffic of a local model. `completion` is one answer of the model, `prompt`
everything that it saw before, `tools` are the functions that were offered. Arguments of calls are objects.

    python sft.py            # trains; needs Unsloth and a GPU. It has not been run where it was written.

In programs of your own, read the rows with `load.py`:

    from load import rows, dataset

`datasets.load_dataset` reads this folder as well, from version 4.7 on; but it changes decimal numbers in arguments and
tools (0.7 becomes 0.7000000000000001), and then the model learns these.
"""


class UnslothFormat:
    """The format, as the registry holds it."""

    name = "unsloth"
    about = "Unsloth: prompt + completion + tools, dataset card, and a script (written for it, not run with it)"
    tasks: frozenset[Task] = frozenset({"sft"})
    units: frozenset[Unit] = frozenset({"step"})

    def writer(self, folder: Path, options: FormatOptions) -> "UnslothWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: For trajectories and preferences, or Parquet without pyarrow.
        """
        check_fits(self, options)
        return UnslothWriter(folder, options)


class UnslothWriter:
    """Writes ``data/*.jsonl``, the dataset card, ``load.py`` and ``sft.py``."""

    def __init__(self, folder: Path, options: FormatOptions) -> None:
        self._folder = folder
        self._options = options
        self._files = HfFiles(folder, _COLUMNS, options)

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: It wants another message learned than the last.
        """
        return self._files.add(row, step_cells(row, "sft"))

    def finish(self, summary: Summary) -> None:
        """Write the card and, where there is anything to train on, the script."""
        self._files.finish(_ABOUT)
        if self._files.has_training_rows:
            values = {
                "MODEL": self._options.base_model,
                "MAX_TOKENS": summary.max_tokens,
                "MAX_LENGTH": length_limit(self._files.longest),
                "SEED": self._options.seed,
            }
            write_private(self._folder / "sft.py", script("unsloth_sft.py.txt", values))

    def close(self) -> None:
        """Close all files."""
        self._files.close()
