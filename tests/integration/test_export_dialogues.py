"""Whole dialogues as rows: every step that is learned can be asked about, and counts once."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.explain import Explanation
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport
from tarx_toollog.store.dataset_diff import diff
from tarx_toollog.store.dataset_queries import parts, why
from tarx_toollog.store.datasets import Datasets
from tarx_toollog.store.log import ToolLog
from tests.support.counted_chat import CountedChat
from tests.unit.cli.samples import Chat, bad_chat, call, good_chat, keep_for, tool, write_log

GOOD, TWIN, BAD = good_chat(), good_chat("twin", start_s=50), bad_chat()
TOKENS = 10
"""Of each answer, as the sample server counts."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of a dialogue with four good answers, its twin, and one in which two of four are good."""
    settings = write_log(tmp_path / "log.db", GOOD, TWIN, BAD)
    with ToolLog.open(settings=settings, read_only=False) as opened:
        yield opened


def export(log: ToolLog, out: Path, **options: Any) -> ExportReport:
    chosen = {"formats": ("canonical",), "unit": "trajectory", **options}
    return run_export(log, out, ExportOptions(**chosen))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def said(log: ToolLog, chat: Chat) -> list[tuple[Any, ...]]:
    """Return what the only build says of each exchange of a chat."""
    found = []
    for exchange in chat.exchanges:
        (row,) = why(log.engine, exchange.uid)
        found.append((row["state"], row["reason"], row["copies"], row["n_trained_tokens"]))
    return found


