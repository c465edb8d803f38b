import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Example, Message, Origin, Refused, Unit
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.redact import MARK
from tarx_toollog.export.sources.jsonl_input import Intake
from tarx_toollog.export.sources.synthetic import synthetic_examples

FIXTURES = Path(__file__).parents[3] / "export_fixtures" / "sources"
RECALL = {
    "type": "function",
    "function": {
        "name": "recall",
        "parameters": {"type": "object", "properties": {"key": {"type": "string", "maxLength": 20}}},
    },
}
CASES = [json.loads(line) for line in (FIXTURES / "dialogues_left_out.jsonl").read_text("utf-8").splitlines()]


def call(name: str = "recall", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def read(
    folder: Path, *rows: dict[str, Any], unit: Unit = "step", normaliser: Normaliser | None = None
) -> tuple[list[Example | Refused], Intake]:
    path = folder / "made.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    intake = Intake(path.name)
    return list(synthetic_examples(path, intake, normaliser or Normaliser(), unit)), intake


def good(found: list[Example | Refused]) -> list[Example]:
    return [one for one in found if isinstance(one, Example)]


def chat(example: Example) -> list[Message]:
    return [piece.value for piece in example.messages]


DIALOGUE = [
    {"role": "user", "content": "How old is my cat?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", **call(key="cat")}]},
    {"role": "tool", "tool_call_id": "c1", "content": "three"},
    {"role": "assistant", "content": "Three."},
]
CANONICAL = [
    {"role": "user", "content": "How old is my cat?"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", **call(key="cat")}]},
    {"role": "tool", "content": "three", "name": "recall", "tool_call_id": "c1"},
    {"role": "assistant", "content": "Three."},
]


def test_every_answer_of_a_dialogue_is_an_example_with_the_history_before_it(tmp_path: Path) -> None:
    found, intake = read(tmp_path, {"messages": DIALOGUE, "tools": [RECALL]})

    assert [CANONICAL[:2], CANONICAL] == [chat(example) for example in good(found)]
    assert [[RECALL], [RECALL]] == [example.tools.value for example in good(found) if example.tools]
    assert [("synthetic", Origin(file="made.jsonl", line=1))] * 2 == [(one.source, one.origin) for one in found]
    assert (1, 2) == (intake.lines, intake.examples)


def test_a_dialogue_may_end_with_calls_or_with_their_results(tmp_path: Path) -> None:
    rows = [{"messages": DIALOGUE[:length], "tools": [RECALL]} for length in (2, 3)]
    found, intake = read(tmp_path, *rows)

    assert [CANONICAL[:2], CANONICAL[:2]] == [chat(example) for example in good(found)]
    assert {} == intake.left_out


def test_a_trajectory_is_one_example_with_the_places_to_learn(tmp_path: Path) -> None:
    row = {"messages": [*DIALOGUE, {"role": "user", "content": "Thanks."}], "tools": [RECALL]}
    found, _ = read(tmp_path, row, unit="trajectory")

    assert [(CANONICAL, (1, 3))] == [(chat(example), example.targets) for example in good(found)]


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}])
def test_an_answer_that_the_file_marks_is_context_and_counted_nowhere(tmp_path: Path, mark: dict[str, Any]) -> None:
    messages = [DIALOGUE[0], {"role": "assistant", "content": "No idea.", **mark}, *DIALOGUE]
    found, intake = read(tmp_path, {"messages": messages, "tools": [RECALL]})

    assert [4, 6] == [len(example.messages) for example in good(found)]
    assert {"role": "assistant", "content": "No idea."} == chat(good(found)[0])[1]
    assert (2, {}) == (len(found), intake.left_out)


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_an_answer_that_fails_a_gate_is_left_out_with_its_reason(tmp_path: Path, case: dict[str, Any]) -> None:
    fine = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    found, intake = read(tmp_path, fine, {"tools": [RECALL], **case["row"]})

    refused = [(one.reason, one.origin.line) for one in found if isinstance(one, Refused)]
    assert [(reason, 2) for reason, _ in case["expected"]] == refused
    assert case.get("n_good", 0) + 1 == len(good(found))
    details = [(remark.code, remark.message) for remark in intake.remarks]
    for (reason, detail), (code, message) in zip(case["expected"], details, strict=True):
        assert (reason, detail or message) == (code, message)


