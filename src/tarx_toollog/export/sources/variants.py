"""Better and worse answers to one prompt from replays: several models, or one several times, asked the same.

A replay asks for steps of scenarios and scores each answer against what is expected. An answer that was scored wrong is
set against a right one to the same step: of the same run, so that both are answers of one model; else of another run
that was named; else against what is expected. The expectation of a bronze scenario is what was logged, and nobody
has verified it: such pairs teach to agree with the log.

Only scenarios that were frozen from conversations kept for training are mined. A score of an evaluation whose
answers were trained on would mean nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tarx_toollog.errors import StoreError
from tarx_toollog.export.example import Dropped, Example, Message, Origin, Piece, Refused, Source, Split
from tarx_toollog.export.gate import problem_of
from tarx_toollog.export.normalise import Normaliser, Place
from tarx_toollog.export.redact import breaks_schema
from tarx_toollog.export.sources.answers import as_pair, is_possible
from tarx_toollog.export.sources.pairs import PLAINLY_WRONG
from tarx_toollog.export.sources.steps import COUNTED, Advance, LogOptions, counted_output
from tarx_toollog.model import Step
from tarx_toollog.store.variants import AskedStep, Variant, Variants

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

SCENARIO_FORMATS = (1, 2, 3)
"""``replay.scenario.FORMATS``, which this room must not import: the versions of definitions that are read here."""


def variant_examples(
    log: "ToolLog", runs: Sequence[str], normaliser: Normaliser, options: LogOptions, advance: Advance
) -> Iterator[Example | Refused]:
    """Yield an example for each answer that was scored wrong, and every other answer with its reason.

    Args:
        log: An open store.
        runs: Names of replay runs.
        normaliser: Makes canonical messages; also cleans them.
        options: What is wanted.
        advance: Called for each answer.

    Raises:
        NothingMatchedError: One of the runs does not exist.
        StoreError: A newer version of this package wrote one of the scenarios.
    """
    seen: set[bytes] = set()
    for asked in Variants(log).asked(runs):
        normaliser.begin(asked.conversation_uid)
        step = _Answered(asked, normaliser, options)
        for variant in asked.variants:
            advance()
            try:
                example = step.example(variant)
                if example.hash in seen:
                    raise Dropped("duplicate")
            except Dropped as dropped:
                yield Refused(step.source, step.origin(variant), dropped.reason)
                continue
            seen.add(example.hash)
            yield example


class _Answered:
    """One step of a scenario, with the answers to it."""

    def __init__(self, asked: AskedStep, normaliser: Normaliser, options: LogOptions) -> None:
        self._asked = asked
        self._normaliser = normaliser
        self._options = options
        self._gate = replace(options.gate, require_result=False)  # nobody carries out the calls of a replay
        definition = asked.definition
        if definition.get("format") not in SCENARIO_FORMATS:
            raise StoreError(
                f"scenario of format {definition.get('format')!r}, the export reads {SCENARIO_FORMATS[-1]}",
                hint="upgrade tarx-toollog, or leave --variants away",
            )
        self._expectation: dict[str, Any] = next(
            step for step in definition["steps"] if step["step_no"] == asked.step_no
        )

    @property
    def source(self) -> Source:
        """What kind of example the step gives."""
        names = {call["name"] for call in self._expectation["expected"].get("calls", ())}
        if names & self._options.summary_tools:
            return "summary"
        return "tool" if self._asked.signature else "chat"

    def origin(self, variant: Variant) -> Origin:
        """Return where an answer comes from: the exchange of the replay, and the turn that its scenario is of."""
        place = Origin(
            conversation_uid=self._asked.conversation_uid, turn_no=self._asked.turn_no, step_no=self._asked.step_no
        )
        step = variant.step
        if step is None:
            return place
        return place._replace(
            exchange_uid=step.exchange_uid, exchange_id=step.exchange_id, started_at=step.started_at.timestamp()
        )

    def example(self, variant: Variant) -> Example:
        """Set a right answer against this one.

        Raises:
            Dropped: This one is right, or cannot be said; or there is no other.
        """
        wrong = self._wrong(variant)
        rejected, tools = self._normaliser.answered(wrong).pieces[-1].value, self._normaliser.tools(wrong)
        place, answered_by = self._right(variant, wrong, tools)
        if breaks_schema(place.pieces[-1], tools):
            raise Dropped("redaction_breaks_schema")
        chosen, rejected = as_pair(place.pieces[-1].value, rejected)
        is_whole = chosen == place.pieces[-1].value
        split: Split = "dev" if self._asked.split == "dev" else "train"
        return Example(
            messages=(*place.pieces[:-1], place.pieces[-1] if is_whole else Piece(chosen)),
            tools=tools,
            source=self.source,
            origin=self.origin(variant),
            rejected=Piece(rejected),
            input_tokens=wrong.input_tokens if wrong.usage_source in COUNTED else None,
            output_tokens=counted_output(answered_by) if is_whole else None,
            registry=split,
            notes=() if is_whole else ("reasoning_left_out",),
        )

    def _wrong(self, variant: Variant) -> Step:
        """Return the answer if it was scored wrong and is whole."""
        if self._asked.split not in ("train", "dev"):  # or nobody can tell any more what it is kept for
            raise Dropped("eval_conversation")
        if variant.step is None:
            raise Dropped("no_answer")
        if variant.value == 1:
            raise Dropped("no_pair")
        problem = problem_of(variant.step, self._gate)
        if problem is not None and problem not in PLAINLY_WRONG:
            raise Dropped(problem)
        if variant.value != 0:
            raise Dropped("not_preferred")
        return variant.step

    def _right(self, variant: Variant, wrong: Step, tools: Piece | None) -> tuple[Place, Step | None]:
        """Return the place after the better answer, and the step that gave it, if one did."""
        history = self._normaliser.history(wrong)
        right = [other for other in self._asked.variants if other.value == 1 and other.step is not None]
        for other in sorted(right, key=lambda other: other.run != variant.run):
            place = self._usable(history, tools, other.step)
            if place is not None:
                return place, other.step
        expected = history.then(self._expected(), self._normaliser)
        if expected.problem is not None or not is_possible(expected.pieces[-1].value, tools):
            raise Dropped("no_pair")
        return expected, None

    def _usable(self, history: Place, tools: Piece | None, step: Step | None) -> Place | None:
        """Return the place after a right answer; None if it was given to another prompt: runs may replace parts."""
        if step is None or problem_of(step, self._gate) is not None:
            return None
        try:
            place = self._normaliser.answered(step)
        except Dropped:
            return None
        return place if place.parent is history and is_possible(place.pieces[-1].value, tools) else None

    def _expected(self) -> Message:
        """Return the expected answer: the calls; or the logged text, where any text will do."""
        calls = self._expectation["expected"].get("calls")
        if calls is None:
            content = self._expectation["recorded"]["message"].get("content")
            return {"role": "assistant", "content": content}
        functions = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": function} for function in functions],
        }
