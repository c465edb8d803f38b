"""How an exchange ended, computed from facts.

Theory: the HTTP status is the weakest witness. A client that hangs up looks like success to the server, an
error inside a stream has status 200, and a stream that breaks off ends like one that is whole. So the rules
ask, in this order: was the end seen at all; did somebody of ours end it (time limit, proxy); did an error
event arrive in the stream; who raised an exception; what is the status; is the body an error; did the
protocol's own terminator come. A client that closes right after the terminator has everything it asked for
(openai-python does so after ``[DONE]``), hence the terminator is asked before the disconnect.

A redirect, and a status that says that there is no content, is no answer of a model and has none of its terminators:
it is complete when its last byte came. Whoever asks for answers looks for exchanges that have one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tarx_toollog.model import Outcome, Response
from tarx_toollog.wire.raw import End

FIRST_ERROR_STATUS = 400
_WITHOUT_ANSWER = frozenset({204, 205, *range(300, FIRST_ERROR_STATUS)})
"""Statuses that say that no answer follows: no content, and all redirects, ``Not Modified`` among them."""
_MAX_TEXT = 2000


class Verdict(NamedTuple):
    """An outcome with the error behind it, if there is one."""

    outcome: Outcome
    error_type: str | None = None
    error_text: str | None = None


def judge(
    end: End | None,
    status: int | None,
    response: Response | None,
    *,
    open_ended: bool = False,
    terminated: bool | None = None,
) -> Verdict:
    """Compute the outcome of an exchange.

    Args:
        end: The tap's facts; None when the tap never saw the end.
        status: The HTTP status, if the response began.
        response: The decoded response, as far as it came.
        open_ended: The exchange is known to be running still.
        terminated: Overrides what the response says, for traffic that no decoder understands.
    """
    if end is None and open_ended:
        return Verdict(Outcome.OPEN)
    if end is None:
        # The process died. An answer that was whole by then went to the client, as far as anybody can know.
        verdict = _by_error(End(0), status, response) if response is not None else None
        whole = Outcome.COMPLETED if response is not None and response.terminated else Outcome.INTERRUPTED
        return verdict or Verdict(whole)
    verdict = _by_fault_of_ours(end, response) or _by_error(end, status, response)
    if verdict is not None:
        return verdict
    if terminated is None:
        terminated = (response is not None and response.terminated) or _is_without_answer(end, status, response)
    if terminated:
        return Verdict(Outcome.COMPLETED)
    last = Outcome.CLIENT_DISCONNECTED if end.disconnected else Outcome.TRUNCATED
    return _with_exception(last, end)


def _is_without_answer(end: End, status: int | None, response: Response | None) -> bool:
    has_answer = response is not None and bool(response.choices)  # under whatever status
    return end.final_seen and status in _WITHOUT_ANSWER and not has_answer


def _by_fault_of_ours(end: End, response: Response | None) -> Verdict | None:
    ours = {"timeout": Outcome.TIMEOUT, "proxy": Outcome.PROXY_ERROR}
    outcome = ours.get(end.exception_side or "")
    if outcome is None:
        return None
    error = response.error if response is not None and end.exception is None else None
    return _with_exception(outcome, end) if error is None else _with_error_object(outcome, error)


def _by_error(end: End, status: int | None, response: Response | None) -> Verdict | None:
    error = response.error if response is not None else None
    is_error_status = status is not None and status >= FIRST_ERROR_STATUS
    if error is not None and response is not None and response.error_in_stream and not is_error_status:
        return _with_error_object(Outcome.STREAM_ERROR, error)
    if end.exception_side in ("app", "upstream"):
        outcome = Outcome.APP_ERROR if end.exception_side == "app" else Outcome.UPSTREAM_ERROR
        return _with_exception(outcome, end)
    if is_error_status:
        verdict = _with_error_object(Outcome.UPSTREAM_ERROR, error or {})
        return verdict._replace(error_type=verdict.error_type or f"http_{status}")
    return None if error is None else _with_error_object(Outcome.UPSTREAM_ERROR, error)


def _with_exception(outcome: Outcome, end: End) -> Verdict:
    """Split ``TypeName: text``, as the taps write it."""
    if not end.exception:
        return Verdict(outcome)
    name, _, text = end.exception.partition(": ")
    return Verdict(outcome, name, text[:_MAX_TEXT] or None)


def _with_error_object(outcome: Outcome, error: Mapping[str, Any]) -> Verdict:
    kinds = (error.get(key) for key in ("type", "code"))
    kind = next((str(value) for value in kinds if isinstance(value, str | int) and value != ""), None)
    message = error.get("message")
    return Verdict(outcome, kind, message[:_MAX_TEXT] if isinstance(message, str) and message else None)
