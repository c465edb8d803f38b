"""The first pass: everything that may become a row goes through the stages that look at one example alone.

What passes lies in the spool with its texts; what does not lies there with its reason. Nothing is lost on the way:
``steps`` in equals entries out.
"""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tarx_toollog.export.budget import shorten
from tarx_toollog.export.example import REASONING_LEFT_OUT, Example, Piece, Refused
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.server_tokens import ServerTokens
from tarx_toollog.export.tokens import Calibration, Parts, parts_of
from tarx_toollog.store.spool import Answer, Body, Entry, Spool

Look = Callable[[Example, int], object]
"""Is shown every example with its key."""

_KNOWN_TOOLS = 1000  # lists of tools that are found by identity; a file that was read in has one a line


class _Uncounted(NamedTuple):
    """What an estimate needs, once everything is learned."""

    counted: int
    """Tokens that a server did count: those of the prompt, or none."""
    rest: Parts
    """All that was not counted."""
    learned: Parts

    def tokens(self, calibration: Calibration) -> int:
        return self.counted + calibration.estimate(self.rest)


class _Counted(NamedTuple):
    """Tokens of an example; or, where nobody counted them, what an estimate needs."""

    n_tokens: int | None
    n_trained: int | None
    tokens_from: str | None
    uncounted: _Uncounted | None = None


class Collector:
    """Fills a spool.

    Args:
        spool: Where everything goes.
        options: The limit of tokens, and what to do beyond it.
        look: Is shown every example as it was, before it is shortened.
        server: Counts what was never counted; None leaves that to an estimate.
    """

    def __init__(
        self,
        spool: Spool,
        options: ExportOptions,
        look: Look = lambda example, key: None,
        server: ServerTokens | None = None,
    ) -> None:
        self._spool = spool
        self._options = options
        self._look = look
        self._server = server
        self._tools: dict[int, tuple[Piece, int]] = {}
        self.calibration = Calibration()
        self.notes: dict[str, int] = {}
        """Note → examples that have it."""

    def take(self, found: Iterable[Example | Refused]) -> None:
        """Take in examples and refusals, in their order."""
        for item in found:
            key = self._spool.n_entries + 1
            if isinstance(item, Refused):
                self._spool.add(_refused(key, item), None)
            else:
                self._add(key, item)

    def _add(self, key: int, example: Example) -> None:
        self._look(example, key)
        counted, reason = self._count(example), None
        limit = self._options.max_tokens
        n_tokens = counted.uncounted.tokens(self.calibration) if counted.uncounted else counted.n_tokens or 0
        if n_tokens > limit:
            shorter = shorten(example, n_tokens, limit, self._options.overlong, self.calibration)
            if shorter is None:
                reason = "too_long"
            else:
                example, n_tokens = shorter
                counted = _Counted(n_tokens, self._trained(example), "estimate")
        for note in example.notes:
            self.notes[note] = self.notes.get(note, 0) + 1
        entry = self._described(key, example, counted, reason)
        self._spool.add(entry, None if reason is not None else _body(example))

    def _count(self, example: Example) -> _Counted:
        if example.input_tokens is not None:
            if REASONING_LEFT_OUT in example.notes:
                self._learn_prompt(example)
            elif example.output_tokens is not None:
                n_tokens = example.input_tokens + example.output_tokens
                if self.calibration.wants():
                    self.calibration.learn(parts_of(example.messages, example.tools), n_tokens)
                n_trained = _counted_steps(example) if example.steps else example.output_tokens
                if n_trained is not None:
                    return _Counted(n_tokens + self._more(example), n_trained, "usage")
        if self._server is not None:
            n_tokens, n_trained = self._server.count(example)
            before = [example.messages[place] for place in example.targets[:-1]]  # it counts the last answer alone
            n_trained += self.calibration.estimate(parts_of(before, None)) if before else 0
            return _Counted(n_tokens, n_trained, "server")
        return _Counted(None, None, None, _uncounted(example))

    def _learn_prompt(self, example: Example) -> None:
        """Learn from the prompt alone: the server has counted the answer with thoughts that are not in the row."""
        prompt = example.messages[:-1]
        # Behind results, the prompt itself may have held thoughts; behind a message of the user, templates write none.
        if prompt and prompt[-1].value["role"] == "user" and self.calibration.wants():
            self.calibration.learn(parts_of(prompt, example.tools), example.input_tokens or 0)

    def _more(self, example: Example) -> int:
        """Return by how much the worse answer of a pair is longer: it stands behind the same prompt."""
        if example.rejected is None:
            return 0
        answers = ((example.rejected,), example.messages[-1:])
        rejected, chosen = (self.calibration.estimate(parts_of(answer, None)) for answer in answers)
        return max(0, rejected - chosen)

    def _trained(self, example: Example) -> int:
        if example.output_tokens and REASONING_LEFT_OUT not in example.notes:
            return example.output_tokens
        return self.calibration.estimate(parts_of(example.messages[-1:], None))

    def _described(self, key: int, example: Example, counted: _Counted, reason: str | None) -> Entry:
        answers = _answers(example) if example.targets else ()
        return Entry(
            key=key,
            hash=example.hash,
            source=example.source,
            **example.origin._asdict(),
            group=example.cluster,
            registry=example.registry,
            calls=">".join([one.calls for one in answers if one.calls]) if answers else _calls(example.messages[-1]),
            n_offered=0 if example.tools is None else len(example.tools.value),
            tools=self._tools_key(example.tools),
            label=example.label,
            targets=json.dumps(example.targets) if example.targets else None,
            answers=json.dumps(answers) if answers else None,
            n_tokens=counted.n_tokens,
            n_trained=counted.n_trained,
            tokens_from=counted.tokens_from,
            parts=json.dumps(counted.uncounted) if counted.uncounted else None,
            quality=example.quality,
            reason=reason,
        )

    def _tools_key(self, tools: Piece | None) -> int | None:
        if tools is None:
            return None
        known = self._tools.get(id(tools))
        if known is None:
            if len(self._tools) >= _KNOWN_TOOLS:
                self._tools.clear()
            known = self._tools[id(tools)] = (tools, self._spool.tools_key(tools.text))
        return known[1]


