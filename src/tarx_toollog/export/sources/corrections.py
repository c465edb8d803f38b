"""What people said would have been right, as answers.

A correction is JSON on a label: ``{"name", "arguments"}``, ``{"tool_calls": [{"name", "arguments"}]}``,
``{"content": "…"}``, or calls with a text. On an exchange it is the whole answer. On a call it takes the place of that
call: the other calls stay, and so does the text unless the correction brings one.

``{"answer": true}`` and ``{"ask": true}`` say what kind of answer would have been right, and not its words. There is
nothing to learn from them but that the logged answer was wrong.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tarx_toollog.export.example import Dropped, Example, Refused, Split
from tarx_toollog.export.normalise import Normaliser, Place
from tarx_toollog.export.redact import breaks_schema
from tarx_toollog.export.sources.answers import is_possible
from tarx_toollog.export.sources.steps import COUNTED, LogOptions, origin_of, source_of
from tarx_toollog.model import Label, Step, Trajectory
from tarx_toollog.store.labels import CORRECTION_KEYS, says_no_words

WRITTEN_BY_A_PERSON = 1.0
"""Quality of a corrected answer: of several that are nearly the same, it stays."""

Raw = dict[str, Any]


def corrected_example(
    trajectory: Trajectory, step: Step, normaliser: Normaliser, options: LogOptions
) -> Example | Refused | None:
    """Return the corrected answer to the prompt of one step; None when nobody corrected it.

    What became of the logged answer does not matter: the prompt is as good as any other.
    """
    if not has_correction(step):
        return None
    source, origin = source_of(trajectory, step, options), origin_of(trajectory, step)
    split: Split = trajectory.split  # type: ignore[assignment]  # the column has a check
    try:
        place, tools = corrected(step, normaliser), normaliser.tools(step)
    except Dropped as dropped:
        return Refused(source, origin, dropped.reason)
    return Example(
        messages=place.pieces,
        tools=tools,
        source=source,
        origin=origin,
        input_tokens=step.input_tokens if step.usage_source in COUNTED else None,
        registry=split,
        quality=WRITTEN_BY_A_PERSON,
    )


def has_correction(step: Step) -> bool:
    """Say whether somebody said, in words, what would have been right in place of an answer, or of a call of it."""
    given = [label.correction for label in _labels(step) if label.correction is not None]
    return bool(given) and not any(map(says_no_words, given))


def corrected(step: Step, normaliser: Normaliser) -> Place:
    """Return the place after the corrected answer, which is the last of its ``pieces``.

    Raises:
        Dropped: The correction cannot be read, or the model could not have answered so; the history cannot be said.
    """
    place = normaliser.history(step)
    after = place.then(_answer(step), normaliser)
    if after.problem is not None:
        raise Dropped("bad_correction" if after.problem in ("arguments", "not_native_call") else after.problem)
    answer, tools = after.pieces[-1], normaliser.tools(step)
    if breaks_schema(answer, tools):
        raise Dropped("redaction_breaks_schema")
    if not is_possible(answer.value, tools):
        raise Dropped("bad_correction")
    return after


def _labels(step: Step) -> list[Label]:
    # A call that leaked into the text is no part of an answer that could be replaced: its correction is the answer.
    return [*step.labels, *(label for call in (*step.leaked_calls, *step.tool_calls) for label in call.labels)]


def _answer(step: Step) -> Raw:
    whole = _latest([*step.labels, *(label for call in step.leaked_calls for label in call.labels)])
    if whole is not None:
        return _message(_text_in(whole) or "", _calls_in(whole))
    text = (step.output or {}).get("content")
    calls: list[Raw] = []
    for call in step.tool_calls:
        correction = _latest(call.labels)
        if correction is None:
            calls.append(_call(call.name, call.arguments))
        else:
            calls += _calls_in(correction)
            text = text if (said := _text_in(correction)) is None else said
    return _message(text if isinstance(text, str) else "", calls)


def _latest(labels: Iterable[Label]) -> Raw | None:
    """Return the latest correction among the labels of one thing."""
    found = [label.correction for label in labels if label.correction is not None]
    if not found:
        return None
    if not isinstance(found[-1], Mapping) or set(found[-1]) not in CORRECTION_KEYS:
        raise Dropped("bad_correction")
    return dict(found[-1])


def _text_in(correction: Raw) -> str | None:
    text = correction.get("content")
    if text is not None and not isinstance(text, str):
        raise Dropped("bad_correction")
    return text


def _calls_in(correction: Raw) -> list[Raw]:
    entries = [correction] if "name" in correction else correction.get("tool_calls", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise Dropped("bad_correction")
    return [_call(entry.get("name"), entry.get("arguments")) for entry in entries]


def _call(name: Any, arguments: Any) -> Raw:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _message(text: str, calls: list[Raw]) -> Raw:
    message: Raw = {"role": "assistant", "content": text}
    return message | {"tool_calls": calls} if calls else message
