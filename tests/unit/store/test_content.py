"""What a message's columns give back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tests.support.builders import assistant, exchange


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


@pytest.mark.parametrize(
    "raw",
    [
        {"role": "", "content": "x"},
        {"content": "x"},
        {"role": "user", "name": "", "content": None},
        {"role": "tool", "tool_call_id": "", "content": ""},
        {"role": "tool", "tool_name": "tarx_recall", "content": "x"},
        {"role": 7, "name": [], "tool_call_id": 12},
        {},
    ],
)
def test_an_odd_message_comes_back_as_it_was(raw: dict[str, Any], log: ToolLog) -> None:
    item = exchange([raw], assistant("Hi"))
    log.write([item])
    request = log.exchange(item.uid).request

    assert request is not None
    assert [raw] == [message.raw for message in request.messages]
