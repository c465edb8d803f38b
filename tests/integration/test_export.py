"""An export from a real log to files: what is in them, what is not, and what is said about it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError, ToolLogError
from tarx_toollog.export import pipeline, preparation
from tarx_toollog.export.files import sha256_of
from tarx_toollog.export.formats import FORMATS
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import SCHEMA_REVISION
from tests.unit.cli.samples import Chat, bad_chat, call, good_chat, keep_for, write_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of a chat in which all went well, a twin of it, and one in which much went wrong."""
    settings = write_log(tmp_path / "log.db", good_chat(), good_chat("twin", start_s=50), bad_chat())
    with ToolLog.open(settings=settings, read_only=False) as opened:
        yield opened


def export(log: ToolLog, out: Path, *, dry_run: bool = False, force: bool = False, **options: Any) -> ExportReport:
    chosen = ExportOptions(**{"formats": ("canonical",), **options})
    return run_export(log, out, chosen, dry_run=dry_run, force=force)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rows(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """Return the canonical rows in the order of the log."""
    found = {row["example_id"]: row for row in lines(out / f"canonical/{split}.jsonl")}
    lineage = [line for line in lines(out / "lineage.jsonl") if line["file"] == f"canonical/{split}.jsonl"]
    return [found[line["example_id"]] for line in sorted(lineage, key=lambda line: str(line["exchange_uid"]))]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(row: dict[str, Any]) -> Any:
    answer = row["messages"][-1]
    calls = [(one["function"]["name"], one["function"]["arguments"]) for one in answer.get("tool_calls", ())]
    return answer["content"] or calls


def dropped(report: ExportReport) -> dict[str, int]:
    return {reason: count for stage in report.stages for reason, count in stage.dropped.items()}


def test_each_good_step_is_one_row_with_the_history_it_saw(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out")

    found = rows(tmp_path / "out")
    assert [said(row) for row in found] == [
        [("tarx_recall", {"query": "cat"})],
        "She is called Miez.",
        [("tarx_remember", {"key": "cat age", "value": "3"})],
        "I will remember that.",
        [("tarx_remember", {"key": "dog", "value": "Rex"})],
        "Done.",
    ]
    assert [2, 4, 6, 8, 4, 6] == [len(row["messages"]) - 1 for row in found]


def test_a_call_that_failed_is_context_of_the_step_that_mends_it(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out")

    recovery = rows(tmp_path / "out")[4]["messages"]
    assert recovery[2]["tool_calls"][0]["function"]["arguments"] == {"key": "dog"}
    assert recovery[3] == {
        "role": "tool",
        "content": "error: value is missing",
        "name": "tarx_remember",
        "tool_call_id": "c1",
    }


def test_every_step_is_accounted_for_stage_by_stage(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out")

    assert {"not_completed": 1, "tool_not_offered": 1, "schema_failure": 1, "duplicate": 4} == dropped(report)
    assert [13, 13, 13, 10, 10, 10, 10, 10, 6, 6, 6, 6, 6] == [
        report.stages[0].n_in,
        *(stage.n_out for stage in report.stages),
    ]
    assert {"train": {"examples": 6, "conversations": 2}} == report.splits
    assert {"tool": 13} == report.sources


def test_whole_dialogues_are_rows_when_trajectories_are_asked_for(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out", unit="trajectory")

    found = rows(tmp_path / "out")
    assert [[2, 4, 6, 8], [4, 6]] == [row["targets"] for row in found]
    for row in found:
        assert {"assistant"} == {row["messages"][place]["role"] for place in row["targets"]}


def test_the_manifest_tells_how_the_files_came_to_be(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export(log, out, filters=Filters.parse(tools=["tarx_remember"]))

    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert {"tools": ["tarx_remember"]} == manifest["config"]["filters"]
    assert report.facts() == {key: manifest[key] for key in report.facts()}
    assert manifest["database"] == {"schema_revision": SCHEMA_REVISION, "last_exchange_id": 13}
    listed = {item["path"]: (item["bytes"], item["sha256"]) for item in manifest["files"]}
    present = {name: (len(data), sha256_of(out / name)) for name, data in tree(out).items() if name != "manifest.json"}
    assert listed == present


def test_each_line_leads_back_to_its_exchange(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out", formats=("canonical", "mlx"))

    lineage = lines(tmp_path / "out/lineage.jsonl")
    assert {"canonical/train.jsonl": 6, "mlx/train.jsonl": 6} == {
        name: sum(1 for line in lineage if line["file"] == name) for name in {line["file"] for line in lineage}
    }
    for entry in lineage:
        row = lines(tmp_path / "out" / entry["file"])[entry["line"] - 1]
        exchange = log.exchange(entry["exchange_uid"])
        assert exchange.request is not None
        assert exchange.response is not None
        assert len(exchange.request.messages) == len(row["messages"]) - 1
        assert (exchange.response.choices[0].message.text or "") == row["messages"][-1]["content"]


def test_the_same_log_and_options_give_the_same_bytes(log: ToolLog, tmp_path: Path) -> None:
    formats = ("mlx", "trl", "canonical")
    export(log, tmp_path / "one", formats=formats)
    export(log, tmp_path / "two", formats=formats)

    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_files_are_for_their_owner_only_and_nothing_else_is_left(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(log, out, formats=("mlx", "trl"))

    assert {0o600} == {path.stat().st_mode & 0o677 for path in out.rglob("*") if path.is_file()}
    assert out.stat().st_mode & 0o777 == 0o700
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_dry_run_decides_the_same_and_writes_nothing(log: ToolLog, tmp_path: Path) -> None:
    dry = export(log, tmp_path / "dry", dry_run=True)

    assert not (tmp_path / "dry").exists()
    assert [] == [path for path in tmp_path.iterdir() if "partial" in path.name]
    real = export(log, tmp_path / "out")
    assert (real.stages[:-1], real.splits, real.tokens) == (dry.stages, dry.splits, dry.tokens)
    assert "verify" == real.stages[-1].stage
    assert (None, "v1") == (dry.build, real.build)


def test_progress_is_told_of_every_step_and_every_row(log: ToolLog, tmp_path: Path) -> None:
    told: dict[str, list[int | None]] = {}

    class Listener:
        def begin(self, label: str, total: int | None = None) -> None:
            self.label = label
            told[label] = [total, 0]

        def advance(self, count: int = 1) -> None:
            told[self.label][1] = (told[self.label][1] or 0) + count

    run_export(log, tmp_path / "out", ExportOptions(), progress=Listener())

    assert {
        "steps read": [13, 13],
        "evaluation compared": [None, 0],
        "decisions": [None, 0],
        "rows written": [6, 6],
        "rows verified": [6, 6],
        "lineage and hashes": [None, 0],
        "build recorded": [None, 0],
    } == told


def test_when_no_row_remains_the_hint_says_why_and_no_file_is_written(tmp_path: Path) -> None:
    chat = Chat("c").user("Fly.").answer(None, call("tarx_fly", "{}"))
    with (
        ToolLog.open(settings=write_log(tmp_path / "log.db", chat)) as log,
        pytest.raises(NothingMatchedError) as caught,
    ):
        export(log, tmp_path / "out")

    assert caught.value.message == "none of 1 examples can be trained on"
    assert "names a tool that was not offered" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("log.db")) == []


def test_filters_that_match_nothing_say_so(log: ToolLog, tmp_path: Path) -> None:
    with pytest.raises(NothingMatchedError) as caught:
        export(log, tmp_path / "out", filters=Filters.parse(tools=["nobody"]), dry_run=True)

    assert caught.value.message == "no step of a conversation matched"


def test_a_folder_in_use_is_refused_and_with_force_only_our_files_are_replaced(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(log, out, formats=("mlx", "canonical"), filters=Filters.parse(limit=1))
    (out / "mine.txt").write_text("keep")

    with pytest.raises(ConfigError, match="is not empty"):
        export(log, out)
    export(log, out, force=True)

    assert (out / "mine.txt").read_text() == "keep"
    assert len(rows(out)) == 6
    assert not (out / "mlx").exists()


def test_a_file_in_place_of_the_folder_is_refused(log: ToolLog, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises(ConfigError, match="is a file"):
        export(log, tmp_path / "out", force=True)


def test_an_export_that_fails_leaves_the_earlier_one_untouched_and_is_marked(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(log, out)
    before = tree(out)

    def full_disk(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "write_lineage", full_disk)
    with pytest.raises(ToolLogError, match="No space left on device"):
        export(log, out, force=True)

    assert before == tree(out)
    assert [path for path in tmp_path.iterdir() if "partial" in path.name] == []
    states = log.query("SELECT name, status FROM dataset_build ORDER BY id").rows
    assert [("v1", "finished"), ("v2", "failed")] == list(states)


def test_an_unknown_format_names_the_known_ones(log: ToolLog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        export(log, tmp_path / "out", formats=("mlx-classic",))

    assert "trl" in caught.value.hint


def test_a_format_that_cannot_do_what_is_asked_names_those_that_can(log: ToolLog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mlx") as caught:
        export(log, tmp_path / "out", formats=("mlx",), unit="trajectory")

    assert "axolotl" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_every_format_writes_one_line_for_each_example(log: ToolLog, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ m.tool_calls }}{% endfor %}")
    for name in FORMATS.names():
        export(log, tmp_path / name, formats=(name,), template=str(template))
        assert 6 == len(lines(tmp_path / name / "lineage.jsonl"))


# ---- what is kept for evaluation -------------------------------------------------------------------------------------


def conversations(log: ToolLog) -> list[str]:
    return [uid for (uid,) in log.query("SELECT uid FROM conversation ORDER BY id").rows]


def test_a_conversation_kept_for_evaluation_is_refused_unless_it_is_asked_for(log: ToolLog, tmp_path: Path) -> None:
    keep_for(log, "eval", conversations(log)[2])

    refused = export(log, tmp_path / "out", near=None)
    asked = export(log, tmp_path / "eval", filters=Filters.parse(splits=["train", "dev", "eval"]))

    assert 5 == dropped(refused)["eval_conversation"]
    assert {"train"} == set(refused.splits)
    assert {"train", "eval"} == set(asked.splits)
    manifest = json.loads((tmp_path / "eval/manifest.json").read_text("utf-8"))
    assert ["dev", "eval", "train"] == manifest["config"]["filters"]["splits"]


def test_what_is_said_in_evaluation_is_not_trained_on_in_another_conversation(log: ToolLog, tmp_path: Path) -> None:
    keep_for(log, "eval", conversations(log)[1])  # the twin

    report = export(log, tmp_path / "out")

    assert 4 == dropped(report)["eval_conversation"]
    assert 4 == dropped(report)["near_scenario"]
    assert ["Done."] == [said(row) for row in rows(tmp_path / "out") if row["messages"][-1]["content"]]


def test_a_second_process_that_searches_the_evaluation_changes_no_byte(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_for(log, "eval", conversations(log)[1])
    here = export(log, tmp_path / "here")
    monkeypatch.setattr(preparation, "APART_FROM", 1)

    there = export(log, tmp_path / "there")

    assert dropped(here) == dropped(there)
    assert tree(tmp_path / "here") == tree(tmp_path / "there")


def test_a_conversation_kept_for_development_goes_to_files_of_its_own(log: ToolLog, tmp_path: Path) -> None:
    keep_for(log, "dev", conversations(log)[2])

    report = export(log, tmp_path / "out")

    assert {"dev": 2, "train": 4} == {split: counts["examples"] for split, counts in report.splits.items()}
    assert [5, 7] == [len(row["messages"]) for row in rows(tmp_path / "out", "dev")]


# ---- builds ----------------------------------------------------------------------------------------------------------


def test_a_build_keeps_every_example_with_its_reason(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out")

    found = log.query(
        "SELECT reason, split, copies, COUNT(*) FROM dataset_example GROUP BY 1, 2, 3 ORDER BY reason"
    ).rows
    assert report.build == "v1"
    assert {
        (None, "train", 1, 6),
        ("duplicate", None, 0, 4),
        ("not_completed", None, 0, 1),
        ("schema_failure", None, 0, 1),
        ("tool_not_offered", None, 0, 1),
    } == set(found)


def test_a_build_that_continues_another_moves_nothing(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "one")
    before = {row["example_id"]: row["split"] for row in rows(tmp_path / "one")}
    keep_for(log, "dev")  # as if somebody had changed the registry

    export(log, tmp_path / "two", parent="v1")

    assert before == {row["example_id"]: row["split"] for row in rows(tmp_path / "two")}


def test_a_build_that_nobody_wants_to_ask_about_is_not_kept(log: ToolLog, tmp_path: Path) -> None:
    run_export(log, tmp_path / "out", ExportOptions(), record=False)

    assert [(0,)] == list(log.query("SELECT COUNT(*) FROM dataset_build").rows)
