"""``v_training_candidates`` and the export agree on what can be learned from a log."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarx_toollog.export.example import Example
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.export.sources.log import log_examples
from tarx_toollog.export.sources.steps import LogOptions
from tarx_toollog.model import Exchange
from tarx_toollog.store.labels import ANSWER, ASK, Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tests.support.analyst_log import write_analyst_log
from tests.support.any_logs import Dialogue, dialogues, keep
from tests.support.builders import TOOLS, assistant, call, exchange, user

Verdicts = dict[str, str | None]
"""Exchange → why not; None where it can be learned."""


def in_sql(log: ToolLog) -> Verdicts:
    result = log.query("SELECT exchange_uid, reason, is_candidate FROM v_training_candidates")
    found = {}
    for uid, reason, is_candidate in result.rows:
        assert is_candidate == (reason is None)
        found[uid] = reason
    return found


def in_export(log: ToolLog) -> Verdicts:
    found: Verdicts = {}
    for item in log_examples(log.trajectories(), Normaliser(), LogOptions(), lambda: None):
        uid = item.origin.exchange_uid
        assert uid is not None
        found[uid] = None if isinstance(item, Example) else item.reason
    return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def test_every_verdict_on_a_log_with_each_kind_of_failure_is_that_of_the_export(tmp_path: Path) -> None:
    write_analyst_log(tmp_path / "t.db")
    with ToolLog.open(tmp_path / "t.db") as log:
        assert in_export(log) == in_sql(log)
        assert set(in_sql(log).values()) - {None} <= set(REASONS)


def one_step(log: ToolLog, answer: dict[str, object] | None = None) -> str:
    """Write one exchange; return its uid."""
    item = exchange([user("Hi")], answer or assistant("Hello."), tools=TOOLS)
    write(log, item)
    return item.uid


def write(log: ToolLog, item: Exchange) -> None:
    """Write an exchange of a conversation that is kept for training, which chance decides else."""
    log.write([item])
    with log.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE conversation SET split = 'train'")


@pytest.mark.parametrize(
    "label",
    [
        {"value_num": -1.0},
        {"value_num": 1.0},
        {"value_num": 0.0},
        {"value_text": " Wrong "},
        {"value_text": "fine"},
        {"correction": ANSWER},
        {"correction": ASK},
        {"correction": {"content": "Good day."}},
        {"correction": {"name": "tarx_recall", "arguments": {"query": "x"}}},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("target", "has_call"),
    [("conversation", True), ("conversation", False), ("exchange", True), ("exchange", False), ("tool_call", True)],
)
def test_a_label_means_the_same_in_both(log: ToolLog, label: dict[str, object], target: str, has_call: bool) -> None:
    made = assistant("", call("tarx_recall", {"query": "city"}, "c1")) if has_call else None
    uid = one_step(log, made)
    ((conversation,),) = log.query("SELECT uid FROM conversation").rows
    name = {"conversation": conversation, "exchange": uid, "tool_call": f"{uid}.0.0"}[target]
    Labels(log).add(NewLabel(target, name, "quality", annotator="ann", **label))  # type: ignore[arg-type]

    if in_sql(log) != in_export(log):  # a correction that cannot be read is for the export alone to see
        assert {uid: None} == in_sql(log)
        assert {uid: "bad_correction"} == in_export(log)


def test_a_label_that_was_taken_back_counts_no_more(log: ToolLog) -> None:
    uid = one_step(log)
    labels = Labels(log)
    key = labels.add(NewLabel("exchange", uid, "quality", -1.0, annotator="ann"))
    assert {uid: "labelled_bad"} == in_sql(log)

    labels.withdraw(key, "ann")

    assert {uid: None} == in_sql(log) == in_export(log)


def test_an_answer_that_was_asked_for_again_is_no_step(log: ToolLog) -> None:
    first, again = (exchange([user("Hi")], assistant(text), tools=TOOLS, at_s=n * 9) for n, text in enumerate("ab"))
    write(log, first)
    write(log, again)
    write(log, exchange([user("Hi"), assistant("b"), user("And?")], assistant("c"), tools=TOOLS, at_s=30))

    assert "no_step" == in_sql(log)[first.uid]
    assert first.uid not in in_export(log)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(dialogues(), min_size=1, max_size=4))
def test_of_any_log_the_export_takes_nothing_that_the_view_refuses(drawn: list[Dialogue]) -> None:
    with tempfile.TemporaryDirectory() as name:
        kept = keep(drawn, Path(name) / "log.db")
        with ToolLog.open(settings=kept.settings) as log:
            of_view, of_export = in_sql(log), in_export(log)
    taken = {uid for uid, reason in of_export.items() if reason is None}

    assert set() == {uid for uid in taken if of_view[uid] is not None}
    refused = {uid: reason for uid, reason in of_view.items() if reason is not None and uid in of_export}
    assert refused == {uid: of_export[uid] for uid in refused}