def test_a_failed_answer_is_context_of_the_one_that_does_better(tmp_path: Path) -> None:
    case = next(case for case in CASES if case["case"] == "error, then recovery")
    found, _ = read(tmp_path, {"tools": [RECALL], **case["row"]})

    assert ["user", "assistant", "tool", "assistant"] == [message["role"] for message in chat(good(found)[0])]
    assert {"key": "b"} == chat(good(found)[0])[-1]["tool_calls"][0]["function"]["arguments"]


def test_sharegpt_says_the_same_as_messages(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "How old is my cat?"},
        {"from": "function_call", "value": '{"name": "recall", "arguments": {"key": "cat"}}'},
        {"from": "observation", "value": "three"},
        {"from": "gpt", "value": "Three."},
    ]
    row = {"conversations": turns, "tools": json.dumps([RECALL["function"]]), "system": "You are TARX."}
    found, _ = read(tmp_path, row)
    expected = json.loads(
        json.dumps([{"role": "system", "content": "You are TARX."}, *CANONICAL]).replace("c1", "call_2_0")
    )

    assert [expected[:3], expected] == [chat(example) for example in good(found)]
    assert [[RECALL], [RECALL]] == [example.tools.value for example in good(found) if example.tools]


def test_calls_between_marks_and_a_text_before_them_are_one_message(tmp_path: Path) -> None:
    calls = '[{"name": "recall", "arguments": {"key": "a"}}, {"name": "recall", "arguments": {"key": "b"}}]'
    marked = f"I will look.\n<tool_call>\n{calls}\n</tool_call>"
    result = {"from": "tool", "value": "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>"}
    end = {"from": "gpt", "value": "1 and 2."}
    one = [{"from": "human", "value": "Both?"}, {"from": "gpt", "value": marked}, result, end]
    two = [one[0], {"from": "gpt", "value": "I will look."}, {"from": "function_call", "value": calls}, result, end]
    three = [one[0], {"from": "function_call", "value": marked}, result, end]
    rows = [{"conversations": turns, "tools": [RECALL]} for turns in (one, two, three)]
    found, _ = read(tmp_path, *rows)

    whole = [chat(example) for example in good(found)[1::2]]
    assert whole[0] == whole[1] == whole[2]
    said = whole[0][1]
    assert ("I will look.", ["a", "b"]) == (
        said["content"],
        [call["function"]["arguments"]["key"] for call in said["tool_calls"]],
    )
    assert ["1", "2"] == [message["content"] for message in whole[0] if message["role"] == "tool"]


def test_all_examples_of_a_line_are_one_group_and_a_file_can_name_larger_ones(tmp_path: Path) -> None:
    other = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    found, _ = read(
        tmp_path,
        {"messages": DIALOGUE, "tools": [RECALL]},
        {"messages": other},
        {"messages": other, "cluster": "hello"},
        {"messages": [*other, *other], "family": "hello"},
    )
    groups = [example.cluster for example in good(found)]

    assert groups[0] == groups[1] != groups[2]
    assert ["synthetic:hello"] * 3 == groups[3:]


def test_messages_are_cleaned_and_a_mark_that_breaks_a_schema_is_told_from_a_bad_answer(tmp_path: Path) -> None:
    def clean(message: Message) -> Message:
        return json.loads(json.dumps(message).replace("cat", f"{MARK}a long mark in the place of a cat"))  # type: ignore[no-any-return]

    found, intake = read(tmp_path, {"messages": DIALOGUE, "tools": [RECALL]}, normaliser=Normaliser(clean))

    assert {"redaction_breaks_schema": 1} == intake.left_out
    assert [f"How old is my {MARK}a long mark in the place of a cat?"] == [
        chat(one)[0]["content"] for one in good(found)
    ]


def test_errors_are_collected_and_raised_when_the_whole_file_was_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)2 errors.*line 2.*line 3") as caught:
        read(tmp_path, {"messages": DIALOGUE, "tools": [RECALL]}, {"messages": []}, {"text": "Hi"})

    assert "mend what is listed; nothing of the file was imported" == caught.value.hint
