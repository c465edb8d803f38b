"""Any log, in every format, loads in the real readers of that format, and says there what was logged.

The readers are started once, and each log that is drawn goes to all of them. So a log that one of them cannot read, or
reads otherwise, is shrunk like the example of any other property. What is compared is what hypothesis drew, and not
what our own reader makes of a file. ``openai`` has no reader but the service, and ``canonical`` none but ours:
``tests/property/test_export_any_log.py`` has them.
"""

import json
import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.export.example import Unit
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tests.consumers.environments import HERE, completion_of
from tests.support.any_logs import (
    EVERYTHING,
    Answer,
    Called,
    Dialogue,
    Said,
    as_turns,
    dialogues,
    keep,
    lines,
    said,
    typed,
)

Process = subprocess.Popen[str]
Rows = Mapping[str, Iterable[Any]]
"""Split → rows, in their order."""


class Form(NamedTuple):
    """How to compare what a reader gives with what was logged: both are turned into the same."""

    of_row: Callable[[Any], Any]
    of_log: Callable[[Any], Any]


class View(NamedTuple):
    """One way to read one format."""

    reader: str
    """The process that does it."""
    how: str
    """In the words of ``read_any_log.py``."""
    place: str
    """Folder of the format, or one below it."""
    form: Form

    @property
    def format(self) -> str:
        return self.place.split("/")[0]


def _answered(row: Mapping[str, Any]) -> str:
    """Return the last answer of what was said, as the template of the tiny model writes it."""
    _, text, calls = said(row)["messages"][-1]
    made = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return completion_of({"content": text, "tool_calls": made}) + "\n"


def _of_parquet(row: Mapping[str, Any]) -> Said:
    columns = ("messages", "prompt", "completion", "tools")
    return said({name: json.loads(row[name]) for name in columns if row.get(name) is not None})


def _without_decimals(value: Any) -> Any:
    """Return a value with a mark for each decimal number: the JSON type of ``datasets`` changes them."""
    if isinstance(value, dict):
        return {name: _without_decimals(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_decimals(inner) for inner in value]
    return "decimal" if isinstance(value, float) else value


EXACT = Form(said, said)
NEARLY = Form(lambda row: _without_decimals(said(row)), lambda row: _without_decimals(said(row)))
PARQUET = Form(_of_parquet, said)
TURNS = Form(said, lambda row: as_turns(said(row)))
TEXT = Form(lambda row: row["completion"], _answered)
TOKENS = Form(lambda row: (said(row), row["learned"]), lambda row: (said(row), _answered(row)))
VIEWS = (
    View("datasets 5", "card", "trl", NEARLY),
    View("datasets 5", "card", "unsloth", NEARLY),
    View("datasets 5", "json", "rendered", TEXT),
    View("datasets 4", "json", "llamafactory", TURNS),
    View("mlx", "mlx", "mlx", TOKENS),
    View("mistral", "mistral", "mistral", EXACT),
    *(
        view
        for version in ("datasets 5", "datasets 4")
        for view in (
            View(version, "card", "axolotl/data", EXACT),
            View(version, "module", "trl", EXACT),
            View(version, "module", "unsloth", EXACT),
            View(version, "parquet", "trl", PARQUET),
            View(version, "parquet", "unsloth", PARQUET),
        )
    ),
)
FORMATS: Mapping[Unit, tuple[str, ...]] = {
    "step": ("mlx", "trl", "axolotl", "llamafactory", "unsloth", "mistral", "rendered"),
    "trajectory": ("trl", "axolotl", "llamafactory", "mistral"),
}

ASKED_AGAIN = Dialogue(None, (), "Hi", (Answer(""), Answer("Hello.")))
"""The model said nothing at first: Mistral's tokenizers refuse a message without words and calls."""
DATED = Dialogue("2026-11-23", (), "Hi", (Answer("Hello."),))
"""Without a card, ``datasets`` makes moments of a column that holds nothing but dates."""
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "parameters": {"type": "object"}}}
LARGE = Dialogue(
    None, (CLOCK,), "Hi", (Answer("", (Called("clock", f'{{"n": {2**64}}}'),)), Answer("Hm.")), is_odd=True
)
"""An integer that Arrow has no type for."""
UNITS: st.SearchStrategy[Unit] = st.sampled_from(["step", "step", "trajectory"])
SPLITS = {"train": "train", "valid": "dev", "validation": "dev", "dev": "dev", "test": "eval", "eval": "eval"}
"""What formats call the splits, and what we call them."""