def test_each_exchange_of_a_dialogue_says_what_became_of_it(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out")

    assert [("in", None, 1, TOKENS)] * 4 == said(log, GOOD)
    assert [("out", "duplicate", 0, TOKENS)] * 4 == said(log, TWIN)
    assert [
        ("out", "schema_failure", 0, None),
        ("in", None, 1, TOKENS),
        ("in", None, 1, TOKENS),
        ("out", "tool_not_offered", 0, None),
        ("out", "not_completed", 0, None),
    ] == said(log, BAD)


def test_a_dialogue_that_is_too_long_is_so_for_each_of_its_exchanges(log: ToolLog, tmp_path: Path) -> None:
    short = CountedChat("short", start_s=500).counts(50, 5)
    short.user("Hm?").answer("Hm.")
    with ToolLog.open(settings=log.settings, read_only=False) as opened:
        opened.write(short.exchanges)
        keep_for(opened, "train")

    export(log, tmp_path / "out", max_tokens=109)  # the others have 110
    assert [("out", "too_long", 0, TOKENS)] * 4 == said(log, GOOD)
    assert (1, 3 + 3) == (Datasets(log).build("v1").n_examples, Datasets(log).build("v1").n_left_out)


def test_a_build_counts_dialogues_once_and_their_tokens_once(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out", mix="tool=x3")

    build = Datasets(log).build("v1")
    assert (2, 3 + 1, 3 * 6 * TOKENS) == (build.n_examples, build.n_left_out, build.n_trained_tokens)
    assert 3 * 6 * TOKENS == report.accounting["trained_tokens"] == report.formats["canonical"].trained_tokens
    shown = [tuple(row.values()) for row in parts(log.engine, build.id)]
    assert ("tool", "train", None, 2, 6, 3 * 6 * TOKENS) == shown[0]
    assert {"duplicate": 1, "schema_failure": 1, "tool_not_offered": 1, "not_completed": 1} == {
        row[2]: row[3] for row in shown[1:]
    }


def test_an_example_of_a_build_is_told_once_by_its_id(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out")

    for row in lines(tmp_path / "out/canonical/train.jsonl"):
        told = why(log.engine, row["example_id"])
        assert "in" in {one["state"] for one in told}
        assert {110} == {one["n_tokens"] for one in told}
        assert len(told) == (2 if len(row["targets"]) == 4 else 1)  # the twin is equal, and left out


def test_a_dialogue_is_explained_by_any_of_its_exchanges(log: ToolLog, tmp_path: Path) -> None:
    for exchange in GOOD.exchanges:
        explanation = Explanation(exchange.uid, log)
        options = ExportOptions(formats=("canonical",), unit="trajectory")
        run_export(log, tmp_path / "out", options, dry_run=True, explain=explanation)

        assert "is in: train" in explanation.text()


def test_the_lineage_of_a_line_names_every_step_that_it_is_learned_from(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out")

    found = {line["exchange_uid"]: line for line in lines(tmp_path / "out/lineage.jsonl")}
    assert {GOOD.exchanges[3].uid, BAD.exchanges[2].uid} == found.keys()
    assert [
        {"exchange_uid": exchange.uid, "turn_no": turn, "step_no": step, "n_trained_tokens": TOKENS}
        for exchange, turn, step in zip(GOOD.exchanges, (1, 1, 2, 2), (1, 2, 1, 2), strict=True)
    ] == found[GOOD.exchanges[3].uid]["learned"]
    assert 4 * TOKENS == found[GOOD.exchanges[3].uid]["n_trained_tokens"]

    export(log, tmp_path / "steps", unit="step")
    assert {False} == {"learned" in line for line in lines(tmp_path / "steps/lineage.jsonl")}


def test_the_report_of_dialogues_has_the_tokens_that_the_report_of_their_steps_has(
    log: ToolLog, tmp_path: Path
) -> None:
    dialogues = export(log, tmp_path / "out").accounting
    steps = export(log, tmp_path / "steps", unit="step").accounting

    for group in ("tools", "chain_positions", "sources"):
        assert _tokens(steps[group]) == _tokens(dialogues[group])
    assert {"tarx_recall": 1, "tarx_remember": 2, "(no call)": 2} == {
        name: counts["rows"] for name, counts in dialogues["tools"].items()
    }
    assert (2, 0.0) == (dialogues["rows"], dialogues["negatives"])


def _tokens(group: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: counts["trained_tokens"] for name, counts in group.items()}


def test_a_limit_of_a_conversation_counts_the_answers_of_its_dialogues(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out", max_steps=3)

    assert [[4, 6]] == [row["targets"] for row in lines(tmp_path / "out/canonical/train.jsonl")]
    assert {("out", "enough_steps")} == {row[:2] for row in said(log, GOOD)}


def test_a_limit_of_a_tool_sees_calls_before_the_last_answer(log: ToolLog, tmp_path: Path) -> None:
    third = Chat("third", start_s=300).user("Where is my ring?")
    third.answer(None, call("tarx_remember", '{"key": "ring", "value": "lost"}')).result("saved").answer("Lost, then.")
    with ToolLog.open(settings=log.settings, read_only=False) as opened:
        opened.write(third.exchanges)
        keep_for(opened, "train")

    report = export(log, tmp_path / "out", balance="tool:cap=1")
    assert {"balanced_out": 1} == next(stage.dropped for stage in report.stages if stage.stage == "mix")
    assert 2 == report.accounting["tools"]["tarx_remember"]["rows"]  # one of its own, and one that calls a rarer tool


def test_a_build_that_goes_on_from_dialogues_is_the_same_and_differs_in_nothing(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "one")
    export(log, tmp_path / "two", parent="v1")

    builds = Datasets(log)
    assert [] == list(diff(log.engine, builds.build("v1"), builds.build("v2")))
    assert Counter(said_of(log, "v1")) == Counter(said_of(log, "v2"))


def said_of(log: ToolLog, build: str) -> list[tuple[Any, ...]]:
    chats = (GOOD, TWIN, BAD)
    rows = [why(log.engine, exchange.uid, build)[0] for chat in chats for exchange in chat.exchanges]
    return [(row["exchange_uid"], row["split"], row["reason"]) for row in rows]


def test_steps_that_become_dialogues_are_told_as_other_examples_of_their_exchanges(
    log: ToolLog, tmp_path: Path
) -> None:
    export(log, tmp_path / "steps", unit="step")
    export(log, tmp_path / "dialogues")

    builds = Datasets(log)
    changes = list(diff(log.engine, builds.build("v1"), builds.build("v2")))
    assert {"removed": 6, "added": 2} == Counter(change.change for change in changes)
    assert {"changed"} == {change.reason for change in changes}
    assert {1} == {change.copies_before + change.copies_after for change in changes}


def test_a_made_dialogue_counts_all_its_calls_and_is_one_row(log: ToolLog, tmp_path: Path) -> None:
    look = tool("look", key="string")
    messages = [
        {"role": "user", "content": "How old is my cat?"},
        {"role": "assistant", "content": "", "tool_calls": [call("look", '{"key": "cat"}', "c")]},
        {"role": "tool", "content": "three", "tool_call_id": "c"},
        {"role": "assistant", "content": "Three."},
    ]
    systems = [{"role": "system", "content": f"You are number {number}."} for number in range(30)]
    path = tmp_path / "made.jsonl"
    path.write_text("".join(json.dumps({"messages": [one, *messages], "tools": [look]}) + "\n" for one in systems))

    report = export(log, tmp_path / "out", synthetic=(path,), near=None)
    accounting, build = report.accounting, Datasets(log).build("v1")
    assert 0 < accounting["sources"]["synthetic"]["rows"] == accounting["tools"]["look"]["rows"]
    assert 0 < accounting["tools"]["look"]["trained_tokens"] < accounting["sources"]["synthetic"]["trained_tokens"]
    assert 30 == sum(len(why(log.engine, f"made.jsonl:{line}")) for line in range(1, 31))
    assert build.n_trained_tokens == accounting["trained_tokens"]
