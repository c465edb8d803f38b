"""What a streamed answer keeps beside text and calls, and its limits. For calls see the torture streams."""

import json
from typing import Any

from tarx_toollog.model import Response
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_stream import ChatStream
from tarx_toollog.wire.sse import DEFAULT_MAX_EVENT_SIZE


def response_of(*events: dict[str, Any] | bytes, context: DecodeContext | None = None) -> Response:
    stream = ChatStream(context or DecodeContext())
    for number, event in enumerate(events):
        stream.receive_data(event if isinstance(event, bytes) else f"data: {json.dumps(event)}\n\n".encode(), number)
    return stream.close()


def choice(delta: Any, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, **fields}


def test_the_head_of_the_answer_is_taken_from_the_first_chunk_that_has_it() -> None:
    response = response_of(
        {"id": "", "model": None, "choices": []},
        {"id": "chatcmpl-1", "model": "m", "created": 1, "system_fingerprint": "b0", "choices": []},
        {"id": "chatcmpl-2", "model": "n", "created": 2, "timings": {"prompt_ms": 1.5, "predicted_ms": 2.5}},
    )

    assert (
        response.response_id,
        response.model,
        response.prompt_ms,
        response.predicted_ms,
    ) == ("chatcmpl-1", "m", 1.5, 2.5)
    assert response.extra == {
        "created": 2,
        "system_fingerprint": "b0",
        "timings": {"prompt_ms": 1.5, "predicted_ms": 2.5},
    }


def test_simple_fields_of_a_choice_are_kept_and_others_noted() -> None:
    context = DecodeContext()

    response = response_of(
        {"choices": [choice({}, matched_stop=1, logprobs={"content": [1]}, stop_reason=None)]},
        {"choices": [choice({}, 1, matched_stop="x", token_ids=[])]},
        {"choices": [choice({"annotations": [{"url": "x"}], "audio": {}, "signature": "a"})]},
        {"choices": [choice({"signature": "b"})]},
        context=context,
    )

    assert response.extra == {"choice_fields": {"0": {"matched_stop": 1}, "1": {"matched_stop": "x"}}}
    assert response.choices[0].message.raw == {"role": "assistant", "content": None, "signature": "b"}
    assert context.notes == ["not_kept:logprobs", "not_kept:annotations"]


def test_choices_without_index_are_numbered_by_their_position() -> None:
    response = response_of({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]})

    assert [(each.index, each.message.text) for each in response.choices] == [(0, "a"), (1, "b")]


def test_the_first_error_is_the_cause() -> None:
    response = response_of({"error": {"message": "first"}}, {"error": {"message": "second"}})

    assert (response.error, response.error_in_stream, response.terminated) == ({"message": "first"}, True, False)


def test_a_stream_cannot_open_choices_without_end() -> None:
    context = DecodeContext()

    response = response_of(*({"choices": [choice({"content": "x"}, index)]} for index in range(300)), context=context)

    assert len(response.choices) == 128
    assert context.notes == ["too_many_choices"]


def test_an_event_above_the_limit_is_noted_and_the_next_one_is_read() -> None:
    context = DecodeContext()
    big = b'data: {"choices": [{"delta": {"content": "' + b"x" * DEFAULT_MAX_EVENT_SIZE + b'"}}]}\n\n'

    response = response_of(big, {"choices": [choice({"content": "Hey"})]}, context=context)

    assert [each.message.text for each in response.choices] == ["Hey"]
    assert [note.partition(":")[0] for note in context.notes] == ["event_cut", "event_unreadable"]


def test_a_stream_without_any_choice_has_not_ended() -> None:
    assert not response_of({"choices": []}).terminated
    assert response_of(b"data: [DONE]\n\n").terminated
