"""``mlx``: for ``mlx_lm.lora`` on a Mac. One row a step, ``lora.yaml``, and a script up to the served model.

*Theory.* With ``mask_prompt`` mlx-lm learns the last message of a row and nothing else; without it, everything, the
user's words and the tool results included. So each answer is a row of its own, and a row that wants more than its last
message learned is refused. The file decides by its first line what it is: rows are ``messages`` (+ ``tools``) and have
no other key, so that the first line speaks for all. Rows with and without ``tools`` may stand side by side.

A row that is cut before its last message has nothing to learn: mlx-lm then divides zero by zero, and from that step on
every weight is NaN. ``mlx_config`` says why that cannot happen with our ``lora.yaml``.

Format: ``mlx_lm/tuner/datasets.py`` of mlx-lm 0.32.
"""

from pathlib import Path

from tarx_toollog.export.example import Dropped, Row, Summary, Task, Unit
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.jsonl import JsonlFiles, check_fits, messages_and_tools
from tarx_toollog.export.formats.mlx_config import lora_yaml, plan_of
from tarx_toollog.export.formats.mlx_script import train_script

SERVED_TEMPLATE = "served_template.jinja"


class MlxFormat:
    """The format, as the registry holds it."""

    name = "mlx"
    about = "mlx-lm on a Mac: messages + tools, lora.yaml, and a script from QLoRA to the served model"
    tasks: frozenset[Task] = frozenset({"sft"})
    units: frozenset[Unit] = frozenset({"step"})

    def writer(self, folder: Path, options: FormatOptions) -> "MlxWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: For trajectories and for preferences, which mlx-lm cannot learn.
        """
        check_fits(self, options)
        return MlxWriter(folder, options)


class MlxWriter:
    """Writes ``train.jsonl``, ``valid.jsonl``, ``test.jsonl``, and what is needed to train on them."""

    def __init__(self, folder: Path, options: FormatOptions) -> None:
        self._folder = folder
        self._options = options
        self._files = JsonlFiles(folder)

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: It wants another message learned than the last.
        """
        if not row.is_only_last_learned:
            raise Dropped("needs_mask")
        return self._files.add(row.split, f"{{{messages_and_tools(row)}}}")

    def finish(self, summary: Summary) -> None:
        """Write ``lora.yaml`` and ``train.sh``, and the served template where it is known.

        Without rows to train on, there is nothing to configure.
        """
        if "train" not in self._files.lines:
            return
        plan = plan_of(self._files.lines, summary.max_tokens, self._files.longest)
        write_private(self._folder / "lora.yaml", lora_yaml(plan, self._options))
        # Without a name of its own: other rows are another build, and equal ones give the same script.
        name = self._options.build_name or f"rows-{self._files.digest[:8]}"
        write_private(self._folder / "train.sh", train_script(plan, self._options, name))
        if self._options.served_template is not None:
            write_private(self._folder / SERVED_TEMPLATE, self._options.served_template)

    def close(self) -> None:
        """Close all files."""
        self._files.close()
