"""One tool as text that a person reads in a terminal, and as an object for a program."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tarx_toollog.cli.output import cell_text
from tarx_toollog.store.answers.argument_values import ArgumentUse, Spread
from tarx_toollog.store.answers.definition_diff import Change
from tarx_toollog.store.answers.tool_details import ToolDetail, Version
from tarx_toollog.store.answers.tool_failures import Failures

_VALUES = 5  # of an argument
_LONG = 160  # characters of one value or error on a line


def tool_object(found: ToolDetail) -> dict[str, Any]:
    """Return what is known of a tool as an object."""
    return asdict(found) | {
        "arguments": [
            asdict(use) | {"values": [{"json": text, "calls": n} for text, n in use.values]} for use in found.arguments
        ],
    }


def tool_text(found: ToolDetail) -> str:
    """Return what is known of a tool as text."""
    lines = [f"tool {found.name}"]
    for title, part in (
        ("", _totals(found)),
        ("what goes wrong", _failures(found.failures)),
        ("definition", _definition(found)),
        ("versions", _versions(found.versions)),
        (f"arguments, of the latest {found.n_read} calls", _arguments(found)),
    ):
        shown = list(part)
        if shown:
            lines += ["", f"{title}:"] if title else []
            lines += [f"  {line}" for line in shown]
    return "\n".join(lines)


def _totals(found: ToolDetail) -> Iterator[str]:
    if found.total is None:
        yield "never called"
        return
    total = found.total
    yield f"calls           {total['calls']}, {total['failed']} failed ({100 * total['error_share']:.1f} %)"
    kinds = f"{total['invalid_arguments']} no JSON, {total['schema_failures']} against the schema"
    more = f"{total['not_offered']} not offered, {total['incomplete']} cut off, {total['leaked']} leaked"
    yield f"bad calls       {total['bad_calls']}: {kinds}, {more}"
    yield f"error results   {total['error_results']} of {total['results']} results, {total['unanswered']} without one"
    if (median := found.latency.get("p50_ms")) is not None:
        yield (
            f"latency         {median:.0f} ms for a half, {found.latency['p95_ms']:.0f} ms for 95 %, "
            f"{found.latency['p99_ms']:.0f} ms for 99 %"
        )
    yield f"called          {cell_text(total['first_called_at'])} to {cell_text(total['last_called_at'])} (UTC)"


def _failures(found: Failures) -> Iterator[str]:
    if not found.n_read:
        return
    yield f"of the latest {found.n_read} failed calls"
    for reason in found.reasons:
        where = f"  [{reason.conversation_uid} {reason.turn_no}.{reason.step_no}]" if reason.conversation_uid else ""
        yield f"{reason.n:6} {reason.words}{f': {_short(reason.text)}' if reason.text else ''}{where}"
    yield f"{found.retried:6} were followed by another call of it in the turn; after {found.mended} that went well"


def _definition(found: ToolDetail) -> Iterator[str]:
    if not found.versions:
        yield "no request has offered a tool of this name"
        return
    now = found.versions[0]
    yield from now.description.splitlines()
    for one in now.parameters:
        rest = f" {json.dumps(one.rest, ensure_ascii=False)}" if one.rest else ""
        need = ", required" if one.is_required else ""
        yield f"- {one.name} ({one.type}{need}){rest}{f': {one.description}' if one.description else ''}"


def _versions(versions: Sequence[Version]) -> Iterator[str]:
    for version in versions:
        times = (cell_text(moment) for moment in (version.first_at, version.last_at))
        seen = f"{version.n_exchanges} exchanges, {' to '.join(times)}" if version.n_exchanges else "never offered"
        yield f"{version.number}  {version.definition[:12]}  {seen}"
        yield from (f"     {_change(change)}" for change in version.changes)


def _change(change: Change) -> str:
    before, after = (_short(json.dumps(value, ensure_ascii=False)) for value in (change.before, change.after))
    if not change.was_there:
        return f"+ {change.path}: {after}"
    return f"- {change.path}: {before}" if not change.is_there else f"~ {change.path}: {before} → {after}"


def _arguments(found: ToolDetail) -> Iterator[str]:
    for use in found.arguments:
        types = " or ".join(use.types)
        yield f"{use.name}: given {use.given} times, {types}, {use.n_values} different values{_spread(use)}"
        yield from (f"{n:6}  {_short(text)}" for text, n in use.values[:_VALUES])


def _spread(use: ArgumentUse) -> str:
    def told(words: str, spread: Spread | None) -> str:
        return "" if spread is None else f", {words} {spread.least} to {spread.most} (median {spread.median})"

    return told("length", use.lengths) + told("numbers", use.numbers)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[:_LONG]}…"
