"""Each limit of the decoder, exceeded: what is kept, and that a remark says so."""

import gzip
import json
from typing import Any

import pytest

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, parse_arguments, parse_json
from tarx_toollog.model import Outcome
from tarx_toollog.wire.calls import MAX_CALLS, CallAssembler, Fragment
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.drafts import MAX_NAME
from tarx_toollog.wire.fields import DecodeContext
from tests.support.captures import split_at
from tests.support.hostile import CHAT, CHUNK, MESSAGES, OLLAMA, RESPONSES, answer, call, delta, event, fragment, whole
from tests.support.limits import BRACKETS, DONE, LIMITS, Limit, many
from tests.support.torture import calls_of, messages_of


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_what_exceeds_a_limit_leaves_a_remark(limit: Limit) -> None:
    remarks = limit.remarks()

    assert [remark for remark in remarks if remark.startswith(limit.code)] != []
    assert [] == [remark for remark in remarks if remark.startswith("decode_error")]


@pytest.mark.parametrize("protocol", [CHAT, RESPONSES, MESSAGES])
def test_events_after_one_that_is_too_deep_are_read(protocol: str) -> None:
    texts = {
        CHAT: delta({"content": "Hey"}, finish_reason="stop"),
        RESPONSES: event({"type": "response.output_text.delta", "delta": "Hey"}, RESPONSES),
        MESSAGES: event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hey"}}, MESSAGES),
    }
    exchange = decode(answer(b"data: " + b"[" * BRACKETS + b"\n\n" + texts[protocol], protocol))

    assert ["Hey"] == [message.text for message in messages_of(exchange)]
    assert "event_unreadable:nested too deep" in exchange.notes


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_nesting_is_read_up_to_the_limit_and_no_further_whatever_the_interpreter_could_do() -> None:
    assert 200 == len(json.dumps(parse_json(nested(100), max_depth=100)))
    with pytest.raises(InvalidJsonError, match="nested too deep"):
        parse_json(nested(101), max_depth=100)
    with pytest.raises(InvalidJsonError, match="nested too deep"):
        parse_json(nested(BRACKETS))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    flat: list[Any] = [{"a": [{}]}] * 1000

    assert flat == parse_json(json.dumps(flat), max_depth=4)
    with pytest.raises(InvalidJsonError):
        parse_json(json.dumps(flat), max_depth=3)


def test_brackets_inside_strings_do_not_count() -> None:
    text = json.dumps(["[" * 1000])

    assert ["[" * 1000] == parse_json(text, max_depth=1)


def test_arguments_that_are_too_deep_are_kept_as_text_and_not_read() -> None:
    text = f'{{"a": {nested(MAX_DEPTH)}}}'

    assert (None, "invalid") == parse_arguments(text)
    assert "ok" == parse_arguments(f'{{"a": {nested(MAX_DEPTH - 1)}}}').state
    (made,) = calls_of(decode(answer(fragment(index=0, function={"name": "f", "arguments": text}))))
    assert text == made.arguments


def test_a_call_too_many_does_not_grow_the_one_before_it() -> None:
    assembler = CallAssembler()
    for number in range(MAX_CALLS + 10):
        head, tail = {"name": f"f{number}", "arguments": ""}, {"arguments": f'{{"n": {number}}}'}
        for entry in ({"index": 0, "id": f"i{number}", "function": head}, {"index": 0, "function": tail}):
            read = Fragment.read(entry)
            assert read is not None
            assembler.add(read)

    assert [f'{{"n": {number}}}' for number in range(MAX_CALLS)] == [draft.arguments for draft in assembler.drafts]
    assert ["too_many_calls"] == [q for draft in assembler.drafts for q in draft.quirks if q != "same_index"]


@pytest.mark.parametrize("times", [MAX_CALLS, MAX_CALLS + 1])
def test_exactly_as_many_calls_as_allowed_are_no_reason_for_a_remark(times: int) -> None:
    for raw in (
        answer(many(lambda n: fragment(**call(n)), times)),
        whole(json.dumps({"choices": [{"message": {"tool_calls": [call(n) for n in range(times)]}}]}).encode()),
    ):
        exchange = decode(raw)

        assert MAX_CALLS == len(calls_of(exchange))
        assert (("too_many_calls",) if times > MAX_CALLS else ()) == exchange.notes
        assert (times > MAX_CALLS) == ("too_many_calls" in calls_of(exchange)[-1].quirks)


