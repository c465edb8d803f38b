"""Examples from the log: each answer of the model once, with the exact history that it saw.

Two units. A ``step`` is one answer: a dialogue of three answers gives three examples. A ``trajectory`` is a dialogue as
far as system prompt and tools stay the same: one example, in which the answers that passed the gate are to be learned
and the others are context.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from tarx_toollog.export.example import (
    REASONING_LEFT_OUT,
    Dropped,
    Example,
    LearnedStep,
    Origin,
    Piece,
    Refused,
    Source,
    Split,
)
from tarx_toollog.export.gate import problem_of
from tarx_toollog.export.normalise import Normaliser, Place, has_reasoning
from tarx_toollog.export.redact import breaks_schema
from tarx_toollog.export.sources.corrections import corrected_example, has_correction
from tarx_toollog.export.sources.steps import COUNTED, Advance, LogOptions, origin_of, quality_of, source_of
from tarx_toollog.model import Step, Trajectory


@dataclass(slots=True)
class _Dialogue:
    """A trajectory in the making."""

    place: Place
    tools: Piece | None
    example: Example
    """Of its last answer."""
    notes: tuple[str, ...]
    """Of all its answers."""
    steps: list[LearnedStep] = field(default_factory=list)


def log_examples(
    trajectories: Iterable[Trajectory], normaliser: Normaliser, options: LogOptions, advance: Advance
) -> Iterator[Example | Refused]:
    """Yield an example for each answer, or for each dialogue, and every step that cannot be learned with its reason.

    Args:
        trajectories: The turns, those of one conversation together and in order.
        normaliser: Makes canonical messages; also cleans them.
        options: What is wanted.
        advance: Called for each step.
    """
    open_: dict[int, _Dialogue] = {}
    conversation = None
    for trajectory in trajectories:
        if trajectory.conversation_uid != conversation:
            yield from map(_whole, open_.values())
            open_, conversation = {}, trajectory.conversation_uid
        normaliser.begin(trajectory.conversation_uid)
        for step in trajectory.steps:
            advance()
            found = _read(trajectory, step, normaliser, options)
            if not isinstance(found, _Dialogue):
                yield found
            elif options.unit == "step":
                yield found.example
            else:
                _continue(open_, found)
    yield from map(_whole, open_.values())


def _read(
    trajectory: Trajectory, step: Step, normaliser: Normaliser, options: LogOptions
) -> _Dialogue | Example | Refused:
    """Return what becomes of one step: the beginning of a dialogue; or what somebody put in its place; or nothing."""
    source, origin = source_of(trajectory, step, options), origin_of(trajectory, step)
    if trajectory.split == "eval" and not options.includes_eval:
        return Refused(source, origin, "eval_conversation")
    if options.unit == "step" and has_correction(step):
        mended = corrected_example(trajectory, step, normaliser, options)
        return Refused(source, origin, "labelled_bad") if mended is None else mended
    try:
        if (problem := problem_of(step, options.gate, trajectory.labels)) is not None:
            raise Dropped(problem)
        place, tools = normaliser.answered(step), normaliser.tools(step)
        if breaks_schema(place.pieces[-1], tools):
            raise Dropped("redaction_breaks_schema")
    except Dropped as dropped:
        return Refused(source, origin, dropped.reason)
    example = _example(trajectory, step, place, tools, source, origin)
    return _Dialogue(place, tools, example, example.notes)


def _continue(open_: dict[int, _Dialogue], new: _Dialogue) -> None:
    """Add an answer to the dialogue that it goes on with, or begin another one."""
    place, tools = new.place, new.tools
    before = place.parent
    while before is not None:
        earlier = open_.get(id(before))
        if earlier is not None and _same(earlier.tools, tools):
            del open_[id(before)]
            new.steps, new.notes = earlier.steps, tuple(dict.fromkeys((*earlier.notes, *new.notes)))
            break
        before = before.parent
    example = new.example
    n_tokens = None if REASONING_LEFT_OUT in example.notes else example.output_tokens
    new.steps.append(LearnedStep(len(place.pieces) - 1, example.origin, n_tokens))
    open_[id(place)] = new


def _whole(dialogue: _Dialogue) -> Example:
    """Return the example of a dialogue: its last answer, with all that is to be learned on the way to it."""
    targets = tuple(step.place for step in dialogue.steps)
    return replace(dialogue.example, targets=targets, steps=tuple(dialogue.steps), notes=dialogue.notes)


def _same(left: Piece | None, right: Piece | None) -> bool:
    return left is right or (left is not None and right is not None and left.text == right.text)


def _example(
    trajectory: Trajectory, step: Step, place: Place, tools: Piece | None, source: Source, origin: Origin
) -> Example:
    is_counted = step.usage_source in COUNTED
    labels = (*trajectory.labels, *step.labels, *(one for call in step.tool_calls for one in call.labels))
    split: Split = trajectory.split  # type: ignore[assignment]  # the column has a check
    return Example(
        messages=place.pieces,
        tools=tools,
        source=source,
        origin=origin,
        input_tokens=step.input_tokens if is_counted else None,
        output_tokens=step.output_tokens if is_counted else None,
        registry=split,
        quality=quality_of(labels),
        notes=(REASONING_LEFT_OUT,)
        if has_reasoning(step) and "reasoning_content" not in place.pieces[-1].value
        else (),
    )
