"""What every reader of logged steps needs: how to read, and where an example comes from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tarx_toollog.export.example import Origin, Source, Unit
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.model import Label, Step, Trajectory

COUNTED = frozenset({"usage", "timings", "eval_count"})
"""Token counts that come from a server."""

Advance = Callable[[], object]
"""Called once for each step that was looked at."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How the log is read."""

    unit: Unit = "step"
    gate: GateOptions = field(default_factory=GateOptions)
    summary_tools: frozenset[str] = frozenset({"tarx_save_conversation"})
    """Tools whose calls are summaries of a conversation."""
    includes_eval: bool = False
    """Also read what is kept for evaluation."""


def quality_of(labels: Iterable[Label]) -> float:
    """Return the sum of the numbers that people gave."""
    return sum(label.value_num for label in labels if label.value_num is not None)


def source_of(trajectory: Trajectory, step: Step, options: LogOptions) -> Source:
    """Return what kind of example an answer is."""
    if any(call.name in options.summary_tools for call in step.tool_calls):
        return "summary"
    return "tool" if trajectory.signature else "chat"


def origin_of(trajectory: Trajectory, step: Step) -> Origin:
    """Return where an answer stands in the log."""
    return Origin(
        exchange_uid=step.exchange_uid,
        conversation_uid=trajectory.conversation_uid,
        turn_no=trajectory.turn_no,
        step_no=step.step_no,
        exchange_id=step.exchange_id,
        started_at=step.started_at.timestamp(),
    )


def counted_output(step: Step | None) -> int | None:
    """Return the tokens of an answer, where a server counted them."""
    return step.output_tokens if step is not None and step.usage_source in COUNTED else None
