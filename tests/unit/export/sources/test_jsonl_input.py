import json
import re
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.sources import jsonl_input
from tarx_toollog.export.sources.jsonl_input import BadLineError, InputLine, Intake, read_lines


def read(folder: Path, data: bytes) -> tuple[list[InputLine], Intake]:
    path = folder / "rows.jsonl"
    path.write_bytes(data)
    intake = Intake(path.name)
    return list(read_lines(path, intake)), intake


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}\n\n  \n{"a": 2}\n',
        b'\xef\xbb\xbf{"a": 1}\r\n\r\n\r\n{"a": 2}',
        b'[{"a": 1},\n\n\n {"a": 2}]\n',
        b'\xef\xbb\xbf [{"a": 1}\n,\n\n{"a": 2}\n]',
    ],
)
def test_lines_and_elements_of_an_array_are_numbered_as_an_editor_does(tmp_path: Path, data: bytes) -> None:
    lines, intake = read(tmp_path, data)
    intake.require_no_errors()

    assert [(1, {"a": 1}), (4, {"a": 2})] == lines
    assert 2 == intake.lines


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1}\n{"a": \n', "line 2: not JSON"),
        (b'{"a": 1}\n"text"\n', "line 2: not an object but a string"),
        (b'{"a": 1}\n{"a": NaN}\n', "line 2: NaN is not JSON"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2: not UTF-8 (byte 8)"),
        (b'{"a": 1}\n{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "line 2: nested too deep"),
        (b'{"a": 1}\n{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "line 2: "),
        (b'[{"a": 1},\n 5]', "line 2: not an object but a number"),
        (b'[{"a": 1},\n {"a": Infinity}]', "line 2: Infinity is not JSON"),
        (b'[{"a": 1}\n {"a": 2}]', "no comma between two objects"),
        (b'[{"a": 1}]\n[{"a": 2}]', "there is text behind the JSON array"),
        (b'[{"a": 1},\n', "line 1: not JSON"),
        (b'\n[{"a": 1},\n\n{"a": }]', "line 4: not JSON: expecting value at column 7"),
        (b'[{"a": "\xff"}]', "line 1: not UTF-8"),
        (
            b'[{"a": 1},\n{"a": ' + b"1" * 10_000 + b"}]",
            "line 2: a number has more than 4300 digits; write it as a string",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    _, intake = read(tmp_path, data)

    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        intake.require_no_errors()
    assert "mend what is listed; nothing of the file was imported" == caught.value.hint


def test_the_first_ten_errors_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    lines, intake = read(tmp_path, b"no\n" * 13 + b"{}\n")

    with pytest.raises(ConfigError) as caught:
        intake.require_no_errors()
    assert [(14, {})] == lines
    assert "rows.jsonl: 13 errors" == caught.value.message.splitlines()[0]
    assert 10 == caught.value.message.count("line ")
    assert "  - and 3 more" == caught.value.message.splitlines()[-1]


@pytest.mark.parametrize("data", [b"", b"\n \n", b"[]", b" [ ]\n"])
def test_a_file_without_lines_is_an_error(tmp_path: Path, data: bytes) -> None:
    _, intake = read(tmp_path, data)

    with pytest.raises(ConfigError, match=r"rows\.jsonl is empty"):
        intake.require_no_errors()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        list(read_lines(tmp_path / "none.jsonl", Intake("none.jsonl")))


def test_a_huge_array_is_refused_with_the_way_to_cut_it_into_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl_input, "MAX_ARRAY", 10)

    with pytest.raises(ConfigError, match="one JSON array") as caught:
        read(tmp_path, b'[{"a": 1}, {"a": 2}]')
    assert "jq -c" in caught.value.hint


def test_a_file_of_which_nothing_can_be_learned_says_why() -> None:
    intake = Intake("rows.jsonl", lines=2)
    intake.leave_out(1, "no_answer")
    intake.leave_out(2, "no_answer")

    with pytest.raises(ConfigError, match="2 × no_answer: there is no answer"):
        intake.require_examples()


def test_the_report_of_a_file_is_json_with_the_places() -> None:
    intake = Intake("rows.jsonl", lines=3, examples=1)
    intake.warn(1, "long_answer", "long")
    intake.leave_out(2, "no_answer", "empty")

    assert {
        "file": "rows.jsonl",
        "lines": 3,
        "examples": 1,
        "kinds": {},
        "left_out": {"no_answer": 1},
        "warnings": {"long_answer": 1},
        "remarks": [
            {"line": 1, "code": "long_answer", "message": "long"},
            {"line": 2, "code": "no_answer", "message": "empty"},
        ],
    } == json.loads(json.dumps(intake.as_json()))


def test_only_the_first_remarks_are_kept_and_all_are_counted() -> None:
    intake = Intake("rows.jsonl")
    for number in range(1, 301):
        intake.warn(number, "long_answer", "long")

    assert (100, 300) == (len(intake.remarks), intake.warnings["long_answer"])


def test_an_error_about_the_whole_file_has_no_line() -> None:
    intake = Intake("rows.jsonl", lines=1)
    intake.error(0, BadLineError("half of it is wrong", "mend it"))

    with pytest.raises(ConfigError, match=r"1 error\n  - half of it is wrong; mend it"):
        intake.require_no_errors()
