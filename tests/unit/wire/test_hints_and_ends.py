"""What ``decode`` makes of conversation ids in the body, and of exchanges whose end nobody saw."""

from typing import Any

import pytest

from tarx_toollog.model import Outcome
from tarx_toollog.wire.decode import decode
from tests.support.builders import assistant, raw_exchange, user


@pytest.mark.parametrize(
    ("params", "begin", "expected"),
    [
        ({"metadata": {"conversation_id": "c-1"}}, {}, ("c-1", "body")),
        ({"metadata": {"session_id": "s-1"}}, {}, ("s-1", "body")),
        ({"metadata": {"conversation_id": "c-1", "session_id": "s-1"}}, {}, ("c-1", "body")),
        (
            {"metadata": {"conversation_id": "c-1"}},
            {"conversation_hint": "h-1", "hint_source": "header"},
            ("h-1", "header"),
        ),
        ({"metadata": {"conversation_id": 5}}, {}, (None, None)),
        ({"metadata": "c-1"}, {}, (None, None)),
        # An end user has many conversations: ``user`` is no conversation id.
        ({"user": "u-1", "prompt_cache_key": "k"}, {}, (None, None)),
    ],
)
def test_a_conversation_id_in_the_body_is_a_hint(
    params: dict[str, Any], begin: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    exchange = decode(raw_exchange([user("Hi")], assistant("Hello"), params=params, **begin))

    assert expected == (exchange.conversation_hint, exchange.hint_source)


def test_an_answer_that_was_whole_counts_although_its_end_was_not_seen() -> None:
    raw = raw_exchange([user("Hi")], assistant("Hello"))
    exchange = decode(type(raw)(raw.begin, raw.request_body, raw.response, raw.chunks, end=None))

    assert (Outcome.COMPLETED, ("end_unseen",)) == (exchange.outcome, exchange.notes)


def test_an_answer_that_was_not_whole_is_interrupted() -> None:
    raw = raw_exchange([user("Hi")], assistant("Hello"))
    cut = type(raw.chunks[0])(raw.chunks[0].offset_ns, raw.chunks[0].data[:-20])
    exchange = decode(type(raw)(raw.begin, raw.request_body, raw.response, (cut,), end=None))

    assert exchange.outcome is Outcome.INTERRUPTED
    assert "end_unseen" not in exchange.notes
