"""Numbers of a stranger's that a database column cannot hold: dropped with a note, in every protocol.

The forms of each protocol are data: the torture cases whose names end with ``_that_are_none``.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import MAX_COUNT, MAX_MS, DecodeContext, count_of, duration_of
from tarx_toollog.wire.model_facts import ADAPTERS, MODELS, facts_from
from tarx_toollog.wire.protocols import protocol_named
from tests.support.hostile import CHAT, MESSAGES, OLLAMA, RESPONSES, whole
from tests.support.protocol_checks import check_exchange
from tests.support.torture import cases

NO_COUNTS: list[Any] = [-1, 2**31, 10**400, 1.5, 1e300, float("inf"), float("nan"), True, "7", [7], {}]
NO_DURATIONS: list[Any] = [-0.5, 2**53 + 1, 10**400, 1e300, float("inf"), float("-inf"), float("nan"), True, "7", [7]]


@pytest.mark.parametrize("value", NO_COUNTS, ids=lambda value: repr(value)[:10])
def test_what_is_no_count_is_dropped_and_noted(value: Any) -> None:
    context = DecodeContext()

    assert count_of(value, "input_tokens", context) is None
    assert ["count_invalid:input_tokens"] == context.notes


@pytest.mark.parametrize("value", NO_DURATIONS, ids=lambda value: repr(value)[:10])
def test_what_is_no_duration_is_dropped_and_noted(value: Any) -> None:
    context = DecodeContext()

    assert duration_of(value, "prompt_ms", context) is None
    assert ["duration_invalid:prompt_ms"] == context.notes


def test_counts_and_durations_are_read_up_to_the_limit_and_what_is_not_there_is_no_fault() -> None:
    context = DecodeContext()

    assert [0, 7, MAX_COUNT, None] == [count_of(value, "n", context) for value in (0, 7.0, MAX_COUNT, None)]
    assert [0.0, 1.5, float(MAX_MS), None] == [duration_of(value, "t", context) for value in (0, 1.5, MAX_MS, None)]
    assert [] == context.notes


ANSWERS: dict[str, dict[str, Any]] = {
    CHAT: {"choices": [{"message": {"content": "Hey"}}], "usage": {"prompt_tokens": 2**31, "completion_tokens": 3}},
    RESPONSES: {"status": "completed", "output": [], "usage": {"input_tokens": 2**31, "output_tokens": 3}},
    MESSAGES: {"content": "Hey", "usage": {"input_tokens": 2**31, "output_tokens": 3}},
    OLLAMA: {"message": {"content": "Hey"}, "done": True, "prompt_eval_count": 2**31, "eval_count": 3},
}


@pytest.mark.parametrize("protocol", ANSWERS)
def test_of_the_counts_of_an_answer_only_the_bad_one_is_dropped(protocol: str) -> None:
    exchange = decode(whole(json.dumps(ANSWERS[protocol]).encode(), protocol))

    assert exchange.response is not None
    usage = exchange.response.usage
    assert usage is not None
    assert (None, 3) == (usage.input_tokens, usage.output_tokens)
    assert ["count_invalid"] == [note.partition(":")[0] for note in exchange.notes]


@pytest.mark.parametrize("key", [key for key in cases() if key.endswith("_that_are_none")])
def test_an_answer_with_numbers_that_no_column_holds_can_be_stored(key: str, tmp_path: Path) -> None:
    case = cases()[key]

    check_exchange(protocol_named(case.protocol), case.raw, tmp_path)


def test_two_choices_at_the_largest_index_stay_within_a_column() -> None:
    choices = [{"index": MAX_COUNT, "message": {"content": text}} for text in ("a", "b")]
    exchange = decode(whole(json.dumps({"choices": choices}).encode()))

    assert exchange.response is not None
    assert [(MAX_COUNT, "a"), (0, "b")] == [(each.index, each.message.text) for each in exchange.response.choices]
    assert ("choice_index_repeated",) == exchange.notes


def test_an_adapter_whose_scale_is_no_float_is_passed_over() -> None:
    answers = {MODELS: {"data": [{"id": "m"}]}, ADAPTERS: [{"path": "a.gguf", "scale": 10**400}]}

    facts = facts_from(answers, "m")

    assert facts is not None
    assert () == facts.lora


def test_weights_and_bytes_may_be_more_than_tokens() -> None:
    meta = {"n_params": 70_000_000_000, "size": 40_000_000_000, "n_ctx_train": 2**31}

    facts = facts_from({MODELS: {"data": [{"id": "m", "meta": meta}]}}, "m")

    assert facts is not None
    assert (70_000_000_000, 40_000_000_000, None) == (facts.n_params, facts.size, facts.n_ctx_train)
