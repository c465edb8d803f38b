"""Which turns a model can be let make by itself: those of which all that a tool would have said is known. Pure."""

from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.turns.expected_chain import never_made


def can_loop(scenario: Scenario) -> str | None:
    """Return None for a turn that can be played in a closed loop, and otherwise why it cannot."""
    first, last = scenario.steps[0], scenario.steps[-1]
    if not scenario.is_whole or first.step_no != 1:
        return "a step of the turn was left out when it was frozen"
    if last.expected:
        return "the turn does not end with an answer"
    if any(call.result_text is None for call in scenario.recording):
        return "the result of a call was not recorded"
    if any(never_made(scenario)):
        return "an expected call was not made in the log, so its result is not known"
    if not _only_grew(first, last):
        return "the client changed the history within the turn"
    return None


def _only_grew(first: ScenarioStep, last: ScenarioStep) -> bool:
    """Say whether a client appended answers and results to the history of a turn, and nothing else."""
    added = last.messages[len(first.messages) :]
    n_expected = len(last.messages) - len(first.messages)
    return n_expected >= 0 and all(message.get("role") in ("assistant", "tool") for message in added)
