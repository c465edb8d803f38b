"""Better and worse answers to one prompt, mined from the log: pairs for DPO, judged answers for KTO.

*Theory.* Only three things in a log say that an answer was worse than another one to the very same prompt.

* A call **went wrong and was mended** within its turn: it broke its schema, named a tool that was not offered, stood in
  the text, or came back with an error, and the next answer that is not wrong in such a way makes the same calls well.
  The pair has the prompt of the wrong answer. Of the retry only the calls are taken: its text speaks of an error that
  this prompt has not seen, so the text is that of the wrong answer. A retry that needs what only the error told
  (``hindsight``), that repeats only a part, or the very same arguments, is no better answer to the first prompt.
* A person **corrected** it (``corrections``).
* It was **asked for again**, and the user went on from another answer (``store.variants``); or the other one is plainly
  wrong. Both must have been asked with the same parameters, sampling apart.

What the log cannot tell: whether an error came from the call or from the moment (a file that was not there yet), and
why a user left an answer. A pair is as good as these signs.

For KTO every answer that passes the gate is good; bad is one that is itself wrong, was labelled bad, or came back with
an error that a retry mended. An answer that went wrong for other reasons says nothing, and is refused.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

from tarx_toollog.export.example import Dropped, Example, Message, Piece, Refused, Split
from tarx_toollog.export.gate import is_bad_label, problem_of
from tarx_toollog.export.normalise import Normaliser, Place
from tarx_toollog.export.redact import breaks_schema
from tarx_toollog.export.sources.answers import (
    as_pair,
    is_possible,
    same_answer,
    same_calls,
    with_ids_of,
    without_thoughts,
)
from tarx_toollog.export.sources.corrections import WRITTEN_BY_A_PERSON, corrected, has_correction
from tarx_toollog.export.sources.hindsight import needs_hindsight
from tarx_toollog.export.sources.steps import (
    COUNTED,
    Advance,
    LogOptions,
    counted_output,
    origin_of,
    quality_of,
    source_of,
)
from tarx_toollog.model import Label, Step, Trajectory
from tarx_toollog.store.variants import OtherAnswer

Others = Callable[[Sequence[int]], Mapping[int, Sequence[OtherAnswer]]]
"""Returns the other answers to what exchanges asked, by the internal key of the exchange (``Variants.others``)."""

PLAINLY_WRONG = frozenset({"schema_failure", "tool_not_offered", "not_native_call"})
"""Problems that show in the answer itself."""
_MENDABLE = PLAINLY_WRONG | {"error_result"}
_JUDGED = _MENDABLE | {"labelled_bad", "no_result"}
"""Problems of an answer that is whole, and was given to the prompt that was logged."""
_SAMPLING = frozenset(
    {
        *("model", "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "mirostat", "mirostat_tau"),
        *("mirostat_eta", "presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n"),
        *("max_tokens", "max_completion_tokens", "n_predict", "stream", "stream_options", "cache_prompt", "user"),
    }
)
"""Parameters that may differ between two answers to the same request; others may force a call, or a form."""
_BATCH = 200  # turns whose other answers are asked for at once


def dpo_examples(
    trajectories: Iterable[Trajectory],
    normaliser: Normaliser,
    options: LogOptions,
    advance: Advance,
    others: Others | None = None,
) -> Iterator[Example | Refused]:
    """Yield an example for each answer that another one is better than, and every other step with its reason.

    Answers beside the main line come after the step that they stand beside, as examples or refused like the others.

    Args:
        trajectories: The turns, those of one conversation together and in order.
        normaliser: Makes canonical messages; also cleans them.
        options: What is wanted.
        advance: Called for each step of a main line.
        others: Finds the answers that were asked for again; None: they are left out.
    """
    seen: set[bytes] = set()
    turns = iter(trajectories)
    while batch := list(islice(turns, _BATCH)):
        ids = [step.exchange_id for trajectory in batch for step in trajectory.steps]
        beside = {} if others is None else others(ids)
        for trajectory in batch:
            normaliser.begin(trajectory.conversation_uid)
            turn = _Turn(trajectory, normaliser, options)
            for number, step in enumerate(trajectory.steps):
                advance()
                yield _once(_result(turn, step, partial(_pair, turn, number)), seen)
                for other in beside.get(step.exchange_id, ()):
                    yield _once(_result(turn, other.step, partial(_against, turn, number, other)), seen)


def kto_examples(
    trajectories: Iterable[Trajectory], normaliser: Normaliser, options: LogOptions, advance: Advance
) -> Iterator[Example | Refused]:
    """Yield each answer that is known to be good or bad, and every other step with its reason.

    Args:
        trajectories: The turns, those of one conversation together and in order.
        normaliser: Makes canonical messages; also cleans them.
        options: What is wanted.
        advance: Called for each step.
    """
    for trajectory in trajectories:
        normaliser.begin(trajectory.conversation_uid)
        turn = _Turn(trajectory, normaliser, options)
        for number, step in enumerate(trajectory.steps):
            advance()
            yield _result(turn, step, partial(_judged, turn, number))


@dataclass(frozen=True)
class _Turn:
    """A turn, and how it is read."""

    trajectory: Trajectory
    normaliser: Normaliser
    options: LogOptions

    @cached_property
    def problems(self) -> tuple[str | None, ...]:
        """What is wrong with each step."""
        return tuple(self.problem_of(step) for step in self.trajectory.steps)

    def problem_of(self, step: Step) -> str | None:
        """Return what is wrong with a step, be it on the main line or beside it."""
        return problem_of(step, self.options.gate, self.trajectory.labels)

    def example(
        self,
        step: Step,
        messages: tuple[Piece, ...],
        tools: Piece | None,
        *,
        answered_by: Step | None,
        rejected: Piece | None = None,
        label: bool | None = None,
        quality: float | None = None,
        notes: tuple[str, ...] = (),
    ) -> Example:
        """Return an example with the prompt of ``step``; ``answered_by`` has the tokens of the last message."""
        split: Split = self.trajectory.split  # type: ignore[assignment]  # the column has a check
        labels = _labels(answered_by) if answered_by is not None else ()
        return Example(
            messages=messages,
            tools=tools,
            source=source_of(self.trajectory, step, self.options),
            origin=origin_of(self.trajectory, step),
            rejected=rejected,
            label=label,
            input_tokens=step.input_tokens if step.usage_source in COUNTED else None,
            output_tokens=counted_output(answered_by),
            registry=split,
            quality=quality_of((*self.trajectory.labels, *labels)) if quality is None else quality,
            notes=notes,
        )


def _result(turn: _Turn, step: Step, make: Callable[[], Example]) -> Example | Refused:
    try:
        return make()
    except Dropped as dropped:
        source = source_of(turn.trajectory, step, turn.options)
        return Refused(source, origin_of(turn.trajectory, step), dropped.reason)


def _once(item: Example | Refused, seen: set[bytes]) -> Example | Refused:
    if isinstance(item, Refused):
        return item
    if item.hash in seen:
        return Refused(item.source, item.origin, "duplicate")
    seen.add(item.hash)
    return item


# ---- a step of the main line -----------------------------------------------------------------------------------------


def _pair(turn: _Turn, number: int) -> Example:
    step, problem = turn.trajectory.steps[number], turn.problems[number]
    if has_correction(step):
        return _corrected(turn, step, problem)
    if problem is None:
        raise Dropped("no_pair")
    if problem not in _MENDABLE:
        raise Dropped(problem)
    return _mended(turn, number)


def _corrected(turn: _Turn, step: Step, problem: str | None) -> Example:
    """Set a correction against the answer that it corrects."""
    if problem is not None and problem not in _JUDGED:
        raise Dropped(problem)
    logged = turn.normaliser.answered(step).pieces[-1].value
    place = corrected(step, turn.normaliser)
    prompt, answer = place.pieces[:-1], place.pieces[-1].value
    chosen, rejected = without_thoughts(with_ids_of(answer, logged)), without_thoughts(logged)
    if same_answer(chosen, rejected):
        raise Dropped("same_answer")
    return turn.example(
        step,
        (*prompt, Piece(chosen)),
        turn.normaliser.tools(step),
        answered_by=None,
        rejected=Piece(rejected),
        quality=WRITTEN_BY_A_PERSON,
        notes=_thoughts_note(logged, rejected),
    )


def _mended(turn: _Turn, number: int) -> Example:
    """Set the retry of a call that went wrong against it."""
    wrong, retry = turn.trajectory.steps[number], _retry(turn, number)
    before, after, tools = (
        turn.normaliser.answered(wrong),
        turn.normaliser.answered(retry),
        turn.normaliser.tools(wrong),
    )
    logged, mended = before.pieces[-1].value, after.pieces[-1].value
    if same_calls(logged, mended):
        raise Dropped("same_again")
    chosen, rejected = _retold(mended, logged, keep_text=not wrong.leaked_calls), without_thoughts(logged)
    piece = Piece(chosen)
    if breaks_schema(piece, tools):
        raise Dropped("redaction_breaks_schema")
    if not is_possible(chosen, tools):  # other tools were offered to the retry
        raise Dropped("not_mended")
    known = [*before.pieces, *([tools] if tools is not None else [])]
    if needs_hindsight(chosen, known, _between(before, after)):
        raise Dropped("needs_error")
    is_retold = mended["content"].strip() != chosen["content"].strip()
    notes = (*_thoughts_note(logged, rejected), *(("retry_text_left_out",) if is_retold else ()))
    return turn.example(
        wrong,
        (*before.pieces[:-1], piece),
        tools,
        answered_by=None if notes or "reasoning_content" in mended else retry,
        rejected=Piece(rejected),
        notes=notes,
    )


def _retry(turn: _Turn, number: int) -> Step:
    """Return the first answer after a wrong one that is not wrong in such a way, if it mends what was wrong."""
    steps, wrong = turn.trajectory.steps, turn.trajectory.steps[number]
    later = range(number + 1, len(steps))
    found = next((at for at in later if turn.problems[at] not in _MENDABLE), None)
    if found is None or turn.problems[found] is not None:
        raise Dropped("not_mended")
    retry = steps[found]
    failed = (*wrong.tool_calls, *wrong.leaked_calls)
    wanted, made = (
        Counter(call.name for call in failed if call.offered),
        Counter(call.name for call in retry.tool_calls),
    )
    # In the place of a tool that was not offered any other may do; all else that was asked for must be there again.
    is_whole = wanted <= made if not all(call.offered for call in failed) else wanted == made
    if not made or not is_whole:
        raise Dropped("not_mended")
    failed_by_result = turn.problems[number] == "error_result"
    if failed_by_result and not all(call.result_is_error is False for call in retry.tool_calls):
        raise Dropped("not_mended")
    return retry


def _retold(mended: Message, logged: Message, *, keep_text: bool) -> Message:
    """Return the calls of a retry with the text of the answer that went wrong; a leaked call is all of its text."""
    chosen: Message = {"role": "assistant", "content": logged["content"] if keep_text else ""}
    return chosen | {"tool_calls": with_ids_of(mended, logged)["tool_calls"]}


def _between(before: Place, after: Place) -> list[Piece]:
    """Return what was said between two answers by others than the model."""
    shown = {piece.text for piece in before.pieces}
    found = [piece for piece in after.pieces[:-1] if piece.text not in shown]
    return [piece for piece in found if piece.value["role"] != "assistant"]


# ---- answers beside it -----------------------------------------------------------------------------------------------


def _against(turn: _Turn, number: int, other: OtherAnswer) -> Example:
    """Set the answer of the main line against another one to the same request."""
    step, problem = turn.trajectory.steps[number], turn.problem_of(other.step)
    if problem is not None and problem not in _JUDGED:
        raise Dropped(problem)
    is_wrong = problem in PLAINLY_WRONG or _is_labelled_bad(turn, other.step)
    if turn.problems[number] is not None or not (is_wrong or other.is_left) or _steering(step) != _steering(other.step):
        raise Dropped("not_preferred")
    if not is_wrong and quality_of(_labels(other.step)) > quality_of(_labels(step)):
        raise Dropped("not_preferred")  # the user went on elsewhere, but somebody said that this one is better
    main, beside = turn.normaliser.answered(step), turn.normaliser.answered(other.step)
    tools = turn.normaliser.tools(step)
    if breaks_schema(main.pieces[-1], tools):
        raise Dropped("redaction_breaks_schema")
    chosen, rejected = as_pair(main.pieces[-1].value, beside.pieces[-1].value)
    is_whole = chosen == main.pieces[-1].value
    return turn.example(
        other.step,
        (*main.pieces[:-1], main.pieces[-1] if is_whole else Piece(chosen)),
        tools,
        answered_by=step if is_whole else None,
        rejected=Piece(rejected),
        quality=quality_of((*turn.trajectory.labels, *_labels(step))),
        notes=() if is_whole else ("reasoning_left_out",),
    )


def _steering(step: Step) -> dict[str, object]:
    return {key: value for key, value in step.params.items() if key not in _SAMPLING}


# ---- judged answers --------------------------------------------------------------------------------------------------


def _judged(turn: _Turn, number: int) -> Example:
    step = turn.trajectory.steps[number]
    label = _is_good(turn, number)
    place, tools = turn.normaliser.answered(step), turn.normaliser.tools(step)
    if label and breaks_schema(place.pieces[-1], tools):
        raise Dropped("redaction_breaks_schema")
    return turn.example(step, place.pieces, tools, answered_by=step, label=label)


def _is_good(turn: _Turn, number: int) -> bool:
    """Say whether an answer is good or bad.

    Raises:
        Dropped: Nothing tells.
    """
    step, problem = turn.trajectory.steps[number], turn.problems[number]
    if problem is None:
        return True
    if problem == "error_result":
        _mended(turn, number)
        return False
    if problem in PLAINLY_WRONG or (problem == "labelled_bad" and _is_labelled_bad(turn, step)):
        return False
    raise Dropped(problem)


# ---- parts -----------------------------------------------------------------------------------------------------------


def _is_labelled_bad(turn: _Turn, step: Step) -> bool:
    """Say whether somebody said of this very answer that it is bad: a verdict on a whole conversation is on no one."""
    return any(is_bad_label(label, turn.options.gate.min_feedback) for label in _labels(step))


def _labels(step: Step) -> tuple[Label, ...]:
    return (*step.labels, *(label for call in step.tool_calls for label in call.labels))


def _thoughts_note(logged: Message, written: Message) -> tuple[str, ...]:
    return ("reasoning_left_out",) if logged != written else ()
