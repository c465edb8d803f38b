"""What a gate says, as plain text: the verdict, the figures, and what to do next."""

from collections.abc import Iterator

from tarx_toollog.replay.reports.gate import Gate, GateVerdict
from tarx_toollog.replay.reports.text_report import exploratory_note, server_note, share_text, tier_statement
from tarx_toollog.replay.scenario import BRONZE

_SAYS: dict[GateVerdict, str] = {
    "pass": "PASS: at least {bound} of chains {agree}",
    "fail": "FAIL: less than {bound} of chains {agree}",
    "inconclusive": "INCONCLUSIVE: it is not clear whether {bound} of chains {agree}",
    "invalid": "NOT VALID: too many steps have no answer to say whether {bound} of chains {agree}",
}


def gate_text(gate: Gate) -> str:
    """Return the verdict with its figures as text."""
    return "\n".join(_lines(gate)) + "\n"


def _lines(gate: Gate) -> Iterator[str]:
    chains, run = gate.chains, gate.report.run
    agree = "agree with the log" if BRONZE in gate.tiers else "are right"
    yield _SAYS[gate.verdict].format(bound=f"{gate.min_accuracy * 100:g} %", agree=agree)
    yield f"    run {run.name}: {run.model}, scenarios {run.tag}"
    yield f"    {share_text(chains).strip()} chains, {_counted(gate)}"
    if gate.n_undetermined:
        yield f"    {gate.n_undetermined} more left what was recorded: wrong for PASS, right for FAIL"
    yield f"    in brackets: {chains.confidence * 100:g} % interval ({chains.method}), then the counts"
    if chains.n_effective is not None:
        yield f"    they tell as much as {chains.n_effective:.1f} chains that have nothing to do with each other"
    low, high = (f"{probability * 100:.1f} %" for probability in gate.probability)
    chance = f"between {low} and {high}, by the undetermined ones" if gate.n_undetermined else low
    yield f"    chance that the true share is that high, for someone who had no opinion before: {chance}"
    if gate.covered < 1:
        yield f"    they speak for {gate.covered * 100:.1f} % of what the suite stands for; of the rest no chain counts"
    if gate.ignores_weights:
        yield "    a sequential gate counts all chains alike: it speaks for the suite, not for the log"
    if gate.is_sequential and gate.n_largest > 1:
        yield "    of each group the first chain counts alone: large groups have to fare as small ones do"
    yield tier_statement(gate.report)
    yield from exploratory_note(gate.report)
    yield from server_note(gate.report)
    yield from _rules(gate)
    yield from _next(gate)


def _counted(gate: Gate) -> str:
    tiers = ", ".join(f"{name} {count}" for name, count in sorted(gate.tiers.items()))
    counted = gate.n_groups_counted
    groups = f"{'one of each of' if gate.is_sequential else 'in'} {counted} independent group{'s' * (counted != 1)}"
    groups += f", the largest of {gate.n_largest}" if gate.n_largest > 1 else ""
    left = sum(gate.report.tiers.values()) - sum(gate.tiers.values())
    return f"{groups} ({tiers})" + (f"; {left} scenarios are not counted" if left else "")


def _rules(gate: Gate) -> Iterator[str]:
    counts = ((name, shares.chains) for name, shares in gate.profiles.items())
    shares = ", ".join(f"{name} {share.numerator}/{share.denominator}" for name, share in counts)
    yield f"by how arguments are compared: {shares}"
    if gate.depends_on_rules:
        yield f"the verdict DEPENDS on that: look at the {len(gate.deciding)} scenarios that decide (--json lists them)"


def _next(gate: Gate) -> Iterator[str]:
    name, verdict = gate.report.run.name, gate.verdict
    if verdict == "invalid":
        yield f"next: toollog replay run --resume {name}"
    elif verdict == "pass":
        yield "next: keep the model: fine-tuning has little to gain on these scenarios"
    elif verdict == "fail":
        yield f"next: fine-tuning is worth it; see what fails: toollog replay show {name} --failed"
    elif gate.chains_to_decide is None and gate.n_undetermined:
        yield "next: more chains would not decide, while so many leave what was recorded: see which, and why"
    elif gate.chains_to_decide is None:
        yield "next: the share is too near to the bound for any number of chains; decide by what a failure costs"
    else:
        what = "chain" if gate.chains_to_decide == 1 else "chains"
        yield f"next: about {gate.chains_to_decide} {what} more would decide, if the share stayed as it is"
        if gate.groups_to_decide is not None:
            others = "another group" if gate.groups_to_decide == 1 else f"about {gate.groups_to_decide} other groups"
            yield f"    of {others}: other conversations, with other questions; more of the same tell little"
