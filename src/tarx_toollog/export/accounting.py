"""What a training split is made of, in rows and in tokens to learn: by source, by tool, by place in the chain.

Rows alone mislead: an identity answer may have 20 tokens where a call has 400, and the loss sees tokens. Repeated rows
count as often as they are written. A dialogue is a row of every tool that its answers call, and of every place that
they have in their chains; its tokens are divided among them.
"""

from collections.abc import Mapping
from typing import Any

from tarx_toollog.export.markdown import as_cell
from tarx_toollog.export.mix import Answer, Meta

NO_CALL = "(no call)"
LAST_PLACE = 4
"""Places in a chain from here on are counted together."""

_TITLES = {"sources": "source", "tools": "tool called", "chain_positions": "step of the turn"}


class Accounting:
    """Counts the rows of one split."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows, repetitions included."""
        self.trained_tokens = 0
        self._groups: dict[str, dict[str, list[int]]] = {name: {} for name in _TITLES}
        self._could_call = 0
        self._did_not = 0
        self._labels = {True: 0, False: 0}

    def add(self, meta: Meta, copies: int) -> None:
        """Count an example that is written so often."""
        self.rows += copies
        self.trained_tokens += copies * meta.n_trained
        self._count("sources", meta.source, copies, copies * meta.n_trained)
        if meta.answers:
            for answer in meta.answers:
                self._learn(answer, copies, 0)
            for place in {_place(answer) for answer in meta.answers}:
                self._count("chain_positions", place, copies, 0)
            for name in {name for answer in meta.answers for name in _names(answer)}:
                self._count("tools", name, copies, 0)
        else:
            self._learn(meta, copies, copies)
        if meta.label is not None:
            self._labels[meta.label] += copies
        self._could_call += copies * meta.has_tools
        self._did_not += copies * (meta.has_tools and not meta.calls)

    @property
    def negatives(self) -> float | None:
        """Share of rows without a call among those that could have called; None when there are none."""
        return self._did_not / self._could_call if self._could_call else None

    def as_json(self) -> dict[str, Any]:
        """Return all figures; groups from the most to the fewest tokens, places in a chain in order."""
        negatives = self.negatives
        return {
            "rows": self.rows,
            "trained_tokens": self.trained_tokens,
            "negatives": None if negatives is None else round(negatives, 4),
            **({"labels": {"good": self._labels[True], "bad": self._labels[False]}} if self._has_labels else {}),
            **{name: self._group(name) for name in _TITLES},
        }

    def as_text(self) -> str:
        """Return the figures as Markdown tables."""
        tables = [_table(title, self._group(name), self.trained_tokens) for name, title in _TITLES.items()]
        share = "–" if self.negatives is None else f"{self.negatives:.1%}"
        tables.append(f"Rows without a call, of those to which tools were offered: {share}.\n")
        if self._has_labels:
            tables.append(f"Good answers: {self._labels[True]:,}; bad ones: {self._labels[False]:,}.\n")
        return "\n".join(tables)

    def _learn(self, answer: Meta | Answer, copies: int, rows: int) -> None:
        """Count the tokens of an answer that is written so often, and its rows."""
        self._count("chain_positions", _place(answer), rows, copies * answer.n_trained)
        names = _names(answer)
        # The tokens of parallel calls are divided among their tools, so that the column adds up.
        tokens, rest = divmod(copies * answer.n_trained, len(names))
        for ordinal, name in enumerate(names):
            self._count("tools", name, rows, tokens + (rest if ordinal == 0 else 0))

    @property
    def _has_labels(self) -> bool:
        return any(self._labels.values())

    def _count(self, group: str, name: str, rows: int, tokens: int) -> None:
        counts = self._groups[group].setdefault(name, [0, 0])
        counts[0] += rows
        counts[1] += tokens

    def _group(self, name: str) -> dict[str, dict[str, int]]:
        counts = self._groups[name].items()
        if name == "chain_positions":
            ordered = sorted(counts)
        else:
            ordered = sorted(counts, key=lambda item: (-item[1][1], item[0]))
        return {key: {"rows": rows, "trained_tokens": tokens} for key, (rows, tokens) in ordered}


def _place(answer: Meta | Answer) -> str:
    return str(answer.step_no) if answer.step_no < LAST_PLACE else f"{LAST_PLACE}+"


def _names(answer: Meta | Answer) -> tuple[str, ...]:
    return tuple(dict.fromkeys(answer.calls)) or (NO_CALL,)


def _table(title: str, group: Mapping[str, Mapping[str, int]], total: int) -> str:
    lines = [f"| {title} | rows | trained tokens | share |", "|---|--:|--:|--:|"]
    for name, counts in group.items():
        share = counts["trained_tokens"] / total if total else 0.0
        lines.append(f"| {as_cell(name)} | {counts['rows']:,} | {counts['trained_tokens']:,} | {share:.1%} |")
    return "\n".join(lines) + "\n"
