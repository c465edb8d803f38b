"""Which steps may be learned from: only those whose every part went well.

A step that went wrong is never a *target*. It may be *context*: when the model repairs its mistake, the later
step has the bad call and its error in the history, and shows how to recover.
"""

from collections.abc import Iterator

from tarx_toollog.export.example import Candidate, Dropped
from tarx_toollog.model import LoggedCall, Outcome, Step, Trajectory

_CUT = ("length", "content_filter")


def candidates(trajectory: Trajectory) -> Iterator[Candidate]:
    """Yield one candidate for each step, in order."""
    for step in trajectory.steps:
        yield Candidate(trajectory.conversation_uid, trajectory.turn_no, step)


def require_target(step: Step) -> None:
    """Let a step pass that is fit to be a target.

    Raises:
        Dropped: It is not, with the first reason that applies.
    """
    if step.outcome != Outcome.COMPLETED:
        raise Dropped("not_completed")
    if step.protocol != "openai_chat":
        raise Dropped("other_protocol")
    if step.params.get("n") not in (None, 1):
        raise Dropped("several_answers")
    if step.finish_reason in _CUT:
        raise Dropped("cut_by_length")
    if not step.output:
        raise Dropped("no_answer")
    for call in (*step.tool_calls, *step.leaked_calls):
        if (reason := _call_problem(call)) is not None:
            raise Dropped(reason)


def _call_problem(call: LoggedCall) -> str | None:
    checks = (
        ("incomplete_call", not call.complete),
        ("not_native_call", call.origin != "native"),
        ("invalid_arguments", call.argument_state not in ("ok", "empty")),
        ("tool_not_offered", not call.offered),
        ("schema_failure", call.schema_state == "fail"),
        ("error_result", call.result_is_error is True),
    )
    return next((reason for reason, applies in checks if applies), None)
