"""A lone object where a list is due: in the history of a request, and on its way to the other readers.

What an answer makes of it is data: the torture cases whose names begin with ``one_``.
"""

from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.wire.chat_form import NotChatError, chat_messages
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.protocols import protocol_named
from tests.support.protocol_checks import check_body_rebuilt, check_exchange
from tests.support.torture import cases

CHAT, MESSAGES, OLLAMA, RESPONSES = "openai_chat", "anthropic_messages", "ollama_chat", "openai_responses"
ARGUMENTS = '{"query":"city"}'
CALL = {"id": "a", "type": "function", "function": {"name": "tarx_recall", "arguments": ARGUMENTS}}
BLOCK = {"type": "tool_use", "id": "a", "name": "tarx_recall", "input": {"query": "city"}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
HISTORIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat completions": (CHAT, {"role": "assistant", "content": None, "tool_calls": CALL}, "tool_calls_object"),
    "Ollama": (OLLAMA, {"role": "assistant", "content": "", "tool_calls": CALL}, "tool_calls_object"),
    "Anthropic Messages": (MESSAGES, {"role": "assistant", "content": BLOCK}, "content_object"),
}


@pytest.mark.parametrize(("protocol", "raw", "quirk"), HISTORIES.values(), ids=list(HISTORIES))
def test_the_one_call_of_a_history_is_read_with_a_quirk_and_the_request_is_made_again(
    protocol: str, raw: dict[str, Any], quirk: str
) -> None:
    message = protocol_named(protocol).read_message(raw)

    (call,) = message.tool_calls
    assert ("tarx_recall", ARGUMENTS, "a") == (call.name, call.arguments, call.call_id)
    assert quirk in call.quirks
    assert "" == message.text
    check_body_rebuilt(protocol_named(protocol), {"model": "m", "max_tokens": 1, "messages": [raw]})


@pytest.mark.parametrize("key", [key for key in cases() if key.partition("/")[2].startswith("one_")])
def test_an_answer_with_a_lone_object_is_read_the_same_in_pieces_and_again_from_the_store(
    key: str, tmp_path: Path
) -> None:
    case = cases()[key]

    check_exchange(protocol_named(case.protocol), case.raw, tmp_path)


def test_a_system_prompt_that_is_one_block_is_the_first_message_and_the_request_is_made_again() -> None:
    body = {"model": "m", "max_tokens": 1, "system": {"type": "text", "text": "Be brief."}, "messages": []}
    wire = protocol_named(MESSAGES)

    request = wire.decode_request(body, DecodeContext())

    assert [("system", "Be brief.")] == [(message.role, message.text) for message in request.messages]
    check_body_rebuilt(wire, body)


def test_a_result_that_is_one_block_is_a_result() -> None:
    raw = {"role": "user", "content": {"type": "tool_result", "tool_use_id": "a", "content": "Lisbon"}}

    (result,) = protocol_named(MESSAGES).read_message(raw).tool_results

    assert ("a", "Lisbon") == (result.call_id, result.text)


def test_an_image_in_place_of_the_list_is_no_text_chat() -> None:
    with pytest.raises(NotChatError, match="image"):
        chat_messages(MESSAGES, [{"role": "user", "content": IMAGE}])


def test_a_result_that_is_an_object_of_any_type_is_text_chat() -> None:
    raw = {"role": "tool", "tool_name": "f", "content": {"type": "city", "name": "Lisbon"}}

    (said,) = chat_messages(OLLAMA, [raw])

    assert '{"type":"city","name":"Lisbon"}' == said["content"]


def test_the_one_call_of_an_answer_is_said_as_text_chat() -> None:
    (said,) = chat_messages(MESSAGES, [{"role": "assistant", "content": BLOCK}])

    assert [CALL] == said["tool_calls"]


def test_reasoning_in_place_of_the_list_of_its_parts_is_read() -> None:
    raw = {"type": "reasoning", "id": "rs_1", "summary": {"type": "summary_text", "text": "Hm"}}

    assert "Hm" == protocol_named(RESPONSES).read_message(raw).reasoning
