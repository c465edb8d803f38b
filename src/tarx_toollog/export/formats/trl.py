"""``trl``: a Hugging Face dataset for TRL's trainers, with a script that trains.

One row a step: ``prompt`` (messages), ``completion`` (one message), ``tools``. One row a turn: ``messages`` and
``tools``; TRL then learns every answer of the assistant, so that a row with an answer that must not be learned is
refused. ``dpo`` has ``prompt``, ``chosen``, ``rejected``; ``kto`` has ``prompt``, ``completion``, ``label``.

``tools`` is a string of JSON, which all of TRL's trainers read; ``export.formats.hf`` says why there is ``load.py``.

Format: https://huggingface.co/docs/trl/dataset_formats, TRL 1.16.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Dropped, Row, Summary, Task, Unit
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.hf import HfFiles, Kind, length_limit, script
from tarx_toollog.export.formats.jsonl import check_fits, learned_places
from tarx_toollog.export.formats.kto import about_weights, kto_weights

_COLUMNS: Mapping[Task, Mapping[str, Kind]] = {
    "sft": {"prompt": "objects", "completion": "objects", "tools": "text"},
    "dpo": {"prompt": "objects", "chosen": "objects", "rejected": "objects", "tools": "text"},
    "kto": {"prompt": "objects", "completion": "objects", "label": "flag", "tools": "text"},
}
_TRAJECTORY: Mapping[str, Kind] = {"messages": "objects", "tools": "text"}

_ROWS: Mapping[Task, str] = {
    "sft": "`completion` is one answer of the model, `prompt` everything that it saw before",
    "dpo": "`chosen` is a better answer than `rejected`; `prompt` is everything that the model saw before",
    "kto": "`label` says whether `completion` is a good answer; `prompt` is everything that the model saw before",
}

_ABOUT = """
# Tool-calling examples

Written by tarx-toollog from logged traffic of a local model. {rows}. `tools` are the functions that were
offered, as a string of JSON. Arguments of calls are objects.

    python {task}.py            # trains; needs: pip install 'trl>=1.16' peft

In programs of your own, read the rows with `load.py`:

    from load import rows, dataset

`datasets.load_dataset` reads this folder as well, from version 4.7 on; but it changes decimal numbers in arguments
(0.7 becomes 0.7000000000000001), and then the model learns these.
"""


class TrlFormat:
    """The format, as the registry holds it."""

    name = "trl"
    about = "TRL / Hugging Face: prompt + completion + tools, dataset card, and a script that trains"
    tasks: frozenset[Task] = frozenset({"sft", "dpo", "kto"})
    units: frozenset[Unit] = frozenset({"step", "trajectory"})

    def writer(self, folder: Path, options: FormatOptions) -> "TrlWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: Preferences over whole turns, or Parquet without pyarrow.
        """
        check_fits(self, options)
        if options.task != "sft" and options.unit == "trajectory":
            raise ConfigError("preferences are about single answers", hint="use --unit step")
        return TrlWriter(folder, options)


class TrlWriter:
    """Writes ``data/*.jsonl``, the dataset card, ``load.py``, and ``sft.py``, ``dpo.py`` or ``kto.py``."""

    def __init__(self, folder: Path, options: FormatOptions) -> None:
        self._folder = folder
        self._options = options
        columns = _TRAJECTORY if options.unit == "trajectory" else _COLUMNS[options.task]
        self._files = HfFiles(folder, columns, options)
        self._labels: Counter[bool | None] = Counter()  # of the training rows

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: It holds an answer that must not be learned, or lacks what the task compares.
        """
        if self._options.unit == "trajectory":
            return self._files.add(row, {"messages": all_learned(row), "tools": row.tools_text})
        place = self._files.add(row, step_cells(row, self._options.task))
        if row.split == "train":
            self._labels[row.label] += 1
        return place

    def finish(self, summary: Summary) -> None:
        """Write the card and, where there is anything to train on, the script."""
        task = self._options.task
        rows = "Each row is one turn of a dialogue" if self._options.unit == "trajectory" else f"{_ROWS[task]}"
        self._files.finish(_ABOUT.format(rows=rows, task=task))
        if self._files.has_training_rows:
            values: dict[str, object] = {
                "MODEL": self._options.base_model,
                "MAX_TOKENS": summary.max_tokens,
                "MAX_LENGTH": length_limit(self._files.longest),
                "SEED": self._options.seed,
            }
            good, bad = self._labels[True], self._labels[False]
            if task == "kto":
                weights = kto_weights(good, bad)
                values |= {"GOOD_WEIGHT": weights.good, "BAD_WEIGHT": weights.bad}
            text = script(f"trl_{task}.py.txt", values).replace("@ABOUT_WEIGHTS@", about_weights(good, bad))
            write_private(self._folder / f"{task}.py", text)

    def close(self) -> None:
        """Close all files."""
        self._files.close()


def step_cells(row: Row, task: Task) -> dict[str, str | None]:
    """Return the JSON text of each column of a row that learns its last message.

    Raises:
        Dropped: It learns another message, or lacks what the task compares.
    """
    if not row.is_only_last_learned:
        raise Dropped("needs_mask")
    cells: dict[str, str | None] = {"prompt": row.prompt_text}
    if task == "dpo":
        if row.rejected_text is None:
            raise Dropped("format_cannot_say")
        cells |= {"chosen": f"[{row.answer_text}]", "rejected": f"[{row.rejected_text}]"}
    else:
        cells["completion"] = f"[{row.answer_text}]"
    if task == "kto":
        if row.label is None:
            raise Dropped("format_cannot_say")
        cells["label"] = "true" if row.label else "false"
    return cells | {"tools": row.tools_text}


def all_learned(row: Row) -> str:
    """Return all messages as JSON text, where every answer among them is to be learned.

    Raises:
        Dropped: One is not.
    """
    answers = {place for place, message in enumerate(row.messages) if message["role"] == "assistant"}
    if answers != learned_places(row):
        raise Dropped("needs_mask")
    return row.messages_text
