"""The first pass: everything that may become a row goes through the stages that look at one example alone.

What passes lies in the spool with its texts; what does not lies there with its reason. Nothing is lost on the way:
``steps`` in equals entries out.
"""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tarx_toollog.export.budget import shorten
from tarx_toollog.export.example import Example, Piece, Refused
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.server_tokens import ServerTokens
from tarx_toollog.export.tokens import Calibration, Parts, parts_of
from tarx_toollog.store.spool import Body, Entry, Spool

Look = Callable[[Example, int], object]
"""Is shown every example with its key."""

_KNOWN_TOOLS = 1000  # lists of tools that are found by identity; a file that was read in has one a line


class _Counted(NamedTuple):
    n_tokens: int | None
    n_trained: int | None
    parts: str | None
    tokens_from: str | None


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
        if self._estimated(example, counted) > limit:
            shorter = shorten(
                example, self._estimated(example, counted), limit, self._options.overlong, self.calibration
            )
            if shorter is None:
                reason = "too_long"
            else:
                example, n_tokens = shorter
                counted = _Counted(n_tokens, self._trained(example), None, "estimate")
        for note in example.notes:
            self.notes[note] = self.notes.get(note, 0) + 1
        entry = self._described(key, example, counted, reason)
        self._spool.add(entry, None if reason is not None else _body(example))

    def _count(self, example: Example) -> _Counted:
        if example.input_tokens is not None and example.output_tokens is not None:
            n_tokens = example.input_tokens + example.output_tokens + self._more(example)
            if self.calibration.wants():
                whole = parts_of(example.messages, example.tools)
                self.calibration.learn(whole, example.input_tokens + example.output_tokens)
            return _Counted(n_tokens, example.trained_tokens or example.output_tokens, None, "usage")
        if self._server is not None:
            return _Counted(*self._server.count(example), None, "server")
        learned = [example.messages[place] for place in example.targets] or [example.messages[-1]]
        longer = () if example.rejected is None else (example.rejected,)  # counted with the rest: better too long
        parts = (parts_of((*example.messages, *longer), example.tools), parts_of(learned, None))
        return _Counted(None, None, json.dumps(parts), None)

    def _more(self, example: Example) -> int:
        """Return by how much the worse answer of a pair is longer: it stands behind the same prompt."""
        if example.rejected is None:
            return 0
        answers = ((example.rejected,), example.messages[-1:])
        rejected, chosen = (self.calibration.estimate(parts_of(answer, None)) for answer in answers)
        return max(0, rejected - chosen)

    def _estimated(self, example: Example, counted: _Counted) -> int:
        if counted.n_tokens is not None:
            return counted.n_tokens
        return self.calibration.estimate(parts_of(example.messages, example.tools))

    def _trained(self, example: Example) -> int:
        return example.output_tokens or self.calibration.estimate(parts_of(example.messages[-1:], None))

    def _described(self, key: int, example: Example, counted: _Counted, reason: str | None) -> Entry:
        answer = example.messages[-1].value
        return Entry(
            key=key,
            hash=example.hash,
            source=example.source,
            **example.origin._asdict(),
            group=example.cluster,
            registry=example.registry,
            calls=">".join([call["function"]["name"] for call in answer.get("tool_calls", ())]),
            n_offered=0 if example.tools is None else len(example.tools.value),
            tools=self._tools_key(example.tools),
            label=example.label,
            targets=json.dumps(example.targets) if example.targets else None,
            n_tokens=counted.n_tokens,
            n_trained=counted.n_trained,
            tokens_from=counted.tokens_from,
            parts=counted.parts,
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
            whole, learned = (Parts(*part) for part in json.loads(entry.parts or "[[], []]"))
            yield calibration.estimate(whole), calibration.estimate(learned), "estimate", entry.key

    spool.set_tokens(estimates())


def _refused(key: int, item: Refused) -> Entry:
    return Entry(key=key, hash=None, source=item.source, **item.origin._asdict(), reason=item.reason)


def _body(example: Example) -> Body:
    prompt = f"[{', '.join([piece.text for piece in example.messages[:-1]])}]"
    rejected = None if example.rejected is None else example.rejected.text
    return Body(prompt, example.messages[-1].text, rejected)
