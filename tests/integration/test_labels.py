"""Labels in a real store: what is in force, what is refused, and that export and replay read the same in them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.export.example import Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.log import log_examples
from tarx_toollog.export.sources.steps import LogOptions
from tarx_toollog.store.labels import ALSO_RIGHT, ANSWER, ASK, EXPECTED, QUALITY, Labels, NewLabel, Target, calls_of
from tarx_toollog.store.log import ToolLog
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, saying

CALL = {"name": "recall", "arguments": {"query": "home"}}
RECALL = ("recall", {"query": "home"})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


@pytest.fixture
def labels(log: ToolLog) -> Labels:
    """Labels of a log with one turn: a call, and a text."""
    Chat(log, "c").turn("u", calling(RECALL), saying("Porto"))
    return Labels(log)


def uids(log: ToolLog) -> list[str]:
    """Return the uid of the conversation and those of its exchanges."""
    (turn,) = log.trajectories()
    return [turn.conversation_uid, *(step.exchange_uid for step in turn.steps)]


def quality(uid: str, value: float = 1.0, **more: Any) -> NewLabel:
    return NewLabel("exchange", uid, QUALITY, value_num=value, **{"annotator": "ann", **more})


def test_of_one_annotator_the_latest_word_is_in_force_and_the_earlier_one_is_kept(log: ToolLog, labels: Labels) -> None:
    exchange = uids(log)[1]
    first = labels.add(quality(exchange, annotator="ann"))
    other = labels.add(quality(exchange, annotator="bob"))
    second = labels.add(quality(exchange, -1.0, annotator="ann", comment="no, it is not"))

    assert [(other, 1.0), (second, -1.0)] == [(row.id, row.value_num) for row in labels.labels([exchange])]
    assert [(first, second), (other, None), (second, None)] == [
        (row.id, row.superseded_by_id) for row in labels.labels(in_force=False)
    ]


@pytest.mark.parametrize(
    "change", [{"name": "tone"}, {"annotator_kind": "rule"}, {"target_uid": "call"}], ids=lambda change: str(change)
)
def test_a_label_supersedes_only_what_says_the_same_of_the_same(log: ToolLog, labels: Labels, change: Any) -> None:
    exchange = uids(log)[1]
    there: dict[str, Any] = {
        "target_type": "exchange",
        "target_uid": exchange,
        "name": QUALITY,
        "value_num": 1.0,
        "annotator": "ann",
    }
    if "target_uid" in change:
        change = {"target_type": "tool_call", "target_uid": f"{exchange}.0.0"}
    labels.add(NewLabel(**there))
    labels.add(NewLabel(**(there | change)))

    assert [None, None] == [row.superseded_by_id for row in labels.labels()]


def test_what_is_taken_back_is_gone_for_every_reader_and_still_there(log: ToolLog, labels: Labels) -> None:
    exchange = uids(log)[1]
    bad = labels.add(quality(exchange, -1.0))
    gone = labels.withdraw(bad, "bob")

    assert [] == labels.labels()
    assert [()] == [step.labels for turn in log.trajectories() for step in turn.steps if step.exchange_uid == exchange]
    assert [(bad, "ann", gone), (gone, "bob", gone)] == [
        (row.id, row.annotator, row.superseded_by_id) for row in labels.labels(in_force=False)
    ]
    with pytest.raises(ConfigError, match="not in force"):
        labels.withdraw(bad, "bob")
    with pytest.raises(NothingMatchedError, match="no label 99"):
        labels.withdraw(99, "bob")


@pytest.mark.parametrize(
    "new",
    [
        NewLabel("exchange", "0199", QUALITY, value_num=1.0),
        NewLabel("conversation", "0199", QUALITY, value_num=1.0),
        NewLabel("tool_call", "0199.0.0", QUALITY, value_num=1.0),
        NewLabel("tool_call", "0199", QUALITY, value_num=1.0),
        NewLabel("tool_call", f"0199.{10**30}.0", QUALITY, value_num=1.0),
    ],
    ids=lambda new: f"{new.target_type} {new.target_uid}",
)
def test_what_is_not_there_cannot_be_labelled(labels: Labels, new: NewLabel) -> None:
    with pytest.raises(NothingMatchedError, match=r"no .* '0199") as caught:
        labels.add(new)

    assert "toollog log list" in caught.value.hint
    assert [] == labels.labels(in_force=False)


@pytest.mark.parametrize(
    "more",
    [
        {"name": ""},
        {"value_num": None},
        {"name": EXPECTED},
        {"name": EXPECTED, "correction": {"call": "recall"}},
        {"name": ALSO_RIGHT, "correction": CALL},
        {"name": ALSO_RIGHT, "correction": {"rules": {}}},
        {"name": ALSO_RIGHT, "correction": {"rules": {"recall": {}}}},
        {"name": ALSO_RIGHT, "correction": {"rules": ["recall"]}},
        {"name": EXPECTED, "correction": {"rules": {"recall": {"/query": {"rule": "text"}}}}},
        {"name": ALSO_RIGHT, "target_type": "conversation"},
    ],
    ids=str,
)
def test_a_label_that_says_nothing_is_refused(log: ToolLog, labels: Labels, more: Any) -> None:
    given = {"target_type": "exchange", "target_uid": uids(log)[1], "name": QUALITY, "value_num": 1.0}
    with pytest.raises(ConfigError):
        labels.add(NewLabel(**(given | more)))


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (CALL, [RECALL]),
        ({**CALL, "content": "I will look."}, [RECALL]),
        ({"tool_calls": [CALL, {"name": "recall", "arguments": "{}"}]}, [RECALL, ("recall", "{}")]),
        ({"content": "Porto"}, []),
        ({"content": None, "tool_calls": [CALL]}, [RECALL]),
        (ANSWER, []),
        (ASK, []),
        ({"answer": False}, None),
        ({"content": " "}, None),
        ({"content": 1}, None),
        ({"tool_calls": []}, None),
        ({"tool_calls": [CALL, "recall"]}, None),
        ({"name": "", "arguments": {}}, None),
        ({"name": "recall", "arguments": [1]}, None),
        ({"name": "recall", "arguments": "{query"}, None),
        ({"name": "recall"}, None),
        ("recall", None),
    ],
    ids=str,
)
def test_a_correction_is_calls_or_a_text_or_says_which_of_the_two(correction: Any, expected: Any) -> None:
    assert expected == calls_of(correction)


def test_a_target_is_found_by_the_beginning_of_its_id(log: ToolLog, labels: Labels) -> None:
    conversation, first, second = uids(log)
    assert [
        Target("conversation", conversation), Target("exchange", second), Target("exchange", second),
        Target("tool_call", f"{first}.0.0"), Target("tool_call", f"{first}.0.0"),
    ] == [
        labels.target(name) for name in (conversation, second, second[:-1], f"{first}.0.0", f"{first[:-1]}.0.0")
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="fits several"):
        labels.target(first[:6])
    for name in ("nothing", f"{first}.0.1", f"{first}.0", ""):
        with pytest.raises(NothingMatchedError):
            labels.target(name)


def test_what_must_not_be_stored_is_taken_out_of_a_label(log: ToolLog, labels: Labels) -> None:
    key = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1vW4" * 2
    correction = {"name": "remember", "arguments": {"text": f"the key is {key}"}}
    labels.add(NewLabel("exchange", uids(log)[1], EXPECTED, comment=key, correction=correction, annotator="ann"))

    assert key not in str(labels.labels())
    assert "the key is" in str(labels.labels())


# ---- one meaning for export and replay ------------------------------------------------------------------------------


def learned(log: ToolLog) -> list[str]:
    """Return for each answer of the log why it is not learned; or what is learned, a text or the names of calls."""
    found = log_examples(log.trajectories(EVERY_SPLIT), Normaliser(), LogOptions(includes_eval=True), lambda: None)
    return [item.reason if isinstance(item, Refused) else _said(item.messages[-1].value) for item in found]


def _said(answer: Mapping[str, Any]) -> str:
    return answer["content"] or " ".join(call["function"]["name"] for call in answer["tool_calls"])


@pytest.mark.parametrize(
    ("place", "correction", "expected"),
    [
        (1, ANSWER, ["labelled_bad", "Porto"]),
        (1, ASK, ["labelled_bad", "Porto"]),
        (1, {"content": "Where?"}, ["Where?", "Porto"]),
        (2, ANSWER, ["recall", "Porto"]),
        (2, ASK, ["recall", "labelled_bad"]),
        (2, CALL, ["recall", "recall"]),
    ],
    ids=str,
)
def test_export_learns_a_correction_that_has_words_and_no_answer_that_another_would_have_been_right_for(
    log: ToolLog, labels: Labels, place: int, correction: Any, expected: list[str]
) -> None:
    labels.add(NewLabel("exchange", uids(log)[place], EXPECTED, correction=correction, annotator="ann"))

    assert expected == learned(log)


def test_who_says_what_and_who_says_only_what_kind_contradict_each_other(log: ToolLog, labels: Labels) -> None:
    for annotator, correction in (("ann", {"name": "recall", "arguments": {"query": "x"}}), ("bob", ANSWER)):
        labels.add(NewLabel("exchange", uids(log)[1], EXPECTED, correction=correction, annotator=annotator))

    assert ["labelled_bad", "Porto"] == learned(log)


def test_also_right_is_no_correction(log: ToolLog, labels: Labels) -> None:
    labels.add(NewLabel("exchange", uids(log)[1], ALSO_RIGHT, value_num=1.0, annotator="ann"))

    assert ["recall", "Porto"] == learned(log)
