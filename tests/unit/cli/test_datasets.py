"""``toollog export list, show, why, diff``, as a person types them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tarx_toollog.canonical import content_hash
from tarx_toollog.cli.app import App
from tarx_toollog.cli.datasets import diff, list_builds, show, why
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.store.dataset_queries import ABSENT
from tarx_toollog.store.datasets import DatasetExampleRow, Datasets, NewBuild
from tarx_toollog.store.log import ToolLog
from tests.support.builders import assistant, exchange, user

NEW = NewBuild(None, None, "sft", "step", ("mlx",), {"seed": 7, "redact": "all", "mix": None}, 2)
ONE, TWO, THREE = (content_hash("example", number) for number in range(3))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A log of two exchanges with a build, its successor, and one that was killed."""
    path = tmp_path / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        log.write([exchange([user(f"{n}")], assistant("Hi"), client_key=f"c{n}") for n in range(2)])
        datasets = Datasets(log)
        for parent, rows in (
            (None, [row(ONE, 1), row(THREE, None, source="identity", origin="identity.jsonl:12", copies=4)]),
            ("v1", [row(ONE, 1, split="dev"), row(TWO, 2), DatasetExampleRow(None, "tool", 1, reason="too_long")]),
        ):
            made = datasets.start(replace(NEW, parent=parent))
            datasets.add(made.id, rows)
            datasets.finish(made.id, {"gate": {"in": 3}}, [{"path": "mlx/train.jsonl"}])
        datasets.start(NEW)
    return path


def row(example_hash: bytes, exchange_id: int | None, **values: Any) -> DatasetExampleRow:
    made = DatasetExampleRow(example_hash, "tool", exchange_id, split="train", copies=1, n_tokens=50)
    return made._replace(**{"n_trained_tokens": 5, **values})


def run(database: Path, command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, obj=App(str(database)), standalone_mode=False)


def typed(database: Path, command: click.Command, *arguments: str) -> str:
    result = run(database, command, *arguments)
    assert result.exception is None, result.exception
    return result.stdout


def rows(database: Path, command: click.Command, *arguments: str) -> Any:
    return json.loads(typed(database, command, *arguments, "--json"))


def test_builds_are_listed_newest_first_with_those_that_were_never_finished(database: Path) -> None:
    listed = rows(database, list_builds)

    assert [("v3", "writing", None, None), ("v2", "finished", "v1", 2), ("v1", "finished", None, 2)] == [
        (one["build"], one["status"], one["parent"], one["n_examples"]) for one in listed
    ]
    assert (["mlx"], 2, 25) == (listed[2]["formats"], listed[2]["last_exchange_id"], listed[2]["n_trained_tokens"])
    assert 4 == len(typed(database, list_builds, "--csv").splitlines())


def test_a_log_without_builds_says_how_to_make_one(tmp_path: Path) -> None:
    ToolLog.open(tmp_path / "t.db", read_only=False).close()

    assert "toollog export run" in run(tmp_path / "t.db", list_builds).stderr


def test_a_build_is_shown_with_its_options_and_what_it_is_made_of(database: Path) -> None:
    shown = rows(database, show, "v1")
    assert NEW.config == shown["config"]
    assert ({"gate": {"in": 3}}, [{"path": "mlx/train.jsonl"}]) == (shown["counts"], shown["files"])
    assert [("identity", "train", 1, 4, 20), ("tool", "train", 1, 1, 5)] == [
        tuple(part[name] for name in ("source", "split", "n_examples", "n_copies", "n_trained_tokens"))
        for part in shown["parts"]
    ]

    text = typed(database, show, "v2")
    assert "seed                7\n" in text
    assert "mix" not in text
    assert "tool        dev              1         1               5\n" in text
    assert f"     1  tool: {REASONS['too_long']}\n" in text


def test_why_tells_each_build_in_words(database: Path) -> None:
    found = rows(database, why, ONE.hex()[:10])
    assert [("v1", "in", None), ("v2", "in", None), ("v3", "out", ABSENT["not_finished"])] == [
        (one["build"], one["state"], one["why"]) for one in found
    ]
    (line,) = rows(database, why, "identity.jsonl:12", "--build", "v2")
    assert ("out", ABSENT["not_selected"]) == (line["state"], line["why"])
    assert "not_finished" in typed(database, why, ONE.hex())


def test_what_has_changed_is_told_in_words_and_can_be_narrowed(database: Path) -> None:
    found = {one["example_id"]: one for one in rows(database, diff, "v1", "v2")}
    assert {ONE.hex(): "moved", TWO.hex(): "added", THREE.hex(): "removed"} == {
        key: one["change"] for key, one in found.items()
    }
    assert ("identity.jsonl:12", ABSENT["not_selected"]) == (found[THREE.hex()]["origin"], found[THREE.hex()]["why"])

    (moved,) = rows(database, diff, "v1", "v2", "--change", "moved")
    assert ("train", "dev") == (moved["split_before"], moved["split_after"])
    assert "the same examples" in run(database, diff, "v1", "v1").stderr


@pytest.mark.parametrize(
    ("command", "arguments"), [(show, ["v9"]), (why, ["v9"]), (why, [ONE.hex(), "--build", "v9"]), (diff, ["v1", "v9"])]
)
def test_what_is_not_there_is_told_with_a_hint(database: Path, command: click.Command, arguments: list[str]) -> None:
    error = run(database, command, *arguments).exception

    assert "no " in str(error)
    assert "toollog export list" in getattr(error, "hint", "") or "lineage.jsonl" in getattr(error, "hint", "")


def test_every_reason_of_a_build_has_its_words() -> None:
    assert not REASONS.keys() & ABSENT.keys()
