"""The verdict on a step: was the decision right, under each of the three profiles (``matching``)?"""

from collections import Counter

from tarx_toollog.canonical import canonical_json
from tarx_toollog.replay.scorers.base import Evidence, Score


def step(evidence: Evidence) -> Score:
    """1 when the decision is right: call or no call, the tools, and the arguments (standard profile)."""
    found = evidence.findings
    if not found:
        return Score(1.0)
    return Score(0.0, {"code": found[0].code, "findings": [finding.to_json() for finding in found]})


def step_lenient(evidence: Evidence) -> Score:
    """1 when nothing is wrong that a patient tool would mind."""
    return Score(float(all(finding.is_soft for finding in evidence.findings)))


def step_strict(evidence: Evidence) -> Score:
    """1 when the decision is right, and the arguments are the very same JSON."""
    return Score(float(not evidence.findings and is_same_json(evidence)))


def is_same_json(evidence: Evidence) -> bool:
    """Say whether the calls that were made are the expected ones to the letter."""
    expected, made = (
        Counter((call.name, canonical_json(call.arguments)) for call in calls)
        for calls in (evidence.expected, evidence.made)
    )
    return expected == made
