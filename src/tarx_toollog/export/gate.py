"""Which answers may be learned: only those whose every part went well.

An answer that went wrong is never a *target*. It may be *context*: when the model repairs its mistake, the later
step has the bad call and its error in the history, and shows how to recover.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tarx_toollog.model import Label, LoggedCall, Outcome, Step
from tarx_toollog.store.labels import ANSWER, is_bad_label

__all__ = ["GateOptions", "is_bad_label", "problem_of"]

_CUT = ("length", "content_filter")


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How strict the gate is."""

    require_result: bool = False
    """Leave out calls whose result was never seen."""
    min_feedback: float = 0.0
    """Leave out what somebody gave a lower number; 0 lets everything pass that is not negative."""


def problem_of(step: Step, options: GateOptions, turn_labels: Iterable[Label] = ()) -> str | None:
    """Return why a step is not fit to be a target, a key of ``reasons.REASONS``: the first that applies.

    Args:
        step: The step.
        options: How strict to be.
        turn_labels: Verdicts on the whole conversation.
    """
    if step.outcome != Outcome.COMPLETED:
        return "not_completed"
    if step.params.get("n") not in (None, 1):
        return "several_answers"
    if step.finish_reason in _CUT:
        return "cut_by_length"
    if not step.output:
        return "no_answer"
    if step.truncation in ("reported", "suspected"):
        return "truncated_context"
    for call in (*step.tool_calls, *step.leaked_calls):
        if (reason := _call_problem(call, options)) is not None:
            return reason
    labels = (*turn_labels, *step.labels, *(one for call in step.tool_calls for one in call.labels))
    return "labelled_bad" if any(_is_against(one, step, options.min_feedback) for one in labels) else None


def _is_against(label: Label, step: Step, min_feedback: float) -> bool:
    """Say whether a verdict is against an answer; that a text would have been right is not, where it is a text."""
    is_text = not step.tool_calls and not step.leaked_calls
    return is_bad_label(label, min_feedback) and not (is_text and label.correction == ANSWER)


def _call_problem(call: LoggedCall, options: GateOptions) -> str | None:
    checks = (
        ("incomplete_call", not call.complete),
        ("not_native_call", call.origin != "native"),
        ("invalid_arguments", call.argument_state not in ("ok", "empty")),
        ("tool_not_offered", not call.offered),
        ("schema_failure", call.schema_state == "fail"),
        ("error_result", call.result_is_error is True),
        ("no_result", options.require_result and call.result_is_error is None),
    )
    return next((reason for reason, applies in checks if applies), None)
