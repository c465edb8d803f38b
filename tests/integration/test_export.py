import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.canonical import content_hash
from tarx_toollog.errors import ConfigError, NothingMatchedError, ToolLogError
from tarx_toollog.export import pipeline
from tarx_toollog.export.files import sha256_of
from tarx_toollog.export.formats import FORMATS
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import SCHEMA_REVISION
from tests.unit.cli.samples import Chat, bad_chat, call, good_chat, write_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of a chat in which all went well, a twin of it, and one in which much went wrong."""
    settings = write_log(tmp_path / "log.db", good_chat(), good_chat("twin", start_s=50), bad_chat())
    with ToolLog.open(settings=settings) as opened:
        yield opened


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_good_step_is_one_row_with_the_history_it_saw(log: ToolLog, tmp_path: Path) -> None:
    run_export(log, tmp_path / "out")

    rows = lines(tmp_path / "out/data/train.jsonl")
    targets = [row["messages"][-1] for row in rows]
    said = [
        target["content"] or [(c["function"]["name"], c["function"]["arguments"]) for c in target["tool_calls"]]
        for target in targets
    ]
    assert said == [
        [("tarx_recall", {"query": "cat"})],
        "She is called Miez.",
        [("tarx_remember", {"key": "cat age", "value": "3"})],
        "I will remember that.",
        [("tarx_remember", {"key": "dog", "value": "Rex"})],
        "Done.",
    ]
    assert [2, 4, 6, 8, 4, 6] == [len(row["messages"]) - 1 for row in rows]


def test_a_call_that_failed_is_context_of_the_step_that_mends_it(log: ToolLog, tmp_path: Path) -> None:
    run_export(log, tmp_path / "out")

    recovery = lines(tmp_path / "out/data/train.jsonl")[4]["messages"]
    assert recovery[2]["tool_calls"][0]["function"]["arguments"] == {"key": "dog"}
    assert recovery[3] == {
        "role": "tool",
        "content": "error: value is missing",
        "name": "tarx_remember",
        "tool_call_id": "c1",
    }


def test_every_step_is_accounted_for(log: ToolLog, tmp_path: Path) -> None:
    report = run_export(log, tmp_path / "out")

    assert report.as_json() == {
        "format": "trl",
        "out": str(tmp_path / "out"),
        "trajectories": 6,
        "steps": 13,
        "examples": 6,
        "dropped": {"not_completed": 1, "tool_not_offered": 1, "schema_failure": 1, "duplicate": 4},
        "notes": {},
        "files": ["README.md", "data/train.jsonl", "lineage.jsonl", "manifest.json"],
    }


def test_the_manifest_tells_how_the_files_came_to_be(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run_export(log, out, filters=Filters.parse(tools=["tarx_remember"]))

    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert manifest["filters"] == {"tools": ["tarx_remember"]}
    assert manifest["counts"] == report.counts.as_json()
    assert manifest["database"] == {"schema_revision": SCHEMA_REVISION, "last_exchange_id": 13}
    listed = {item["path"]: (item["bytes"], item["sha256"]) for item in manifest["files"]}
    present = {name: (len(data), sha256_of(out / name)) for name, data in tree(out).items() if name != "manifest.json"}
    assert listed == present


def test_each_line_leads_back_to_its_exchange(log: ToolLog, tmp_path: Path) -> None:
    run_export(log, tmp_path / "out")

    rows = lines(tmp_path / "out/data/train.jsonl")
    lineage = lines(tmp_path / "out/lineage.jsonl")
    assert [entry["line"] for entry in lineage] == list(range(1, len(rows) + 1))
    for row, entry in zip(rows, lineage, strict=True):
        assert content_hash("example", row).hex() == entry["example_id"]
        exchange = log.exchange(entry["exchange_uid"])
        assert exchange.request is not None
        assert exchange.response is not None
        assert len(exchange.request.messages) == len(row["messages"]) - 1
        answer = exchange.response.choices[0].message
        assert (answer.text or "") == row["messages"][-1]["content"]


def test_the_same_log_and_options_give_the_same_bytes(log: ToolLog, tmp_path: Path) -> None:
    run_export(log, tmp_path / "one")
    run_export(log, tmp_path / "two")

    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_the_card_states_the_type_of_every_column(log: ToolLog, tmp_path: Path) -> None:
    run_export(log, tmp_path / "out")

    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert "  - name: messages\n    list: json\n  - name: tools\n    list: json\n---\n" in card
    assert "path: data/train.jsonl\n" in card
    columns = {key for row in lines(tmp_path / "out/data/train.jsonl") for key in row}
    assert columns == {"messages", "tools"}


def test_files_are_for_their_owner_only_and_nothing_else_is_left(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export(log, out)

    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o600}
    assert out.stat().st_mode & 0o777 == 0o700
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_dry_run_counts_the_same_and_writes_nothing(log: ToolLog, tmp_path: Path) -> None:
    dry = run_export(log, tmp_path / "dry", dry_run=True)

    assert not (tmp_path / "dry").exists()
    assert run_export(log, tmp_path / "out").counts == dry.counts


def test_progress_is_told_of_every_step(log: ToolLog, tmp_path: Path) -> None:
    told: list[int] = []
    report = run_export(log, tmp_path / "out", progress=lambda: told.append(1))

    assert len(told) == report.counts.steps


def test_when_no_row_remains_the_hint_says_why_and_no_file_is_written(tmp_path: Path) -> None:
    chat = Chat("c").user("Fly.").answer(None, call("tarx_fly", "{}"))
    with (
        ToolLog.open(settings=write_log(tmp_path / "log.db", chat)) as log,
        pytest.raises(NothingMatchedError) as caught,
    ):
        run_export(log, tmp_path / "out")

    assert caught.value.message == "none of 1 steps can be trained on"
    assert "names a tool that was not offered" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("log.db")) == []


def test_filters_that_match_nothing_say_so(log: ToolLog, tmp_path: Path) -> None:
    with pytest.raises(NothingMatchedError) as caught:
        run_export(log, tmp_path / "out", filters=Filters.parse(tools=["nobody"]), dry_run=True)

    assert caught.value.message == "no step of a conversation matched"


def test_a_folder_in_use_is_refused_and_with_force_only_our_files_are_replaced(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export(log, out, filters=Filters.parse(limit=1))
    (out / "mine.txt").write_text("keep")

    with pytest.raises(ConfigError, match="is not empty"):
        run_export(log, out)
    run_export(log, out, force=True)

    assert (out / "mine.txt").read_text() == "keep"
    assert len(lines(out / "data/train.jsonl")) == 6


def test_a_file_in_place_of_the_folder_is_refused(log: ToolLog, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises(ConfigError, match="is a file"):
        run_export(log, tmp_path / "out", force=True)


def test_an_export_that_fails_leaves_the_earlier_one_untouched(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run_export(log, out)
    before = tree(out)

    def full_disk(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "lineage_line", full_disk)
    with pytest.raises(ToolLogError, match="No space left on device"):
        run_export(log, out, force=True)

    assert before == tree(out)
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_an_unknown_format_names_the_known_ones(log: ToolLog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run_export(log, tmp_path / "out", "mlx-classic")

    assert "trl" in caught.value.hint


def test_every_format_writes_one_line_for_each_example(log: ToolLog, tmp_path: Path) -> None:
    assert "trl" in FORMATS.names()
    for name in FORMATS.names():
        report = run_export(log, tmp_path / name, name)
        assert len(lines(tmp_path / name / "lineage.jsonl")) == report.counts.examples
