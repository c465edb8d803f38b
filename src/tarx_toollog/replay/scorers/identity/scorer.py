"""The scorer ``identity``: applies to steps that say what an answer in text has to say."""

from tarx_toollog.replay.scorers.base import Evidence, Score
from tarx_toollog.replay.scorers.identity.judging import TextCheck, judge_text


def identity(evidence: Evidence) -> Score:
    """1 when the answer says who speaks, as the step asks, and takes no other identity."""
    if not evidence.step.text_check:
        return Score(None)
    found = judge_text(evidence.answer.text, TextCheck.from_json(evidence.step.text_check, "scenario"))
    return Score(float(found.is_right), found.to_json())