def estimate_rest(spool: Spool, calibration: Calibration) -> None:
    """Estimate the tokens of every example that no server counted, with all that was learned."""

    def estimates() -> Iterable[tuple[int, int, str, int]]:
        for entry in spool.entries(only_uncounted=True):
            counted, rest, learned = json.loads(entry.parts or "[0, [], []]")
            uncounted = _Uncounted(counted, Parts(*rest), Parts(*learned))
            yield uncounted.tokens(calibration), calibration.estimate(uncounted.learned), "estimate", entry.key

    spool.set_tokens(estimates())


def _counted_steps(example: Example) -> int | None:
    """Return the tokens of all answers that a dialogue is learned from; None when one was not counted."""
    counts = [step.output_tokens for step in example.steps if step.output_tokens is not None]
    return sum(counts) if len(counts) == len(example.steps) else None


def _uncounted(example: Example) -> _Uncounted:
    learned = parts_of([example.messages[place] for place in example.targets] or example.messages[-1:], None)
    answer = example.messages[-1]
    if example.rejected is not None and example.rejected.size > answer.size:  # it stands behind the same prompt
        answer = example.rejected
    if example.input_tokens is None:
        return _Uncounted(0, parts_of((*example.messages[:-1], answer), example.tools), learned)
    return _Uncounted(example.input_tokens, parts_of((answer,), None), learned)


def _answers(example: Example) -> tuple[Answer, ...]:
    """Return the answers that a dialogue is learned from, each with its share of the tokens to learn."""
    pieces = [example.messages[place] for place in example.targets]
    if not example.steps:
        return tuple(Answer(_calls(piece), piece.size) for piece in pieces)
    is_counted = _counted_steps(example) is not None
    return tuple(
        Answer(
            _calls(piece),
            (step.output_tokens or 0) if is_counted else piece.size,
            step.origin.exchange_uid,
            step.origin.exchange_id,
            step.origin.turn_no,
            step.origin.step_no,
        )
        for piece, step in zip(pieces, example.steps, strict=True)
    )


def _calls(piece: Piece) -> str:
    return ">".join([call["function"]["name"] for call in piece.value.get("tool_calls", ())])


def _refused(key: int, item: Refused) -> Entry:
    return Entry(key=key, hash=None, source=item.source, **item.origin._asdict(), reason=item.reason)


def _body(example: Example) -> Body:
    prompt = f"[{', '.join([piece.text for piece in example.messages[:-1]])}]"
    rejected = None if example.rejected is None else example.rejected.text
    return Body(prompt, example.messages[-1].text, rejected)
