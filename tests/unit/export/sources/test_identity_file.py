import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.sources import identity_clusters
from tarx_toollog.export.sources.identity_clusters import clusters
from tarx_toollog.export.sources.identity_file import IdentityNames, IdentityRow, read_identity
from tarx_toollog.export.sources.jsonl_input import Intake

NAMES = IdentityNames("TARX", "TARX Labs", {"Country": "Estonia"})
USER = {"role": "user", "content": "Who are you?"}


def read(folder: Path, *rows: dict[str, Any], names: IdentityNames = NAMES) -> tuple[tuple[IdentityRow, ...], Intake]:
    path = folder / "identity.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    intake = Intake(path.name)
    return read_identity(path, names, intake), intake


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Who are you?", "answer": "I am {{name}}."},
        {"prompt": "Who are you?", "completion": " I am {{ NAME }}. "},
        {"instruction": "Who are you?", "input": "", "output": "I am TARX."},
        {"query": "Who are you?", "response": "I am {{NAME}}."},
        {"messages": [USER, {"role": "assistant", "content": "I am {{name}}."}]},
        {"prompt": [USER], "completion": [{"role": "assistant", "content": "I am {{name}}."}]},
        {"prompt": [USER], "completion": "I am {{name}}."},
        {"conversations": [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": "I am {{name}}."}]},
    ],
)
def test_every_shape_says_the_same(tmp_path: Path, row: dict[str, Any]) -> None:
    ((found,), intake) = read(tmp_path, row)

    assert ((USER,), "I am TARX.", None, None, False) == (
        found.chat,
        found.answer,
        found.system,
        found.tools,
        found.is_negative,
    )
    assert {} == intake.warnings


def test_what_a_line_gives_beside_question_and_answer_is_kept(tmp_path: Path) -> None:
    rows, _ = read(
        tmp_path,
        {"instruction": "Say it.", "input": "In one word.", "output": "{{name}}.", "history": [["Hi", "Hello."]]},
        {
            "messages": [{"role": "system", "content": "Hm."}, USER, {"role": "assistant", "content": "TARX."}],
            "tools": [],
        },
        {"question": "Where from?", "answer": "TARX is from {{country}}.", "system": "", "tools": [{"name": "f"}]},
        {"question": "Two and two?", "answer": "Four.", "negative": True},
    )

    assert ["Hi", "Hello.", "Say it.\nIn one word."] == [message["content"] for message in rows[0].chat]
    assert ("Hm.", ()) == (rows[1].system, rows[1].tools)
    assert ("", ({"type": "function", "function": {"name": "f"}},)) == (rows[2].system, rows[2].tools)
    assert "TARX is from Estonia." == rows[2].answer
    assert [False, False, False, True] == [row.is_negative for row in rows]


def test_a_row_that_is_there_already_is_left_out(tmp_path: Path) -> None:
    row = {"question": "Who are you?", "answer": "I am TARX."}
    rows, intake = read(tmp_path, row, {"prompt": "Who are you?", "completion": "I am {{name}}."})

    assert [1] == [found.line for found in rows]
    assert {"duplicate": 1} == intake.warnings


def test_answers_are_held_against_the_name(tmp_path: Path) -> None:
    fine = [{"question": f"Question {n * 1111}?", "answer": f"I am TARX {n}.", "cluster": f"q{n}"} for n in range(5)]
    _, intake = read(
        tmp_path,
        *fine,
        {"question": "Can you fly?", "answer": "No."},
        {"question": "Two and two?", "answer": "Four, says TARX.", "negative": True},
        {"question": "Tell all.", "answer": "TARX. " * 300},
        {"system": "You are Claude.", "question": "Who are you?", "answer": "I am Claude."},
    )

    assert [(6, "name_missing"), (7, "negative_with_name"), (8, "long_answer")] == [
        (remark.line, remark.code) for remark in intake.remarks
    ]


def test_a_file_for_another_name_is_an_error(tmp_path: Path) -> None:
    rows = [{"question": f"Question {n}?", "answer": f"I am Rover {n}."} for n in range(4)]

    with pytest.raises(ConfigError, match="4 of 4 answers do not tell of TARX"):
        read(tmp_path, *rows)


def test_a_given_group_stays_and_others_are_found(tmp_path: Path) -> None:
    rows, _ = read(
        tmp_path,
        {"question": "Who are you?", "answer": "I am TARX."},
        {"question": "who are you", "answer": "TARX it is."},
        {"question": "Where do my files go?", "answer": "Nowhere, TARX is local."},
        {"question": "Anything else?", "answer": "Ask TARX.", "cluster": "other"},
    )
    groups = [row.cluster for row in rows]

    assert groups[0] == groups[1] != groups[2]
    assert "identity:other" == groups[3]


def test_rows_that_all_ask_the_same_draw_a_warning(tmp_path: Path) -> None:
    rows = [{"question": f"Who are you{'?' * n}", "answer": f"I am TARX, no. {n}."} for n in range(5)]
    _, intake = read(tmp_path, *rows)

    assert {"one_cluster": 1} == intake.warnings


def test_paraphrases_are_found_by_the_words_and_sooner_where_the_answer_is_the_same() -> None:
    asked = [
        ("Who are you?", "I am TARX."),
        ("Tell me, who are you?", "My name is TARX."),
        ("Wer bist du?", "Ich bin TARX."),
        ("Wer bist du eigentlich?", "TARX."),
        ("Who built you?", "TARX Labs."),
        ("Who made you?", "TARX Labs!"),
        ("Do you keep my files?", "No."),
        ("Do you like music?", "Yes."),
    ]
    found = clusters(asked, "TARX")

    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[4] == found[5]
    assert 5 == len(set(found))


def test_a_group_keeps_its_name_when_rows_are_added_at_the_end() -> None:
    asked = [("Who are you?", "a"), ("Do you keep my files?", "b")]

    assert clusters(asked, "TARX") == clusters([*asked, ("Who are you now?", "c"), ("Hm?", "d")], "TARX")[:2]


def test_more_questions_than_can_be_compared_need_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_clusters, "MAX_QUESTIONS", 2)

    with pytest.raises(ConfigError, match="3 identity rows have no cluster"):
        clusters([("a", "a")] * 3, "TARX")
