import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Example, Origin, Piece, Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.jsonl_input import Intake
from tarx_toollog.export.sources.log_sample import LogSample
from tarx_toollog.export.sources.summaries import REQUEST, SummaryOptions, check_summaries, summary_examples

SAVE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "tarx_save_conversation",
        "parameters": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "summary": {"type": "string", "minLength": 5},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["summary"],
        },
    },
}
RECALL: dict[str, Any] = {"type": "function", "function": {"name": "tarx_recall"}}
ASKED = {"role": "user", "content": "My cat is three."}
ANSWERED = {"role": "assistant", "content": "Noted."}


def sample() -> LogSample:
    found = LogSample()
    messages = (Piece({"role": "system", "content": "You are TARX."}), Piece(ASKED), Piece(ANSWERED))
    found.observe(Example(messages, Piece([RECALL, SAVE]), "chat", Origin(conversation_uid="c")))
    return found


def read(
    folder: Path, *rows: dict[str, Any], known: LogSample | None = None, options: SummaryOptions | None = None
) -> tuple[list[Example | Refused], Intake]:
    path = folder / "summaries.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    intake = Intake(path.name)
    log = sample() if known is None else known
    return list(summary_examples(path, intake, Normaliser(), log, options or SummaryOptions())), intake


def only(found: list[Example | Refused]) -> Example:
    (example,) = found
    assert isinstance(example, Example)
    return example


def arguments(example: Example) -> Any:
    return example.messages[-1].value["tool_calls"][0]["function"]["arguments"]


def test_a_summary_becomes_a_call_in_the_surroundings_of_the_log(tmp_path: Path) -> None:
    found, intake = read(tmp_path, {"messages": [ASKED, ANSWERED], "summary": "A cat of three."})
    function = {"name": "tarx_save_conversation", "arguments": {"summary": "A cat of three."}}

    assert [
        {"role": "system", "content": "You are TARX."},
        ASKED,
        ANSWERED,
        {"role": "user", "content": REQUEST},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_4_0", "type": "function", "function": function}],
        },
    ] == [piece.value for piece in only(found).messages]
    assert ("summary", Origin(file="summaries.jsonl", line=1)) == (only(found).source, only(found).origin)
    assert Piece([RECALL, SAVE]).text == getattr(only(found).tools, "text", None)
    assert 1 == intake.examples


def test_a_line_has_its_own_words_prompt_and_tools_where_it_gives_them(tmp_path: Path) -> None:
    row = {"conversation": [ASKED, ANSWERED], "summary": "A cat.", "request": "Save!", "system": "Hm.", "tools": [SAVE]}
    found, _ = read(tmp_path, row)

    assert ["Hm.", "My cat is three.", "Noted.", "Save!", ""] == [
        piece.value["content"] for piece in only(found).messages
    ]
    assert Piece([SAVE]).text == getattr(only(found).tools, "text", None)


def test_a_conversation_that_ends_with_the_user_gets_no_request(tmp_path: Path) -> None:
    found, _ = read(tmp_path, {"messages": [ASKED], "summary": "A cat."})

    assert ["system", "user", "assistant"] == [piece.value["role"] for piece in only(found).messages]


def test_an_object_is_all_of_the_arguments_and_a_text_takes_parameters_from_its_line(tmp_path: Path) -> None:
    text = {"messages": [ASKED], "summary": "A cat.", "tags": ["pets"], "title": "Cat", "mood": "good"}
    as_text, _ = read(tmp_path, text)
    as_object, _ = read(tmp_path, {**text, "summary": {"summary": "A cat."}})

    assert '{"title": "Cat", "summary": "A cat.", "tags": ["pets"]}' == json.dumps(arguments(only(as_text)))
    assert {"summary": "A cat."} == arguments(only(as_object))


def test_arguments_that_break_the_schema_are_left_out_with_what_is_wrong(tmp_path: Path) -> None:
    rows = [{"messages": [ASKED], "summary": text} for text in ("Cat", "A cat.")]
    found, intake = read(tmp_path, *rows)

    assert Refused("summary", Origin(file="summaries.jsonl", line=1), "schema_failure") == found[0]
    assert "tarx_save_conversation: /summary: 'Cat' is too short" == intake.remarks[0].message
    assert {"schema_failure": 1} == intake.left_out


def test_a_history_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    orphan = {"role": "tool", "tool_call_id": "c", "content": "x"}
    rows = [{"messages": [orphan, ASKED], "summary": "A cat."}, {"messages": [ASKED], "summary": "A cat."}]
    found, _ = read(tmp_path, *rows)

    assert "history_result" == getattr(found[0], "reason", None)


def test_a_given_definition_replaces_the_one_of_the_log_among_its_tools(tmp_path: Path) -> None:
    other = {"type": "function", "function": {"name": "tarx_save_conversation", "parameters": {"type": "object"}}}
    row = {"messages": [ASKED], "summary": {"text": "A cat."}}
    beside, _ = read(tmp_path, row, options=SummaryOptions(tool=other))
    alone, _ = read(tmp_path, row, options=SummaryOptions(tool=other), known=LogSample())

    assert Piece([RECALL, other]).text == getattr(only(beside).tools, "text", None)
    assert Piece([other]).text == getattr(only(alone).tools, "text", None)
    assert ["user", "assistant"] == [piece.value["role"] for piece in only(alone).messages]


def test_a_tool_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the log never offered tarx_save_conversation"):
        read(tmp_path, {"messages": [ASKED], "summary": "A cat."}, known=LogSample())


def test_two_summaries_of_one_conversation_are_one_group(tmp_path: Path) -> None:
    rows = [{"messages": [ASKED, ANSWERED], "summary": text} for text in ("A cat.", "A cat of three.")]
    found, _ = read(tmp_path, *rows, {"messages": [ASKED], "summary": "A cat.", "cluster": "cats"})
    groups = [example.cluster for example in found if isinstance(example, Example)]

    assert groups[0] == groups[1] != groups[2] == "summary:cats"


def test_a_file_can_be_checked_before_the_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "summaries.jsonl"
    path.write_text(json.dumps({"messages": [ASKED], "summary": "A cat."}) + "\n{}\n", "utf-8")

    with pytest.raises(ConfigError, match="line 2: no list of messages"):
        check_summaries(path, Intake(path.name))
