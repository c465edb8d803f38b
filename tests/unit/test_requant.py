"""Files that take minutes to make are made once, and again when what they are made of has changed."""

import json
import sys
from pathlib import Path

import pytest

from bench.requant import PAIRS, RUNS, summary
from bench.requant_stages import Made, RequantError, Stage, Workshop

COPY = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_bytes(pathlib.Path(sys.argv[1]).read_bytes())"
FILL = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(); [(p / name).touch() for name in 'ab']"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a stage that copies a file; the file is there."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("weights", "utf-8")
    return Stage("copy", "a copy", (sys.executable, "-c", COPY, str(source), str(target)), (source,), target)


def make(stage: Stage, folder: Path) -> Made:
    """Make a stage as a new call of the command would."""
    return Workshop(folder).make(stage)


def test_a_file_that_is_made_already_is_taken_as_it_is(stage: Stage, tmp_path: Path) -> None:
    first, second = make(stage, tmp_path), make(stage, tmp_path)

    assert ((True, 7), (False, 7)) == ((first.again, first.size), (second.again, second.size))
    assert first.seconds == second.seconds


def test_a_stage_runs_again_when_what_it_reads_has_changed(stage: Stage, tmp_path: Path) -> None:
    make(stage, tmp_path)
    stage.reads[0].write_text("others", "utf-8")

    assert make(stage, tmp_path).again
    assert "others" == stage.writes.read_text("utf-8")


def test_a_stage_runs_again_when_its_command_has_changed(stage: Stage, tmp_path: Path) -> None:
    make(stage, tmp_path)
    other = Stage(stage.name, stage.does, (*stage.command, "--more"), stage.reads, stage.writes)

    assert make(other, tmp_path).again


def test_a_stage_runs_again_when_what_it_made_is_damaged(stage: Stage, tmp_path: Path) -> None:
    make(stage, tmp_path)
    stage.writes.write_text("half", "utf-8")

    assert make(stage, tmp_path).again
    assert "weights" == stage.writes.read_text("utf-8")


def test_a_folder_counts_as_made_only_with_all_its_files(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    command = (sys.executable, "-c", FILL, str(folder))
    filling = Stage("fill", "a folder", command, stage.reads, folder)
    made = [make(filling, tmp_path).again, make(filling, tmp_path).again]
    (folder / "b").unlink()
    made.append(make(filling, tmp_path).again)

    assert [True, False, True] == made
    assert ["a", "b"] == sorted(path.name for path in folder.iterdir())


def test_a_stage_that_fails_says_what_its_command_said_and_where_all_of_it_is(stage: Stage, tmp_path: Path) -> None:
    make(stage, tmp_path)
    command = (sys.executable, "-c", "raise SystemExit('out of memory')")
    failing = Stage("merge", "a merge", command, stage.reads, tmp_path / "merged")

    with pytest.raises(RequantError) as failed:
        make(failing, tmp_path)

    assert all(part in str(failed.value) for part in ("merge", "code 1", "out of memory", "merge.log"))
    assert ["copy"] == list(json.loads((tmp_path / "manifest.json").read_text("utf-8")))


def test_a_command_that_ends_well_without_its_file_has_failed(stage: Stage, tmp_path: Path) -> None:
    silent = Stage("merge", "a merge", (sys.executable, "-c", ""), stage.reads, tmp_path / "merged")

    with pytest.raises(RequantError, match="stage merge ended with code 0"):
        make(silent, tmp_path)


def test_a_stage_whose_source_is_missing_says_which(stage: Stage, tmp_path: Path) -> None:
    stage.reads[0].unlink()

    with pytest.raises(RequantError, match=r"stage copy needs .*source, which is missing"):
        make(stage, tmp_path)


def test_the_summary_tells_training_and_quantization_apart() -> None:
    gates = {name: {"numerator": number, "denominator": 16} for number, name in enumerate(RUNS, 3)}
    chains = {"low": 0.464, "difference": 0.8125, "high": 0.98}
    pairs = {f"{base} -> {other}": {"verdict": "better", "chains": chains} for base, other in PAIRS.values()}

    lines = summary(gates, pairs).splitlines()

    assert [["base", "3/16", "4/16"], ["tuned", "5/16", "6/16"]] == [line.split() for line in lines[1:3]]
    assert len(PAIRS) == sum(line.endswith("+81.2 points [+46.4, +98.0]: better") for line in lines)