def test_a_history_with_too_many_calls_is_read_and_made_again() -> None:
    messages = [{"role": "assistant", "tool_calls": [call(n) for n in range(MAX_CALLS + 5)]}]
    request = decode(answer(DONE, request=json.dumps({"messages": messages}).encode())).request

    assert request is not None
    assert MAX_CALLS == len(request.messages[0].tool_calls)
    assert messages[0] == request.messages[0].raw


def test_two_choices_under_one_index_are_two_choices() -> None:
    choices = [{"index": 0, "message": {"content": "a"}}, {"index": 0, "message": {"content": "b"}}]
    exchange = decode(whole(json.dumps({"choices": [*choices, {"message": {"content": "c"}}]}).encode()))

    assert exchange.response is not None
    assert [(0, "a"), (1, "b"), (2, "c")] == [(each.index, each.message.text) for each in exchange.response.choices]
    assert ("choice_index_repeated",) == exchange.notes


@pytest.mark.parametrize("pieces", [1, 2, 300])
def test_a_name_is_cut_at_the_limit_however_it_came(pieces: int) -> None:
    size = MAX_NAME // pieces + 1
    names = [f"{number:03}".ljust(size, "x") for number in range(pieces)]
    (made,) = calls_of(decode(answer(b"".join(fragment(index=0, function={"name": name}) for name in names))))

    assert "".join(names)[:MAX_NAME] == made.name
    assert "name_cut" in made.quirks


def test_of_many_details_the_first_are_kept_and_other_codes_are_not_lost() -> None:
    context = DecodeContext()
    for number in range(100):
        context.note("not_kept", f"k{number}")
        context.note("not_kept", "k0")
    context.note("event_cut")
    context.note("event_unreadable", "x")

    assert [*(f"not_kept:k{n}" for n in range(8)), "notes_dropped:not_kept", "event_cut", "event_unreadable:x"] == (
        context.notes
    )


def test_a_comment_or_a_name_of_an_event_beyond_the_limit_costs_nothing() -> None:
    long = b"x" * (17 * 2**20)
    text = delta({"content": "Hey"}, finish_reason="stop")

    commented = decode(answer(b":" + long + b"\n\n" + text))
    named = decode(answer(b"event: " + long + b"\n" + text))

    assert ["Hey", "Hey"] == [messages_of(exchange)[0].text for exchange in (commented, named)]
    assert ((), ("event_cut",)) == (commented.notes, named.notes)
    assert [Outcome.COMPLETED] * 2 == [commented.outcome, named.outcome]


def test_padding_between_gzip_members_ends_the_body_however_it_is_cut() -> None:
    text = delta({"content": "Hey"}, finish_reason="stop")
    raw = answer(gzip.compress(text) + b"\0" + gzip.compress(text), encoding="gzip")

    assert ["Hey"] == [message.text for message in messages_of(decode(raw))]
    assert decode(split_at(raw, [])) == decode(split_at(raw, range(len(raw.response_body))))


def test_members_of_gzip_without_any_content_are_read_through() -> None:
    text = delta({"content": "Hey"}, finish_reason="stop")
    body = gzip.compress(b"") * 10_000 + gzip.compress(text)

    for chunk in (CHUNK, len(body)):
        exchange = decode(answer(body, encoding="gzip", chunk=chunk))
        assert (["Hey"], ()) == ([message.text for message in messages_of(exchange)], exchange.notes)


def test_calls_of_ollama_are_capped_in_order() -> None:
    line = event({"message": {"role": "assistant", "tool_calls": [call(n) for n in range(2000)]}, "done": True}, OLLAMA)

    assert [f"call_{n}" for n in range(MAX_CALLS)] == [made.call_id for made in calls_of(decode(answer(line, OLLAMA)))]
