import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.example import Example, Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.redact import MARK
from tarx_toollog.export.sources.steps import LogOptions
from tests.unit.cli.samples import Chat, call, good_chat
from tests.unit.export.sources.mining import (
    LEAKED,
    Found,
    corrected_examples,
    examples,
    on_call,
    on_exchange,
    said,
    written,
)

RECALL_DOG = {"name": "tarx_recall", "arguments": {"query": "dog"}}
RECALLED = ("tarx_recall", {"query": "dog"})


def found_in(folder: Path, chat: Chat, *labels: dict[str, Any], normaliser: Normaliser | None = None) -> list[Found]:
    with written(folder, chat, labels=labels) as log:
        made = corrected_examples(log.trajectories(), normaliser or Normaliser(), LogOptions(), lambda: None)
        return list(made)


def outcome(found: list[Found]) -> Any:
    (item,) = found
    return item.reason if isinstance(item, Refused) else said(item.messages[-1].value)


def asked() -> Chat:
    return Chat("asked").user("What is my dog called?")


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        pytest.param(RECALL_DOG, [RECALLED], id="a call"),
        pytest.param({"tool_calls": [RECALL_DOG, RECALL_DOG]}, [RECALLED, RECALLED], id="calls"),
        pytest.param({"content": "Rex."}, "Rex.", id="a text"),
        pytest.param({"content": "Let me see.", "tool_calls": [RECALL_DOG]}, ["Let me see.", RECALLED], id="both"),
        pytest.param({**RECALL_DOG, "content": "Let me see."}, ["Let me see.", RECALLED], id="a call and a text"),
        pytest.param({**RECALL_DOG, "arguments": '{"query": "dog"}'}, [RECALLED], id="arguments as the wire has them"),
    ],
)
def test_a_correction_of_an_answer_is_the_whole_answer(tmp_path: Path, correction: Any, expected: Any) -> None:
    chat = asked().answer("I do not know.")
    (example,) = examples(found_in(tmp_path, chat, on_exchange(chat, 0, correction=correction)))

    assert expected == said(example.messages[-1].value)
    assert ["system", "user", "assistant"] == [piece.value["role"] for piece in example.messages]
    assert (chat.exchanges[0].uid, "chat", 100, None) == (
        example.origin.exchange_uid,
        example.source,
        example.input_tokens,
        example.output_tokens,
    )


@pytest.mark.parametrize(
    "correction",
    [
        pytest.param("Rex.", id="bare text"),
        pytest.param({}, id="nothing"),
        pytest.param({"content": " "}, id="an empty text"),
        pytest.param({"content": None}, id="no text"),
        pytest.param({"content": ["Rex."]}, id="a list for a text"),
        pytest.param({"tool_calls": []}, id="no call, and no text"),
        pytest.param({"tool_calls": ["tarx_recall"]}, id="a name for a call"),
        pytest.param({"tool_calls": [{"arguments": {}}]}, id="a call without a name"),
        pytest.param({"comment": "No!"}, id="other keys"),
        pytest.param({"name": "tarx_fly", "arguments": {}}, id="a tool that was not offered"),
        pytest.param({"name": "tarx_recall", "arguments": {}}, id="arguments against the schema"),
        pytest.param({"name": "tarx_recall", "arguments": [1]}, id="arguments that are no object"),
    ],
)
def test_a_correction_that_the_model_could_not_have_answered_is_refused(tmp_path: Path, correction: Any) -> None:
    chat = asked().answer("I do not know.")

    assert "bad_correction" == outcome(found_in(tmp_path, chat, on_exchange(chat, 0, correction=correction)))


def test_a_correction_of_a_call_leaves_the_rest_of_the_answer_as_it_is(tmp_path: Path) -> None:
    remember = call("tarx_remember", '{"key": "a", "value": "b"}', "c2")
    chat = asked().answer("I see.", call("tarx_recall", '{"query": "cat"}', "c1"), remember)

    assert ["I see.", RECALLED, ("tarx_remember", {"key": "a", "value": "b"})] == outcome(
        found_in(tmp_path, chat, on_call(chat, 0, 0, correction=RECALL_DOG))
    )


