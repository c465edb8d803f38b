"""A run as one HTML file, which opens from disk without a network: figures, curve, confusion, and every step.

Everything that a model or a user wrote is escaped, and a policy in the page forbids it to load or run anything but its
own style and script.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from tarx_toollog.replay.reports.axes import AXES
from tarx_toollog.replay.reports.comparison import Comparison
from tarx_toollog.replay.reports.comparison_text import how_sure, verdict_text
from tarx_toollog.replay.reports.details import StepDetail, confusion
from tarx_toollog.replay.reports.drawing import interval_bar, survival_curve
from tarx_toollog.replay.reports.report import Report
from tarx_toollog.replay.reports.text_report import (
    p_text,
    scorer_shares,
    tier_statement,
    undetermined_lines,
    warnings,
    weight_note,
)
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.replay.statistics.proportion import Proportion

_LONG = 4000  # characters of a text that are shown
_SUMMARY = 120  # of what the user said, in a line


def report_html(report: Report, steps: Iterable[StepDetail], compared: Comparison | None = None) -> str:
    """Return the run as a page.

    Args:
        report: Its figures.
        steps: Each step of it.
        compared: The run beside another one, where somebody asked for that: its regressions come first.
    """
    style, script = (_asset(name) for name in ("report.css", "report.js"))
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    title = escape(f"Replay {report.run.name}")
    body = "\n".join(_body(report, list(steps), compared))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{style}</style></head>\n'
        f"<body><main>\n{body}\n</main><script>{script}</script></body></html>\n"
    )


def _body(report: Report, steps: list[StepDetail], compared: Comparison | None) -> Iterator[str]:
    run = report.run
    yield f"<h1>{escape(run.name)}</h1>"
    asked = f"{report.asked.asked} of {report.asked.total} {report.asked.unit} asked, {escape(run.status)}"
    yield f"<p>{escape(run.model)} at {escape(run.endpoint)}, scenarios {escape(run.tag)}: {asked}.</p>"
    yield f"<p class=tier>{escape(tier_statement(report))}</p>"
    yield from (f"<p class=bad>{escape(warning)}</p>" for warning in warnings(report))
    if compared is not None:
        yield from _compared(compared, {(step.scenario_uid, step.step_no): step.asked for step in steps})
    yield "<h2>How often it is right</h2>"
    yield from _shares(report)
    if report.survival:
        sentence = escape(report.frontier.sentence)
        yield f"<h2>How deep it goes</h2><p>Chains that are right up to each step: {sentence}.</p>"
        yield survival_curve(report.survival, report.frontier.min_share)
        yield from _survival(report)
    yield from _axes(report)
    yield from _confusion(steps)
    yield from _steps(report, steps)


def _compared(compared: Comparison, asked: Mapping[tuple[str, int], str]) -> Iterator[str]:
    chains = compared.chains
    yield f"<h2>{escape(verdict_text(compared))}</h2>"
    yield "<table><tr><th>chains: both right<th>only the first<th>only the second<th>neither"
    yield "<th>p (mid-p McNemar, by groups where turns hang together)</tr>"
    yield (
        f"<tr><td>{chains.both}<td>{chains.only_first}<td>{chains.only_second}<td>{chains.neither}"
        f"<td>{escape(p_text(chains.mid_p))}</tr></table>"
    )
    yield from (f"<p>{escape(note.strip())}</p>" for note in how_sure(chains))
    for doubt in compared.doubts:
        yield f"<p class=bad>doubt: {escape(doubt)}</p>"
    for name, changes in (("regressions", compared.regressions), ("gains", compared.gains)):
        yield f"<h3>{name} ({len(changes)})</h3><ul>"
        for change in changes:
            link = f"#{escape(change.scenario_uid)}-{change.step_no}"
            place = f"turn {change.turn_no}" + (f", step {change.step_no}" if change.step_no else "")
            words = escape(asked.get((change.scenario_uid, change.step_no), "")[:_SUMMARY])
            yield f'<li><a href="{link}">{words or "(nothing)"}</a>, {place}: <code>{escape(str(change.code))}</code>'
        yield "</ul>"


def _shares(report: Report) -> Iterator[str]:
    yield "<table><tr><th><th>right<th>95 % interval<th>of</tr>"
    yield _share(f"chains ({report.word})", report.chains)
    if report.bronze_chains is not None:
        yield _share("bronze chains (agreement)", report.bronze_chains)
    for name, share, base in scorer_shares(report):
        yield _share(f"{name} {base}", share)
    parts = {"steps by decision": report.decisions, "steps by depth": report.depths, "chains": report.signatures}
    for title, slices in parts.items():
        if len(slices) > 1:
            yield f"<tr><th colspan=4>{title}</tr>"
            yield from (_share(part.key, part.agreement) for part in slices)
    yield "</table>"
    if note := weight_note(report):
        yield f"<p>Chains count {escape(note)}.</p>"
    if lines := " ".join(undetermined_lines(report)):
        yield f"<p>{escape(lines)}.</p>"


def _share(name: str, share: Proportion) -> str:
    if share.estimate is None:
        return f"<tr><td>{escape(name)}<td>–<td><td>0</tr>"
    interval = f"{share.low * 100:.1f}–{share.high * 100:.1f} %"
    return (
        f"<tr><td>{escape(name)}<td>{share.estimate * 100:.1f} %<td>{interval_bar(share)} {interval}"
        f"<td>{share.numerator}/{share.denominator}</tr>"
    )


def _survival(report: Report) -> Iterator[str]:
    """Yield the curve as a table, for who cannot see it or wants the figures."""
    yield "<table><tr><th>up to step<th>right<th>95 % interval<th>wrong there<th>of chains that came so far</tr>"
    for step in report.survival:
        interval = f"{step.low * 100:.1f}–{step.high * 100:.1f} %"
        right = f"{step.share * 100:.1f} %"
        yield f"<tr><td>{step.step_no}<td>{right}<td>{interval}<td>{step.failed}<td>{step.at_risk}</tr>"
    yield "</table>"


def _axes(report: Report) -> Iterator[str]:
    if not report.axes:
        return
    yield "<h2>Where it gets hard</h2>"
    yield "<p>Axes hang together: one along which the model fails is where to look, and not the cause.</p>"
    yield "<table><tr><th>steps by<th>right<th>95 % interval<th>of</tr>"
    before = ""
    for part in report.axes:
        if part.axis != before:
            yield f"<tr><th colspan=4>{escape(AXES[part.axis])}</tr>"
        before = part.axis
        yield _share(f"{part.low:g}" if part.low == part.high else f"{part.low:g} to {part.high:g}", part.share)
    yield "</table>"


def _confusion(steps: Sequence[StepDetail]) -> Iterator[str]:
    rows, columns, counts = confusion(steps)
    if not rows:
        return
    yield "<h2>What was called where what was expected</h2>"
    yield "<div class=wide><table class=matrix><tr><th>expected ↓ called →"
    yield "".join(f"<th>{escape(name)}" for name in columns) + "</tr>"
    for row in rows:
        cells = "".join(
            f"<td class={'same' if row == column else 'other'}>{counts[row, column]}" if counts[row, column] else "<td>"
            for column in columns
        )
        yield f"<tr><th>{escape(row)}{cells}</tr>"
    yield "</table></div>"


def _steps(report: Report, steps: Sequence[StepDetail]) -> Iterator[str]:
    codes = "".join(f"<option>{escape(failure.code)}" for failure in report.failures)
    yield "<h2>Steps</h2><p>"
    yield "<label>show <select id=state><option>wrong<option>all<option>right<option>unjudged</select></label>"
    yield f"<label>code <select id=code><option>any{codes}</select></label>"
    yield "<label>contains <input id=text></label> <span id=count role=status></span></p>"
    order = {"wrong": 0, "unjudged": 1, "right": 2}
    for step in sorted(steps, key=lambda step: order[step.state]):
        yield from _step(step)


def _step(step: StepDetail) -> Iterator[str]:
    code = escape(step.code or "")
    uid = escape(step.scenario_uid)
    yield f'<details id="{uid}-{step.step_no}" data-state="{step.state}" data-code="{code}">'
    meaning = escape(CODES.get(step.code or "", step.error or ""))
    place = f"step {step.step_no} of {step.n_steps}" if step.step_no else "the whole turn"
    yield (
        f"<summary><b class={step.state}>{step.state}</b> <code>{code}</code> {escape(step.asked[:_SUMMARY])} "
        f"<small>{place}</small></summary><p>{meaning}</p>"
    )
    yield f"<p><b>user</b></p><pre>{_short(step.asked)}</pre>"
    if step.last is not None:
        yield f"<p><b>last result</b></p><pre>{_short(step.last)}</pre>"
    yield f"<div class=pair><div><b>expected</b>{_calls(step.expected)}</div><div><b>made</b>{_calls(step.made)}"
    yield f"<pre>{_short(step.text)}</pre></div></div>" if step.text else "</div></div>"
    if step.findings:
        yield "<table><tr><th>finding<th>where<th>expected<th>actual</tr>"
        yield from map(_finding, step.findings)
        yield "</table>"
    exchange = f"exchange {escape(step.exchange_uid)}, " if step.exchange_uid else ""
    yield f"<p><small>{exchange}scenario {uid}, conversation {escape(step.conversation_uid)}</small></p></details>"


def _finding(found: Mapping[str, Any]) -> str:
    where = escape(f"{found.get('name', '')}{found.get('path', '')}")
    cells = "".join(f"<td><pre>{_short(_json(found.get(key)))}</pre>" for key in ("expected", "actual"))
    soft = " (soft)" if found.get("soft") else ""
    return f"<tr><td><code>{escape(str(found.get('code')))}</code>{soft}<td>{where}{cells}</tr>"


def _calls(calls: Sequence[Mapping[str, Any]]) -> str:
    if not calls:
        return "<pre>(answer)</pre>"
    shown = "\n".join(f"{call['name']}({_json(call['arguments'])})" for call in calls)
    return f"<pre>{_short(shown)}</pre>"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _short(text: str | None) -> str:
    text = text or ""
    return escape(text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text)} characters)")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
