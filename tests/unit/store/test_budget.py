"""The context budget: parts that add up, calibration, and what counts as truncated or poisoned."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.model import Exchange, Message, Request, Usage
from tarx_toollog.store.budget import (
    BYTES_PER_TOKEN,
    MESSAGE_BYTES,
    TOOLS_BYTES,
    Budget,
    Calibration,
    Size,
    budget,
    measure,
    poisoned,
)
from tarx_toollog.wire.decode import decode
from tests.support.builders import TOOLS, assistant, call, exchange, result, system, user
from tests.support.captures import chat_captures, load_raw

PLAIN = Size(tools=0, system=0, history=0, new=3300, growth=3300, has_images=False, has_hidden_history=False)
GROWN = replace(PLAIN, history=30_000, growth=3300)


def request_of(messages: list[dict[str, Any]], **options: Any) -> Request:
    request = exchange(messages, assistant("yes"), **options).request
    assert request is not None
    return request


def counted(input_tokens: int | None, output_tokens: int = 10, **options: Any) -> Exchange:
    """Return an exchange whose server counted so many tokens; None: it counted nothing."""
    item = exchange([user("hi")], assistant("yes"), **options)
    assert item.response is not None
    usage = None if input_tokens is None else Usage(input_tokens, output_tokens)
    return replace(item, response=replace(item.response, usage=usage))


def calibrated(bytes_per_token: float = BYTES_PER_TOKEN) -> Calibration:
    made = Calibration()
    for _ in range(5):
        made.learn(replace(PLAIN, new=100_000), round(100_000 / bytes_per_token))
    return made


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_the_parts_are_tools_system_history_and_new_messages() -> None:
    messages = [
        system("Be brief."),
        user("where?"),
        assistant(None, call("tarx_recall", "{}", "c1")),
        result("c1", "x"),
    ]
    size = measure(request_of(messages, tools=TOOLS), first_new=2)

    assert (
        Size(
            tools=sum(len(json.dumps(tool, separators=(",", ":"))) for tool in TOOLS) + TOOLS_BYTES,
            system=len("Be brief.") + MESSAGE_BYTES,
            history=len("where?") + len("tarx_recall{}") + 2 * MESSAGE_BYTES,
            new=len("x") + MESSAGE_BYTES,
            growth=len("tarx_recall{}") + len("x") + 2 * MESSAGE_BYTES,
            has_images=False,
            has_hidden_history=False,
        )
        == size
    )


def test_text_is_measured_in_bytes_because_a_token_holds_as_many_of_them_in_any_script() -> None:
    assert MESSAGE_BYTES + 6 == measure(request_of([user("猫だ")]), 0).new
    assert MESSAGE_BYTES + 3 == measure(request_of([user("\ud800")]), 0).new


def test_a_result_is_measured_once_wherever_the_protocol_puts_it() -> None:
    in_tool_message = measure(request_of([user("hi"), result("c1", "x" * 50)]), 0)
    assert 2 * MESSAGE_BYTES + 2 + 50 == in_tool_message.new


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi"}, False),
        ({"role": "user", "content": [{"type": "text", "text": "hi"}, "hi"]}, False),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:…"}}]}, True),
        ({"role": "user", "content": "hi", "images": ["aGk="]}, True),
        ({"role": "user", "content": [{"type": ["text"], "text": "hi"}]}, True),
        ({"role": "user", "content": [{"type": {"text": 1}, "text": "hi"}]}, True),
    ],
)
def test_a_prompt_with_images_is_known_as_one(message: dict[str, Any], expected: bool) -> None:
    assert expected == measure(request_of([message]), 0).has_images


SIZES = st.builds(
    Size,
    *[st.integers(0, 10**7)] * 5,
    has_images=st.booleans(),
    has_hidden_history=st.booleans(),
)


@given(SIZES, st.none() | st.integers(0, 2**31), st.lists(st.tuples(SIZES, st.integers(0, 10**6)), max_size=4))
def test_the_parts_add_up_to_the_total_and_none_is_below_zero(
    size: Size, tokens: int | None, seen: list[tuple[Size, int]]
) -> None:
    calibration = Calibration()
    for earlier, count in seen:
        calibration.learn(earlier, count)
    found = budget(counted(tokens), size, calibration, limit=8192)
    parts = (found.tool_tokens, found.system_tokens, found.history_tokens, found.new_tokens)

    assert found.input_tokens == sum(parts)
    assert min(parts) >= 0
    assert tokens in (None, 0, found.input_tokens)


def test_a_count_of_the_server_is_exact_and_everything_else_is_estimated() -> None:
    exact = budget(counted(1234), PLAIN, Calibration())
    estimated = budget(counted(None), PLAIN, Calibration())

    assert ("exact", 1234) == (exact.source, exact.input_tokens)
    assert ("estimated", 1000) == (estimated.source, estimated.input_tokens)


def test_what_only_the_server_has_is_counted_as_history() -> None:
    size = Size(tools=330, system=0, history=0, new=660, growth=660, has_images=False, has_hidden_history=True)
    found = budget(counted(5000), size, Calibration())

    assert (100, 0, 4700, 200) == (found.tool_tokens, found.system_tokens, found.history_tokens, found.new_tokens)


# ---- calibration ----------------------------------------------------------------------------------------------------


def test_an_estimate_follows_what_the_server_counted_before() -> None:
    calibration = Calibration()
    assert 1000 == round(calibration.tokens(3300))
    for _ in range(3):
        assert not calibration.is_sound
        calibration.learn(replace(PLAIN, new=50_000), 25_000)
    assert calibration.is_sound

    assert 1640 < calibration.tokens(3300) < 1650


def test_a_first_exchange_of_a_few_words_does_not_decide_alone() -> None:
    calibration = Calibration()
    calibration.learn(replace(PLAIN, new=32), 31)

    assert 1000 < calibration.tokens(3300) < 1050


def test_nothing_is_learned_from_prompts_that_cannot_be_measured() -> None:
    calibration = Calibration()
    calibration.learn(replace(PLAIN, has_images=True), 90_000)
    calibration.learn(replace(PLAIN, has_hidden_history=True), 90_000)

    assert Calibration() == calibration


# The captures hold every exchange that the same question made, streamed or not, so an error counts twice at most.
RENDERED = [name for name in chat_captures() if name.startswith(("chat_tool", "chain_", "par_", "toy_chain", "think_"))]


@pytest.mark.parametrize("name", RENDERED)
def test_the_default_ratio_is_close_to_what_real_models_count(name: str) -> None:
    item = decode(load_raw(name))
    if item.request is None or item.response is None or item.response.usage is None:
        return
    estimate = Calibration().tokens(measure(item.request, 0).total)

    assert 0.6 < estimate / (item.response.usage.input_tokens or 1) < 1.4


# ---- truncation -----------------------------------------------------------------------------------------------------


def verdict(item: Exchange, size: Size = PLAIN, calibration: Calibration | None = None, **options: Any) -> str:
    return budget(item, size, calibration or Calibration(), **options).truncation


def test_a_prompt_that_is_refused_as_too_long_is_reported_with_the_servers_own_counts() -> None:
    item = decode(load_raw("err_context_overflow"))
    assert item.request is not None
    found = budget(item, measure(item.request, 0), Calibration(), limit=99)

    assert ("reported", "exact", 32768) == (found.truncation, found.source, found.limit)
    assert found.input_tokens == (item.response.error or {})["n_prompt_tokens"] if item.response else None


def test_an_answer_that_stopped_at_the_end_of_the_context_is_reported() -> None:
    full = counted(18, 238, finish_reason="length")

    assert "reported" == verdict(full, limit=256)
    assert "none" == verdict(full, limit=257)  # max_tokens
    assert "none" == verdict(full)
    assert "none" == verdict(counted(18, 238, finish_reason="stop"), limit=256)


def test_a_server_that_says_truncated_is_believed() -> None:
    item = counted(100)
    assert item.response is not None
    assert "reported" == verdict(replace(item, response=replace(item.response, extra={"truncated": True})))
    assert "none" == verdict(replace(item, response=replace(item.response, extra={"truncated": False})))


def test_a_count_far_below_an_estimate_that_reaches_the_limit_is_suspected() -> None:
    long = replace(PLAIN, new=33_000)  # 10,000 tokens

    assert "suspected" == verdict(counted(6000), long, calibrated(), limit=8192)
    # The estimate may be off by that much.
    assert "none" == verdict(counted(7900), long, calibrated(), limit=8192)
    # It fits.
    assert "none" == verdict(counted(6000), long, calibrated(), limit=16_384)
    # Nothing falls out of a context that is half empty.
    assert "none" == verdict(counted(3000), long, calibrated(), limit=8192)
    # Nothing is known about this model's tokens, or about its context.
    assert "none" == verdict(counted(6000), long, Calibration(), limit=8192)
    assert "none" == verdict(counted(6000), long, calibrated())
    # Nobody counted.
    assert "none" == verdict(counted(None), long, calibrated(), limit=8192)


def test_a_history_that_grew_while_the_count_did_not_is_suspected() -> None:
    # 1,000 tokens came since the parent.
    assert "suspected" == verdict(counted(3900), GROWN, parent_input_tokens=4000)
    assert "suspected" == verdict(counted(4090), GROWN, parent_input_tokens=4000, limit=4096)
    assert "none" == verdict(counted(4300), GROWN, parent_input_tokens=4000)
    assert "none" == verdict(counted(5000), GROWN, parent_input_tokens=4000)
    # Little came: a template that drops old reasoning makes up for that.
    assert "none" == verdict(counted(3900), replace(GROWN, growth=500), parent_input_tokens=4000)
    assert "none" == verdict(counted(3900), GROWN, parent_input_tokens=4000, limit=32_768)
    assert "none" == verdict(counted(3900), GROWN)
    assert "none" == verdict(counted(3900), replace(GROWN, has_images=True), parent_input_tokens=4000)
    assert "none" == verdict(counted(3900), replace(GROWN, has_hidden_history=True), parent_input_tokens=4000)


def test_of_all_real_exchanges_those_that_met_their_limit_are_reported_and_none_is_suspected() -> None:
    found = {}
    for name in chat_captures():
        item = decode(load_raw(name))
        if item.request is not None:
            found[name] = verdict(item, measure(item.request, 0), calibrated(), limit=32768)

    reported = {"err_context_overflow", "err_context_overflow_stream", "gen_hits_context_stream"}
    assert reported == {name for name, truncation in found.items() if truncation != "none"}
    assert {"reported"} == {found[name] for name in reported}


# ---- poisoned history -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("{}", False), ("", False), ('{"a": 1}', False), ('{"a": ', True), ("[1]", True), ("null", True), ("text", True)],
)
def test_a_malformed_call_that_is_sent_again_poisons_the_history(arguments: str, expected: bool) -> None:
    messages = [user("hi"), assistant(None, call("tarx_recall", arguments, "c1")), result("c1", "x")]

    assert expected == poisoned(request_of(messages))


def test_the_free_text_of_a_custom_tool_is_no_poison() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}

    assert not poisoned(request_of([user("hi"), {"role": "assistant", "content": None, "tool_calls": [custom]}]))


def test_a_malformed_call_in_the_answer_is_not_yet_in_the_history() -> None:
    item = exchange([user("hi")], assistant(None, call("tarx_recall", "{", "c1")))
    assert item.request is not None
    assert not poisoned(item.request)


def test_a_budget_says_what_it_is_made_of() -> None:
    assert Budget(100, 0, 0, 900, 1000, "exact", 8192, "none") == budget(
        counted(1000), replace(PLAIN, tools=330, new=2970), Calibration(), limit=8192
    )


def test_a_history_of_blocks_is_measured_like_one_of_messages() -> None:
    message = Message("user", {"role": "user", "content": [{"type": "text", "text": "hello"}]}, text="hello")
    request = Request("m", (message,), (), {}, tools_key=None)

    assert MESSAGE_BYTES + 5 == measure(request, 0).new
