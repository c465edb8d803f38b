"""The verdict on a turn that a model made by itself. Pure: it needs the scenario and the stored answers, and no model.

*Theory.* A turn is right when the model made every expected call, changed nothing else, kept to an order that works,
and then answered. A turn that diverged was cut off. When something went wrong before that cannot be mended
(``turn_faults``), the turn is wrong, whatever would have come. If there is nothing of that kind, nobody knows, and the
turn is *undetermined*: its value is None.

The three profiles differ in what they forgive. *Strict* wants the expected calls as the same JSON, and no others.
*Standard* lets the model look at more than was expected. *Lenient* also forgives what is soft: other words, and waste.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from tarx_toollog.replay.results import Diverged
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.turns.course import Course, LoopOptions, follow
from tarx_toollog.replay.turns.expected_chain import Expectation
from tarx_toollog.replay.turns.turn_faults import Comparison, Fault, Weight
from tarx_toollog.store.replays import Answer, ScoreRow, TrialRow

CHAIN, CHAIN_STRICT, CHAIN_LENIENT = "chain", "chain_strict", "chain_lenient"
UNDETERMINED = "diverged_undetermined"
_FORGIVEN: Mapping[str, frozenset[Weight]] = {
    CHAIN: frozenset({"more"}),
    CHAIN_STRICT: frozenset(),
    CHAIN_LENIENT: frozenset({"more", "soft"}),
}


def judge_turn(scenario: Scenario, answers: Sequence[Answer], options: LoopOptions) -> dict[str, ScoreRow]:
    """Return the scores of a turn, by scorer; none when it is not over yet.

    Args:
        scenario: One that can be looped.
        answers: Those of the model, in order.
        options: Those that the turn was made with.
    """
    course = follow(scenario, answers, options)
    if course.ending is None:
        return {}
    nearest = _nearest(scenario, course)
    scores = {}
    for scorer, forgiven in _FORGIVEN.items():
        is_right = all(fault.weight in forgiven for fault in nearest.faults)
        is_right = is_right and (scorer != CHAIN_STRICT or nearest.is_same_json)
        value = None if is_right and course.ending == "diverged" else float(is_right)
        detail = _code(value, nearest.faults) | (_told(course, nearest.faults) if scorer == CHAIN else {})
        scores[scorer] = ScoreRow(value, detail)
    return scores


def score_turns(
    scenarios: Mapping[int, Scenario], trials: Iterable[TrialRow], options: LoopOptions
) -> dict[int, dict[str, ScoreRow]]:
    """Return the scores of trials of a closed loop, by their ids: those of a turn stand on its last trial.

    Args:
        scenarios: By key.
        trials: Those of any number of whole turns.
        options: Those of the run.
    """
    scores: dict[int, dict[str, ScoreRow]] = {}
    in_order = sorted(trials, key=lambda trial: (trial.scenario_id, trial.attempt, trial.step_no))
    for (key, _), found in groupby(in_order, lambda trial: (trial.scenario_id, trial.attempt)):
        turn = list(found)
        scores |= {trial.id: {} for trial in turn}
        if all(trial.status != "infra_error" for trial in turn):
            answers = [trial.answer or Answer(outcome="upstream_error", error=trial.error) for trial in turn]
            scores[turn[-1].id] = judge_turn(scenarios[key], answers, options)
    return scores


def _nearest(scenario: Scenario, course: Course) -> Comparison:
    """Return the course beside the chain that it is nearest to; the choices are looked at one step after the other."""
    expectation = Expectation(scenario)
    chosen = [choices[0] for choices in expectation.choices]

    def beside(number: int, choice: int) -> Comparison:
        parts = [*chosen[:number], expectation.choices[number][choice], *chosen[number + 1 :]]
        return Comparison(course, expectation, tuple(link for part in parts for link in part), scenario.steps)

    nearest = beside(0, 0)
    for number, choices in enumerate(expectation.choices):
        for choice in range(1, len(choices)):
            other = beside(number, choice)
            if other.distance < nearest.distance:
                nearest, chosen[number] = other, choices[choice]
    return nearest


def _code(value: float | None, faults: Sequence[Fault]) -> dict[str, Any]:
    """Return the failure code of a verdict; strictly, a turn may be wrong by its letters alone."""
    if value is None:
        return {"code": UNDETERMINED}
    return {"code": faults[0].finding.code} if value == 0.0 and faults else {}


def _told(course: Course, faults: Sequence[Fault]) -> dict[str, Any]:
    """Return how a turn went, for people: how it ended, what was wrong, and how each result is known."""
    told: dict[str, Any] = {
        "ending": course.ending,
        "findings": [fault.finding.to_json() for fault in faults],
        "calls": [{"step": made.decision + 1, "name": made.call.name, "how": made.how} for made in course.made],
    }
    diverged = next((made.result for made in course.made if isinstance(made.result, Diverged)), None)
    if diverged is not None:
        told["divergence"] = _divergence(diverged)
        told["exploratory"] = course.ending != "diverged"
    return told


def _divergence(diverged: Diverged) -> dict[str, Any]:
    nearest = diverged.nearest
    return {
        "reason": diverged.reason,
        "call": {"name": diverged.call.name, "arguments": diverged.call.arguments},
        "nearest": None if nearest is None else {"name": nearest.name, "arguments": nearest.arguments},
        "path": diverged.path,
        "why": diverged.why,
    }
