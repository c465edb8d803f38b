"""The pages of tools, made of the figures of the store: charts whose shapes lead to the calls behind them."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from tarx_toollog.store.answers.argument_values import ArgumentUse
from tarx_toollog.store.answers.calls import KINDS
from tarx_toollog.store.answers.definition_diff import Change
from tarx_toollog.store.answers.tool_details import ToolDetail
from tarx_toollog.web import addresses
from tarx_toollog.web.charts import Amount, Bar, Chart, Series, columns, rows
from tarx_toollog.web.outcomes import OUTCOMES

MAX_TOOLS = 20
"""Tools in the chart of the list: the table below it has them all."""

_FAULTS = ("invalid", "schema", "not_offered", "incomplete", "leaked", "error")
_MAX_DAYS = 62  # bars side by side; of a longer time the latest
_LINES = 400  # of a definition that a diff compares: more takes a second
_DAY = timedelta(days=1)


class DiffLine(NamedTuple):
    """One line of two versions of something, laid over each other."""

    mark: str
    """``+`` only in the later one, ``-`` only in the earlier one, a blank in both."""
    text: str


def tools_chart(totals: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> Chart | None:
    """Return the calls of the tools that are called most; None where there are none.

    Args:
        totals: Rows of ``tools.tool_totals``.
        query: The filters of the page.
    """
    shown = totals[:MAX_TOOLS]
    bars = [
        Bar(
            row["tool"],
            [
                Amount(n, addresses.calls(**{**query, "tool": row["tool"], "kind": kind}))
                for n, (_, kind) in zip(_by_outcome(row, ""), OUTCOMES, strict=True)
            ],
            addresses.tool(row["tool"], **_without(query, "tool")),
        )
        for row in shown
    ]
    return rows("Calls by tool", "tool", "calls", [series for series, _ in OUTCOMES], bars) if bars else None


def days_chart(found: ToolDetail, query: Mapping[str, str]) -> Chart | None:
    """Return the calls of a tool by day; None where they are not known."""
    bars = []
    for row in found.days[-_MAX_DAYS:]:
        day = date.fromisoformat(row["day"])
        period = {"since": day.isoformat(), "until": (day + _DAY).isoformat(), "tool": found.name}
        amounts = [
            Amount(n, addresses.calls(**{**query, **period, "kind": kind}))
            for n, (_, kind) in zip(_by_outcome(row, "n_"), OUTCOMES, strict=True)
        ]
        bars.append(Bar(day.isoformat(), amounts, addresses.calls(**{**query, **period})))
    return columns("Calls by day", "day (UTC)", "calls", [series for series, _ in OUTCOMES], bars) if bars else None


def faults_chart(found: ToolDetail, query: Mapping[str, str]) -> Chart | None:
    """Return in which ways calls of a tool failed; None where none did."""
    if found.total is None or not found.total["failed"]:
        return None
    bars = []
    for kind in _FAULTS:
        href = addresses.calls(**{**query, "tool": found.name, "kind": kind})
        n = found.total[_COLUMN[kind]]
        bars.append(Bar(KINDS[kind].words, [Amount(n, href)], href if n else None))
    return rows("Calls that failed, by kind", "kind", "calls", [Series("faulty", "calls")], bars)


def values_chart(use: ArgumentUse) -> Chart:
    """Return the most frequent values of an argument."""
    bars = [Bar(text, [Amount(n)]) for text, n in use.values]
    return rows(f"The most frequent values of {use.name}", "value", "calls", [Series("a", "calls")], bars)


def diff_lines(change: Change) -> list[DiffLine]:
    """Return one change of a definition line by line.

    Example:
        >>> diff_lines(Change("/required", True, True, ["a"], ["a", "b"]))[-1]
        DiffLine(mark=' ', text=']')
    """
    before = _lines(change.before) if change.was_there else []
    after = _lines(change.after) if change.is_there else []
    found: list[DiffLine] = []
    for tag, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            found += [DiffLine(" ", line) for line in before[i:j]]
        else:
            found += [DiffLine("-", line) for line in before[i:j]]
            found += [DiffLine("+", line) for line in after[k:m]]
    return found


_COLUMN = {
    "invalid": "invalid_arguments",
    "schema": "schema_failures",
    "not_offered": "not_offered",
    "incomplete": "incomplete",
    "leaked": "leaked",
    "error": "error_results",
}
"""Kind of call → the figure of a tool that counts it."""


def _by_outcome(row: Mapping[str, Any], prefix: str) -> tuple[int, int, int, int]:
    """Return how many calls there were of each outcome, from a row of totals or of the tally."""
    bad = row["n_bad" if prefix else "bad_calls"]
    calls, failed, unanswered = (row[f"{prefix}{name}"] for name in ("calls", "failed", "unanswered"))
    return calls - failed - unanswered, bad, failed - bad, unanswered


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return text.splitlines()[:_LINES]


def _without(query: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if name not in names}
