"""The outcome rules, in their order."""

from typing import Any

import pytest

from tarx_toollog.model import Choice, Message, Outcome, Response
from tarx_toollog.wire.outcome import Verdict, judge
from tarx_toollog.wire.raw import End

DONE = Response(terminated=True)
CUT = Response()
ANSWERED = Response(choices=(Choice(0, Message("assistant", {}, "Hey"), None, None),))
STREAM_ERROR = Response(error={"type": "server_error", "message": "boom"}, error_in_stream=True)
BODY_ERROR = Response(error={"code": "rate_limited", "message": "slow down"})


def end(side: str | None = None, **facts: Any) -> End:
    return End(1, exception="ValueError: why" if side else None, exception_side=side, **facts)


CASES = {
    "no end": (None, 200, CUT, Verdict(Outcome.INTERRUPTED)),
    "no end and no answer": (None, None, None, Verdict(Outcome.INTERRUPTED)),
    "no end, but the terminator": (None, 200, DONE, Verdict(Outcome.COMPLETED)),
    "no end, but an error": (None, 400, BODY_ERROR, Verdict(Outcome.UPSTREAM_ERROR, "rate_limited", "slow down")),
    "proxy answered in the server's place": (
        End(1, final_seen=True, exception_side="proxy"),
        502,
        BODY_ERROR,
        Verdict(Outcome.PROXY_ERROR, "rate_limited", "slow down"),
    ),
    "time limit": (end("timeout"), 200, STREAM_ERROR, Verdict(Outcome.TIMEOUT, "ValueError", "why")),
    "proxy answered": (end("proxy"), 502, BODY_ERROR, Verdict(Outcome.PROXY_ERROR, "ValueError", "why")),
    "error in a stream": (end("app"), 200, STREAM_ERROR, Verdict(Outcome.STREAM_ERROR, "server_error", "boom")),
    "error in a stream after hang-up": (
        end(disconnected=True),
        200,
        STREAM_ERROR,
        Verdict(Outcome.STREAM_ERROR, "server_error", "boom"),
    ),
    "error in a stream of an error": (
        end(),
        500,
        STREAM_ERROR,
        Verdict(Outcome.UPSTREAM_ERROR, "server_error", "boom"),
    ),
    "application raised": (end("app"), 200, DONE, Verdict(Outcome.APP_ERROR, "ValueError", "why")),
    "application raised before an answer": (end("app"), None, None, Verdict(Outcome.APP_ERROR, "ValueError", "why")),
    "connection broke": (end("upstream"), 200, CUT, Verdict(Outcome.UPSTREAM_ERROR, "ValueError", "why")),
    "error status": (end(), 429, BODY_ERROR, Verdict(Outcome.UPSTREAM_ERROR, "rate_limited", "slow down")),
    "error status without a body": (end(), 503, None, Verdict(Outcome.UPSTREAM_ERROR, "http_503")),
    "redirect": (end(final_seen=True), 307, None, Verdict(Outcome.COMPLETED)),
    "redirect with a page": (end(final_seen=True), 301, CUT, Verdict(Outcome.COMPLETED)),
    "redirect without its last byte": (end(), 307, None, Verdict(Outcome.TRUNCATED)),
    "hang-up in a redirect": (end(disconnected=True), 307, None, Verdict(Outcome.CLIENT_DISCONNECTED)),
    "death in a redirect": (None, 307, None, Verdict(Outcome.INTERRUPTED)),
    "broken redirect": (end("upstream"), 307, None, Verdict(Outcome.UPSTREAM_ERROR, "ValueError", "why")),
    "redirect with half an answer": (end(final_seen=True), 300, ANSWERED, Verdict(Outcome.TRUNCATED)),
    "lowest redirect": (end(final_seen=True), 300, None, Verdict(Outcome.COMPLETED)),
    "highest redirect": (end(final_seen=True), 399, None, Verdict(Outcome.COMPLETED)),
    "no content": (end(final_seen=True), 204, None, Verdict(Outcome.COMPLETED)),
    "nothing under a status that promises an answer": (end(final_seen=True), 200, None, Verdict(Outcome.TRUNCATED)),
    "highest status that is no error": (end(), 399, DONE, Verdict(Outcome.COMPLETED)),
    "lowest error status": (end(), 400, DONE, Verdict(Outcome.UPSTREAM_ERROR, "http_400")),
    "error body with status 200": (
        end(),
        200,
        BODY_ERROR,
        Verdict(Outcome.UPSTREAM_ERROR, "rate_limited", "slow down"),
    ),
    "terminator": (end(final_seen=True), 200, DONE, Verdict(Outcome.COMPLETED)),
    "terminator, then hang-up": (end(disconnected=True), 200, DONE, Verdict(Outcome.COMPLETED)),
    "hang-up": (end(disconnected=True), 200, CUT, Verdict(Outcome.CLIENT_DISCONNECTED)),
    "hang-up before an answer": (end(disconnected=True), None, None, Verdict(Outcome.CLIENT_DISCONNECTED)),
    "clean end without terminator": (end(final_seen=True), 200, CUT, Verdict(Outcome.TRUNCATED)),
    "no answer": (end(), None, None, Verdict(Outcome.TRUNCATED)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_outcome_follows_from_the_facts(name: str) -> None:
    facts, status, response, expected = CASES[name]

    assert expected == judge(facts, status, response)


def test_an_exchange_that_is_running_is_open() -> None:
    assert Verdict(Outcome.OPEN) == judge(None, 200, CUT, open_ended=True)


def test_an_end_counts_although_the_exchange_was_said_to_be_running() -> None:
    assert Verdict(Outcome.COMPLETED) == judge(end(), 200, DONE, open_ended=True)


def test_traffic_that_no_decoder_understands_is_judged_by_its_last_byte() -> None:
    assert Verdict(Outcome.COMPLETED) == judge(end(), 200, None, terminated=True)
    assert Verdict(Outcome.TRUNCATED) == judge(end(), 200, DONE, terminated=False)


def test_an_exception_of_unknown_side_is_told_with_the_outcome() -> None:
    facts = End(1, exception="OSError", disconnected=True)

    assert Verdict(Outcome.CLIENT_DISCONNECTED, "OSError", None) == judge(facts, 200, CUT)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            {"code": 400, "type": "exceed_context_size_error", "message": "too long"},
            ("exceed_context_size_error", "too long"),
        ),
        ({"code": 400, "message": "m"}, ("400", "m")),
        ({"type": "", "code": "c"}, ("c", None)),
        ({"type": ["x"], "message": {"nested": 1}}, ("http_400", None)),
    ],
)
def test_type_and_text_come_from_the_error_object(error: dict[str, Any], expected: tuple[str, str | None]) -> None:
    verdict = judge(end(), 400, Response(error=error))

    assert expected == (verdict.error_type, verdict.error_text)


def test_a_long_error_text_is_cut() -> None:
    verdict = judge(end(), 400, Response(error={"message": "x" * 10_000}))

    assert verdict.error_text == "x" * 2000