@pytest.fixture(scope="module")
def readers(consumers: Path, datasets4: Path, tiny_model: Path) -> Iterator[Mapping[str, Process]]:
    commands: dict[str, list[str | Path]] = {
        "datasets 5": [consumers, "datasets"],
        "datasets 4": [datasets4, "datasets"],
        "mlx": [consumers, "mlx", tiny_model],
        "mistral": [consumers, "mistral"],
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(_started(*command)) for name, command in commands.items()}


@contextmanager
def _started(python: str | Path, *arguments: str | Path) -> Iterator[Process]:
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [python, HERE / "read_any_log.py", *arguments],
        env=os.environ | offline | {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        yield process  # it ends when its input does, which leaving the block closes


def test_a_second_export_is_not_taken_for_the_first(readers: Mapping[str, Process]) -> None:
    # datasets keeps what it has read, and finds it by the name of the folder and by the card.
    for words in ("One.", "Two."):
        _check(readers, [Dialogue(None, (), "Hi", (Answer(words),))], "step")


@pytest.mark.timeout(600)  # to find the smallest log that fails, hypothesis takes up to five minutes
@settings(
    max_examples=25,  # half a second each, whatever the profile
    phases=[phase for phase in Phase if phase != Phase.explain],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
@example(log=[ASKED_AGAIN], unit="step")
@example(log=[DATED], unit="step")
@example(log=[LARGE], unit="step")
@given(log=st.lists(dialogues(), min_size=1, max_size=4), unit=UNITS)
def test_every_reader_of_every_format_finds_what_was_logged(
    readers: Mapping[str, Process], log: list[Dialogue], unit: Unit
) -> None:
    _check(readers, log, unit)


def _check(readers: Mapping[str, Process], log: list[Dialogue], unit: Unit) -> None:
    with tempfile.TemporaryDirectory() as name:
        told = _exported(log, unit, Path(name))
        views = [view for view in VIEWS if _has_rows(view, told)]
        found = dict(zip(views, _read(readers, views, Path(name) / "out"), strict=True))
    for view, read in found.items():
        expected = {split: [view.form.of_log(row) for row in rows] for split, rows in told[view.format].items()}
        actual = {SPLITS[split]: [view.form.of_row(row) for row in rows] for split, rows in read.items()}
        assert typed(_in_order(expected)) == typed(_in_order(actual)), view[:3]


def _exported(given: list[Dialogue], unit: Unit, folder: Path) -> Mapping[str, Rows]:
    """Write a log, and export it to ``out``; return format → split → what each line was made from."""
    kept = keep(given, folder / "log.db")
    options = ExportOptions(
        FORMATS[unit],
        unit=unit,
        filters=EVERYTHING,
        near=None,
        decontaminate=False,
        redact="off",
        template=str(HERE / "chat_template.jinja"),
        parquet=True,
    )
    written: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    with ToolLog.open(settings=kept.settings) as log:
        try:
            run_export(log, folder / "out", options, record=False)
        except NothingMatchedError:
            assert [] == kept.plain
            return written
    for entry in sorted(lines(folder / "out" / "lineage.jsonl"), key=lambda entry: (entry["file"], entry["line"])):
        name, file = entry["file"].split("/", 1)
        written[name][SPLITS[Path(file).stem]].append(kept.told[entry["exchange_uid"]])
    if unit == "step":
        in_it = {typed(said(row)) for rows in written["trl"].values() for row in rows}
        assert [] == [uid for uid in kept.plain if typed(said(kept.told[uid])) not in in_it]
    return written


def _has_rows(view: View, told: Mapping[str, Rows]) -> bool:
    """Say whether there is anything to read; mlx-lm reads nothing when there is nothing to train on."""
    splits = told.get(view.format, {})
    return "train" in splits if view.how == "mlx" else bool(splits)


def _read(readers: Mapping[str, Process], views: list[View], out: Path) -> list[Rows]:
    """Return what each view shows. All processes are asked before the first is heard, and all are heard."""
    asked = {name: [view for view in views if view.reader == name] for name in readers}
    for name, wanted in asked.items():
        print(json.dumps([(view.how, str(out / view.place)) for view in wanted]), file=readers[name].stdin, flush=True)
    answers = {name: json.loads(_line(process)) for name, process in readers.items()}
    assert {} == {name: answer for name, answer in answers.items() if not isinstance(answer, list)}
    left = {name: iter(answer) for name, answer in answers.items()}
    return [next(left[view.reader]) for view in views]


def _line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline() or '{"error": "the process died"}'


def _in_order(rows: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(sorted(rows.items()))
