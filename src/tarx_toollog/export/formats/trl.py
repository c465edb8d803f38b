"""``trl``: conversational ``messages`` + ``tools``, arguments as objects, one row per step of the model.

Read by TRL's SFTTrainer and by anything that loads a Hugging Face dataset. The dataset card states the type of
every column. Without it, Arrow infers types from the first rows: keys of one tool's arguments appear as ``null``
in the calls of every other, strings that look like dates become dates, and a column that is a number in one row
and text in another fails to load.
"""

from pathlib import Path

from tarx_toollog.export.example import Example
from tarx_toollog.export.files import create_private, jsonl_line, write_private
from tarx_toollog.export.formats.base import FormatWriter, Location

DATA_FILE = "data/train.jsonl"

CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train.jsonl
dataset_info:
- config_name: default
  features:
  - name: messages
    list: json
  - name: tools
    list: json
---

# Tool-calling examples

Written by tarx-toollog from logged traffic of a local model. Each row is one answer of the model:
`messages` is the exact history that it saw, and the last message is what it answered; `tools` are the functions
that it was offered. Arguments of calls are objects. Train on the last message only:

```python
from datasets import load_dataset
dataset = load_dataset(".", split="train")  # needs datasets >= 5
dataset = dataset.map(lambda row: {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]},
                      remove_columns="messages")
```

`manifest.json` says how the rows were chosen and why others were left out; `lineage.jsonl` says which exchange of
the log each line comes from.
"""


class TrlFormat:
    """The format, as the registry holds it."""

    name = "trl"
    about = "TRL / Hugging Face: messages + tools, arguments as objects, one row per answer"

    def writer(self, folder: Path) -> FormatWriter:
        """Return a writer into ``folder``."""
        return TrlWriter(folder)


class TrlWriter:
    """Writes ``data/train.jsonl`` and the dataset card."""

    def __init__(self, folder: Path) -> None:
        write_private(folder / "README.md", CARD)
        self._stream = create_private(folder / DATA_FILE)
        self._lines = 0

    def add(self, example: Example) -> Location:
        """Write one line."""
        self._stream.write(jsonl_line(example.row))
        self._lines += 1
        return Location(DATA_FILE, self._lines)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
