import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.export.files import create_private, jsonl_line, sha256_of, write_private

TEXT = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u0085\u2028\u2029\x0b\x0c\x1c\n\r")
)


@given(st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT)))
def test_a_value_is_one_line_for_every_reader_and_comes_back_the_same(value: dict[str, Any]) -> None:
    line = jsonl_line(value)

    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert value == json.loads(line.encode("utf-8"))


def test_ordinary_text_stays_readable() -> None:
    assert '{"a": "äß漢🐈"}\n' == jsonl_line({"a": "äß漢🐈"})


def test_not_a_number_is_refused_rather_than_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonl_line({"a": float("nan")})


def test_a_new_file_and_its_folder_are_private_and_end_lines_with_a_line_feed(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.txt"
    write_private(path, "x\ny\n")

    assert path.read_bytes() == b"x\ny\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    write_private(tmp_path / "a", "old")

    with pytest.raises(FileExistsError):
        create_private(tmp_path / "a")


def test_the_checksum_is_sha256(tmp_path: Path) -> None:
    write_private(tmp_path / "a", "abc")

    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
