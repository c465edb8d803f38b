"""Sets of scenarios to and from files, of whatever shape: what ``toollog replay import`` and ``export`` call."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.files import bfcl, bfcl_export, inspect_ai, ours, promptfoo
from tarx_toollog.replay.files.lines import HINT, Entry, Placed, read_objects, write_lines
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.suites.freeze import stored
from tarx_toollog.store.suites import NewScenario, ScenarioRow, Suites

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

Format = Literal["toollog", "bfcl", "inspect", "promptfoo"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""The shapes that are read and written."""

REASONS: Mapping[str, str] = {
    "not_bfcl": "left out: the tools or the right calls cannot be told in BFCL's way",
    "steps": "each step of a turn stands alone: whether a whole chain is right is not judged",
    "params": "parameters of the request are not sent",
    "tools": "the tools are told in other words than in the scenario",
    "messages": "the messages are told in other words than in the scenario",
    "content": "parts of messages that are neither text nor picture are told as text",
    "templates": "what looks like a template is filled in",
    "alternatives": "other answers that are as right count as wrong",
    "rules": "rules for single arguments do not count",
    "text_check": "what an answer in text must say is not looked at",
    "ask": "any text will do where the model should ask the user",
    "omitted": "which steps of the turn were left out is not told",
    "recording": "the results of the logged calls do not answer: no closed loop",
    "tier": "how far what is expected may be trusted is not looked at",
    "weight": "how many turns of the log a scenario stands for does not count",
    "stratum": "the group of turns that it was drawn from is not told",
    "variant": "of which scenario it is a variant is not looked at",
}
"""What is left out of a file, or said more weakly than by the scenario."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came of a file."""

    tag: str
    format: Format
    scenarios: int
    """Different ones."""
    steps: int
    equal: int
    """More that ask and expect the same as another."""
    is_new: bool
    """False: the suite is there already, with these scenarios."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {slot: getattr(self, slot) for slot in self.__slots__}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What went into files."""

    tag: str
    format: Format
    scenarios: int
    cases: int
    """Lines, rows or tests that were written."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Steps that were not written, by reason (``REASONS``)."""
    weakened: Mapping[str, int] = field(default_factory=dict)
    """Scenarios of which the other tool does not act upon all that they say, by what it is (``REASONS``)."""
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "tag": self.tag,
            "format": self.format,
            "scenarios": self.scenarios,
            "cases": self.cases,
            "left_out": dict(self.left_out),
            "weakened": dict(self.weakened),
            "files": list(self.files),
        }


@dataclass(frozen=True, slots=True)
class Exported:
    """A set of scenarios in a shape, not yet written."""

    report: ExportReport
    files: Mapping[str, Sequence[Mapping[str, Any]]]
    """The objects of each file, one a line, by the path below a folder; the empty path: that is all, in one file."""


def import_file(
    log: "ToolLog", path: Path, tag: str, form: Format | None = None, answers: Path | None = None
) -> ImportReport:
    """Store the scenarios of a file as the suite ``tag``. All of them, or none when one is wrong.

    Args:
        log: Where they go.
        path: The file.
        tag: Name of the set.
        form: The shape of the file; None: that which its first object has.
        answers: For BFCL, the file of accepted answers; None: that of the same name in ``possible_answer`` beside it.

    Raises:
        ConfigError: It cannot be read, or a part of it is no scenario (the message names the place), or there is
            another suite of this name.
        NothingMatchedError: It holds nothing.
    """
    placed = read_objects(path)
    if not placed:
        raise NothingMatchedError(f"{path} has no scenarios", hint=HINT)
    form = form or recognised(placed)
    found = [_new(entry, where) for where, entry in _entries(form, path, placed, answers)]
    if not found:
        raise NothingMatchedError(f"{path} has no scenarios", hint=HINT)
    unique = list({one.hash: one for one in found}.values())
    steps = sum(one.n_steps for one in unique)
    report = ImportReport(tag, form, len(unique), steps, len(found) - len(unique), is_new=True)
    is_new = Suites(log).freeze(tag, unique, {"file": path.name, **report.to_json()})
    return replace(report, is_new=is_new)


def export_set(log: "ToolLog", tag: str, form: Format) -> Exported:
    """Return the scenarios of ``tag`` in a shape.

    Raises:
        NothingMatchedError: The tag has none.
    """
    rows = Suites(log).scenarios(tag)
    entries = [_entry(row) for row in rows]
    left_out: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    if form == "toollog":
        cases, files = len(entries), {"": entries}
    elif form == "inspect":
        lines, lost = inspect_ai.written(entries)
        cases, files = len(lines), {"": lines}
    elif form == "promptfoo":
        whole, lost = promptfoo.written(entries)
        cases, files = len(whole["tests"]), {"": [whole]}
    else:
        found = bfcl_export.written(entries)
        left_out, lost = found.left_out, found.lost
        cases, files = sum(map(len, found.questions.values())), _bfcl_files(found)
    return Exported(ExportReport(tag, form, len(rows), cases, _counts(left_out), _counts(lost)), files)


def place(exported: Exported, out: Path) -> tuple[str, ...]:
    """Write what was exported: to the file ``out`` or, when it is several files, below the folder ``out``.

    Raises:
        ToolLogError: It cannot be written.
    """
    paths = {out / name if name else out: objects for name, objects in exported.files.items()}
    for path, objects in paths.items():
        write_lines(path, objects)
    return tuple(map(str, paths))


def recognised(placed: list[Placed]) -> Format:
    """Return the shape of objects, by the first one.

    Raises:
        ConfigError: It has none of the shapes.
    """
    where, first = placed[0]
    known = {"bfcl": bfcl, "inspect": inspect_ai, "promptfoo": promptfoo, "toollog": ours}
    for form in FORMATS:
        if known[form].recognises(first):
            return form
    raise ConfigError(f"{where}: it has none of the known forms", hint=f"--format names it: {', '.join(FORMATS)}")


def _entries(form: Format, path: Path, placed: list[Placed], answers: Path | None) -> Iterator[tuple[str, Entry]]:
    if form == "toollog":
        return iter(placed)
    if form == "inspect":
        return inspect_ai.read(placed)
    if form == "promptfoo":
        return promptfoo.read(placed)
    beside = answers or path.parent / "possible_answer" / path.name
    return bfcl.read(placed, read_objects(beside) if answers or beside.exists() else ())


def _entry(row: ScenarioRow) -> Entry:
    entry = ours.entry_of(row.uid, Scenario.from_json(row.definition))
    drawn = {"stratum": row.stratum} if row.stratum is not None else {}
    weighed = {"weight": row.weight} if row.weight != 1 else {}
    return {**entry, "group": row.cluster or entry["group"], **weighed, **drawn}


def _new(entry: Entry, where: str) -> NewScenario:
    weight, stratum = entry.get("weight", 1), entry.get("stratum")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < inf:
        raise ConfigError(f"{where}: `weight` must be a number above 0", hint=HINT)
    if not isinstance(stratum, str | None):
        raise ConfigError(f"{where}: `stratum` must be a text", hint=HINT)
    return stored(ours.scenario_of(entry, where), weight=float(weight), stratum=stratum)


def _bfcl_files(found: bfcl_export.BfclRows) -> dict[str, list[dict[str, Any]]]:
    questions = {f"BFCL_v4_{name}.json": rows for name, rows in found.questions.items()}
    return questions | {f"possible_answer/BFCL_v4_{name}.json": rows for name, rows in found.answers.items()}


def _counts(found: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in found.most_common() if count}
