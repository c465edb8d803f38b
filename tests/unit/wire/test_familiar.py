"""What a history repeats is read once."""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.model import Message
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.wire import familiar as module
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.familiar import familiar, forget
from tarx_toollog.wire.openai_chat import message_from_raw
from tests.support.builders import TOOLS, assistant, raw_exchange, user


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    forget()
    yield
    forget()


def read(raw: Mapping[str, Any]) -> Message:
    return message_from_raw(raw)


def test_the_same_text_is_the_same_object() -> None:
    assert familiar(read, {"role": "user", "content": "x"}) is familiar(read, {"role": "user", "content": "x"})


@pytest.mark.parametrize(
    "other",
    [
        {"content": "x", "role": "user", "n": 1},
        {"role": "user", "content": "x", "n": 1.0},
        {"role": "user", "content": "x", "n": True},
        {"role": "user", "content": "x", "n": "1"},
    ],
    ids=["key order", "float", "true", "text"],
)
def test_what_differs_only_a_little_is_another_one(other: dict[str, Any]) -> None:
    first = familiar(read, {"role": "user", "content": "x", "n": 1})
    second = familiar(read, other)

    assert first is not second
    assert list(second.raw.items()) == list(other.items())
    assert type(second.raw["n"]) is type(other["n"])


def test_another_reader_reads_by_itself() -> None:
    raw = {"role": "user", "content": "x"}

    assert familiar(read, raw) is not familiar(message_from_raw, raw)


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARS", 2_000)
    first = familiar(read, {"role": "user", "content": "first"})
    for number in range(100):
        familiar(read, {"role": "user", "content": f"{number:0100}"})

    assert sum(len(text) for _, text in module._known) == module._held <= 2_000
    assert familiar(read, {"role": "user", "content": "first"}) is not first


def test_a_long_entry_and_one_that_is_nested_too_deep_are_read_all_the_same() -> None:
    long = {"role": "user", "content": "x" * module.MAX_ENTRY}
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]

    assert familiar(read, long) == familiar(read, long)
    assert familiar(lambda raw: len(raw), {"content": deep}) == 1
    assert module._held == 0


def test_messages_and_tools_that_a_client_sends_again_are_not_read_again() -> None:
    first = decode(raw_exchange([user("Hello")], assistant("Hi"), tools=TOOLS)).request
    second = decode(raw_exchange([user("Hello"), assistant("Hi"), user("Go on")], assistant("Ok"), tools=TOOLS)).request

    assert first is not None
    assert second is not None
    assert second.messages[0] is first.messages[0]
    assert all(new is old for new, old in zip(second.tools, first.tools, strict=True))


def test_a_secret_in_a_message_that_is_known_is_taken_out_and_noted_each_time(tmp_path: Path) -> None:
    redactor = Redactor(Policy.load("secrets"), key=bytes(32))
    item = decode(raw_exchange([user("password=hunter2hunter2")], assistant("Hi")))
    again = decode(raw_exchange([user("x"), user("password=hunter2hunter2")], assistant("Hi")))

    _, marks = redactor.exchange(item)
    clean, marks_again = redactor.exchange(again)
    with redactor.remembering() as values:
        redactor.exchange(again)

    assert "hunter2" not in str(clean)
    assert [mark.path for mark in marks] == ["messages[0].content"]
    assert [mark.path for mark in marks_again] == ["messages[1].content"]
    assert values == {"hunter2hunter2"}


def test_what_is_kept_with_a_message_is_no_part_of_it() -> None:
    message = message_from_raw({"role": "user", "content": "x"})
    message.memo["itself"] = message

    assert message == message_from_raw({"role": "user", "content": "x"})
    assert "memo" not in repr(message)
    assert "memo" not in asdict(message)
    assert replace(message, name="y").memo == {}
    assert pickle.loads(pickle.dumps(message)) == message
