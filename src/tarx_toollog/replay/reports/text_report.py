"""A report as plain text for a terminal or a log file: one screen, no colour, no library."""

import json
from collections.abc import Iterable, Iterator

from tarx_toollog.replay.reports.report import Failure, Report, Slice
from tarx_toollog.replay.scenario import BRONZE, GOLD, TIERS
from tarx_toollog.replay.statistics.proportion import Proportion
from tarx_toollog.store.replays import LOST, UNTIL

_LABELS = {
    "step": "step {word}",
    "step_strict": "the same, strictly",
    "step_lenient": "the same, leniently",
    "name": "right tools",
    "schema": "valid against schema",
    "parse": "arguments readable",
    "arguments": "same arguments",
    "arguments_strict": "same arguments, strictly",
}
_BASES = {
    "step": "of all steps",
    "step_strict": "of all steps",
    "step_lenient": "of all steps",
    "name": "of steps where a call is expected",
    "schema": "of answers with calls",
    "parse": "of answers with calls",
    "arguments": "of steps with the right tools",
    "arguments_strict": "of steps with the right tools",
}
_MAX_ROWS = 10
_BAR = 30  # columns of a bar
_MAX_EXAMPLE = 140
_SMALL = 30  # below it even a perfect run leaves more than ten points open


def report_text(report: Report) -> str:
    """Return the report as text."""
    return "\n".join(_lines(report)) + "\n"


def share_text(share: Proportion) -> str:
    """Return a share with its interval and counts.

    Example:
        >>> from tarx_toollog.replay.statistics.proportion import wilson
        >>> share_text(wilson(17, 20))
        ' 85.0 %  [64.0–94.8]  17/20'
    """
    if share.estimate is None:
        return "     –                 0/0"
    interval = f"[{share.low * 100:.1f}–{share.high * 100:.1f}]"
    return f"{share.estimate * 100:5.1f} %  {interval:<13}{share.numerator}/{share.denominator}"