def test_a_text_in_the_place_of_the_only_call_is_the_answer(tmp_path: Path) -> None:
    chat = asked().answer("I see.", call("tarx_recall", '{"query": "cat"}'))

    assert "Rex." == outcome(found_in(tmp_path, chat, on_call(chat, 0, correction={"content": "Rex."})))


def test_a_call_that_could_not_even_be_read_can_be_corrected(tmp_path: Path) -> None:
    chat = asked().answer(None, call("tarx_recall", '{"query": '))

    assert [RECALLED] == outcome(found_in(tmp_path, chat, on_call(chat, 0, correction=RECALL_DOG)))


def test_another_call_of_the_answer_that_is_wrong_too_spoils_the_correction(tmp_path: Path) -> None:
    chat = asked().answer(None, call("tarx_recall", "{}", "c1"), call("tarx_remember", "{", "c2"))

    assert "bad_correction" == outcome(found_in(tmp_path, chat, on_call(chat, 0, 0, correction=RECALL_DOG)))


def test_a_correction_of_a_call_that_leaked_into_the_text_is_the_whole_answer(tmp_path: Path) -> None:
    chat = asked().answer(LEAKED)

    assert [RECALLED] == outcome(found_in(tmp_path, chat, on_call(chat, 0, correction=RECALL_DOG)))


def test_of_several_corrections_the_latest_counts_and_that_of_the_answer_before_those_of_its_calls(
    tmp_path: Path,
) -> None:
    chat = asked().answer(None, call("tarx_recall", "{}"))
    labels = [
        on_exchange(chat, 0, correction={"content": "Max."}),
        on_exchange(chat, 0, correction={"content": "Rex."}),
        on_call(chat, 0, correction=RECALL_DOG),
        on_exchange(chat, 0, value_num=-1.0),
    ]

    assert "Rex." == outcome(found_in(tmp_path, chat, *labels))


def test_the_answer_to_a_request_that_failed_can_be_given_by_a_person(tmp_path: Path) -> None:
    chat = asked().answer("I do not", cut=True)

    assert "Rex." == outcome(found_in(tmp_path, chat, on_exchange(chat, 0, correction={"content": "Rex."})))


def test_steps_that_nobody_corrected_give_nothing(tmp_path: Path) -> None:
    chat = good_chat()

    assert [] == found_in(tmp_path, chat, on_exchange(chat, 0, value_num=-1.0))


def test_a_correction_is_cleaned_like_any_message_and_must_fit_its_schema_then(tmp_path: Path) -> None:
    chat = asked()
    chat.tools = json.loads(json.dumps(chat.tools))
    chat.tools[0]["function"]["parameters"]["properties"]["query"]["maxLength"] = 3
    chat.answer("I do not know.")
    mark = f"{MARK}NAME:1"
    normaliser = Normaliser(lambda message: json.loads(json.dumps(message).replace("Rex", mark)))
    found = {}
    for name, correction in (("text", {"content": "Rex."}), ("call", {**RECALL_DOG, "arguments": {"query": "Rex"}})):
        (tmp_path / name).mkdir()
        label = on_exchange(chat, 0, correction=correction)
        found[name] = outcome(found_in(tmp_path / name, chat, label, normaliser=normaliser))

    assert {"text": f"{mark}.", "call": "redaction_breaks_schema"} == found


def test_a_corrected_answer_is_kept_before_others_that_are_nearly_the_same(tmp_path: Path) -> None:
    chat = asked().answer("I do not know.")
    (item,) = found_in(tmp_path, chat, on_exchange(chat, 0, correction=RECALL_DOG))

    assert isinstance(item, Example)
    assert item.quality > 0