def p_text(p: float) -> str:
    """Return the p of a test: never as 0, which it cannot be."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def tier_statement(report: Report) -> str:
    """Return the sentence that must stand beside every figure of the report."""
    if not report.is_accuracy:
        return "bronze: agreement with the log, not accuracy. Nobody has verified that the logged calls were right."
    if set(report.tiers) == {GOLD}:
        return "gold: a person said what is right; the figures are accuracy."
    counts = ", ".join(f"{name} {report.tiers[name]}" for name in TIERS if name in report.tiers)
    if BRONZE not in report.tiers:
        return f"{counts}: somebody said what is right; the figures are accuracy."
    return f"{counts}: chain accuracy is of all but bronze, which is agreement with the log; other lines are of all."


def undetermined_lines(report: Report) -> Iterator[str]:
    """Yield what must stand beside the share of chains where some left what was recorded; else nothing."""
    found = report.undetermined
    if found is not None:
        low, high = ((share.estimate or 0.0) * 100 for share in report.undetermined_shares)
        yield f"{found.n_undetermined} of {found.n} left what was recorded, and are not counted: with them the"
        yield f"share lies between {low:.1f} % (all of them wrong) and {high:.1f} % (all of them right)"


def exploratory_note(report: Report) -> Iterator[str]:
    """Yield what the figures of a closed loop mean that goes on after a divergence; else nothing."""
    if report.run.params.get("on_divergence") == "error-result":
        yield "exploratory: models were told that a tool is not available, where nobody knows what it would have said;"
        yield "the figures say how a model copes with that, and not how good it is."


def warnings(report: Report) -> Iterator[str]:
    """Yield what must be known before the figures are believed."""
    unit = report.asked.unit
    yield from exploratory_note(report)
    if report.asked.infra_errors:
        what = "resume the run" if not report.is_valid else "they are not counted"
        begin = "" if report.is_valid else "NOT VALID: "
        yield f"{begin}{report.asked.infra_errors} {unit} have no answer because of the infrastructure; {what}."
        why = ", ".join(f"{reason} {count}" for reason, count in report.asked.why_infra.items())
        yield f"    {_cut(why, _MAX_EXAMPLE)}"
    for lost in (report.run.server or {}).get(LOST, ()):
        yield f"{lost['endpoint']} went away while it was asked ({lost['error']}); the others did its part."
    if (until := report.run.params.get(UNTIL)) is not None:
        yield f"The run was to end as soon as {until:g} was clear, so its chains are not those of a whole suite:"
        command = f"toollog replay gate {report.run.name} --sequential --min-accuracy {until:g}"
        yield f"    `{command}` has the interval that holds."
    if report.accepted.n_answers:
        yield f"{report.accepted}."
    if report.asked.model_errors:
        yield f"{report.asked.model_errors} {unit} ended in an error of the server; they count as failed."
    yield from server_note(report)
    if report.asked.unscored:
        yield f"{report.asked.unscored} answers have no score yet: `toollog replay score {report.run.name}`"
    for reason, count in report.chains_unjudged.items():
        yield f"chains that are not judged: {count} ({reason})."
    if 0 < report.chains.denominator < _SMALL:
        count = report.chains.denominator
        yield f"only {count} {'chain' if count == 1 else 'chains'}: read the interval, not the percentage."


def server_note(report: Report) -> Iterator[str]:
    """Yield a doubt where nothing but errors came back: a server that is set up wrong looks like a hopeless model."""
    answered = report.asked.asked - report.asked.infra_errors
    if report.asked.model_errors == answered > 0:
        yield "every answer is an error of the server: look at its log before you hold that against the model."


def scorer_shares(report: Report) -> Iterator[tuple[str, Proportion, str]]:
    """Yield what each scorer says: its name in words, the share with full marks, and what it is a share of."""
    for name in sorted(report.scorers, key=_place):
        share = report.scorers[name]
        if name in _LABELS or share.denominator:  # others have nothing to say of this run
            yield _LABELS.get(name, name).format(word=_step_word(report)), share, _BASES.get(name, "")


def weight_note(report: Report) -> str:
    """Return how chains count, where they do not count alike; else nothing."""
    return "" if report.chains.weighted is None else "each for as many of the log as it stands for"


def _lines(report: Report) -> Iterator[str]:
    run = report.run
    yield f"run {run.name}: {run.model} at {run.endpoint}, scenarios {run.tag}, {run.status}"
    how = "the model goes its own way" if report.asked.unit == "turns" else "each with the logged history"
    yield f"    {report.asked.asked} of {report.asked.total} {report.asked.unit} asked; {how}"
    yield tier_statement(report)
    yield from warnings(report)
    yield ""
    yield f"{f'chain {report.word}':<26}{share_text(report.chains)}  {_of_chains(report)}"
    yield from _more_chains(report)
    word = _step_word(report)
    for name, share, base in scorer_shares(report):
        yield f"{name:<26}{share_text(share)}  {base}".rstrip()
    yield from _attempts(report)
    yield "    in brackets: 95 % interval (Wilson, wider where turns hang together), then the counts; decide on chains"
    yield from _table(f"step {word} by decision", report.decisions)
    yield from _table(f"step {word} by depth", report.depths)
    yield from _survival(report)
    yield from _table(f"chain {word} by signature", report.signatures)
    yield from _failures(report.failures)


def _of_chains(report: Report) -> str:
    what = "turns that do what they should" if report.asked.unit == "turns" else "turns in which every step is right"
    return ", ".join(filter(None, (what, weight_note(report))))


def _more_chains(report: Report) -> Iterator[str]:
    if report.bronze_chains is not None:
        yield f"{'bronze chain agreement':<26}{share_text(report.bronze_chains)}  nobody verified these"
    yield from (f"    {line}" for line in undetermined_lines(report))


def _step_word(report: Report) -> str:
    return "agreement" if BRONZE in report.tiers else "accuracy"


def _place(name: str) -> int:
    """Return the line of a scorer; those of third parties come last."""
    return list(_LABELS).index(name) if name in _LABELS else len(_LABELS)


def _table(title: str, slices: tuple[Slice, ...]) -> Iterator[str]:
    if len(slices) < 2:  # one row would repeat the headline
        return
    yield ""
    yield title
    for part in slices[:_MAX_ROWS]:
        yield f"    {_cut(part.key, 40):<40}  {share_text(part.agreement)}"
    if len(slices) > _MAX_ROWS:
        yield f"    … {len(slices) - _MAX_ROWS} more (--json shows all)"


def _attempts(report: Report) -> Iterator[str]:
    found = report.attempts
    if found is None or found.every_time is None or found.some_time is None:
        return
    every, some = f"{found.every_time * 100:.1f} % (pass^{found.k})", f"{found.some_time * 100:.1f} % (pass@{found.k})"
    yield f"    of {found.k} attempts: every one right {every}, one of them {some}; the other lines are of the first"
    yield f"    {found.n_flaky} of {found.n_scenarios} chains are right in some attempts and wrong in others"


def _survival(report: Report) -> Iterator[str]:
    if not report.survival:
        return
    yield ""
    yield f"chains that are right up to each step: {report.frontier.sentence}"
    for step in report.survival[:_MAX_ROWS]:
        bar = "█" * round(step.share * _BAR)
        interval = f"[{step.low * 100:.1f}–{step.high * 100:.1f}]"
        yield f"    step {step.step_no:<3}{bar:<{_BAR}}  {step.share * 100:5.1f} %  {interval:<13}of {step.at_risk}"


def _failures(failures: Iterable[Failure]) -> Iterator[str]:
    shown = list(failures)
    if not shown:
        return
    yield ""
    yield "what went wrong (the first thing wrong with each step)"
    for failure in shown[:_MAX_ROWS]:
        yield f"    {failure.count:>5}  {failure.code}: {failure.meaning}"
        finding = {key: value for key, value in failure.example["finding"].items() if key != "code"}
        example = json.dumps(finding, ensure_ascii=False)
        yield f"           e.g. exchange {failure.example['exchange_uid']}: {_cut(example, _MAX_EXAMPLE)}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
