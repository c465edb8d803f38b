"""Whole turns: which chains are right, which are not, and of which nobody can say. Pure.

With the logged history (teacher-forced) a chain is right when each of its steps is. In a closed loop the model went its
own way, and the turn has a verdict of its own; a turn that left what was recorded is *undetermined*: the truth about
the share lies between counting all of these as wrong, and counting them as right.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tarx_toollog.replay.reports.material import Material
from tarx_toollog.replay.scenario import BRONZE
from tarx_toollog.replay.scoring import VERDICT as VERDICT
from tarx_toollog.replay.statistics.attempts import Attempts, attempts
from tarx_toollog.replay.statistics.proportion import DEFAULT_CONFIDENCE, Case, Proportion, clustered
from tarx_toollog.replay.turns.playable import can_loop
from tarx_toollog.store.replays import TrialRow

PROFILES: Mapping[str, str] = {"strict": "step_strict", "standard": VERDICT, "lenient": "step_lenient"}
"""Profile of matching → the scorer that judges a step by it."""
TURN_VERDICT = "chain"
"""The scorer of a whole turn in a closed loop; it stands on the last trial of the turn."""
TURN_PROFILES: Mapping[str, str] = {"strict": "chain_strict", "standard": TURN_VERDICT, "lenient": "chain_lenient"}
"""Profile of matching → the scorer that judges a turn by it."""

STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class Chains:
    """The verdicts on the chains of a run, by one profile."""

    verdicts: Mapping[int, bool | None]
    """By key of the scenario; None: undetermined."""
    unjudged: Mapping[str, int]
    """Chains without a verdict, by reason."""

    @property
    def determined(self) -> dict[int, bool]:
        """Those of which somebody can say whether they are right."""
        return {key: verdict for key, verdict in self.verdicts.items() if verdict is not None}

    def if_undetermined_were(self, is_right: bool) -> dict[int, bool]:
        """Return all verdicts, with a guess in place of the undetermined ones."""
        return {key: is_right if verdict is None else verdict for key, verdict in self.verdicts.items()}


def judged_trials(trials: Iterable[TrialRow]) -> list[TrialRow]:
    """Return the first attempts at steps that say something about the model, and have their scores.

    Later attempts at a step say how sure the model is of it, and nothing about other steps: as more cases they would
    make every interval too narrow.
    """
    return [trial for trial in trials if VERDICT in trial.scores and trial.attempt == 1]


def is_right(trial: TrialRow, scorer: str = VERDICT) -> bool:
    """Say whether the decision of a scored trial is the expected one."""
    return trial.scores[scorer].value == 1.0


def judged_chains(of: Material, profile: str = STANDARD) -> Chains:
    """Return for every chain that can be judged whether all of it is right, and why the others cannot."""
    if of.is_closed_loop:
        return _turns(of, TURN_PROFILES[profile])
    return _steps(of, PROFILES[profile])


def share_of(of: Material, verdicts: Mapping[int, bool], *, confidence: float = DEFAULT_CONFIDENCE) -> Proportion:
    """Return the share of right chains, each counted by its weight, with what hangs together."""
    weights = of.weights(verdicts)
    cases = (Case(is_right, of.places[key].cluster, weights[key]) for key, is_right in verdicts.items())
    return clustered(cases, confidence=confidence)


def labelled(of: Material) -> set[int]:
    """Return the scenarios of which somebody said what is right: what is counted there is accuracy."""
    return {key for key, scenario in of.scenarios.items() if scenario.tier != BRONZE}


def only(verdicts: Mapping[int, bool], keys: Collection[int]) -> dict[int, bool]:
    """Return the verdicts on some scenarios."""
    return {key: verdict for key, verdict in verdicts.items() if key in keys}


def attempts_at(of: Material) -> Attempts | None:
    """Return how often chains are right every time; None where each was tried once."""
    if of.n_attempts < 2:
        return None
    results: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    scorer = TURN_VERDICT if of.is_closed_loop else VERDICT
    for trial in of.trials:
        if scorer in trial.scores and trial.scores[scorer].value is not None:
            results[trial.scenario_id][trial.attempt].append(is_right(trial, scorer))
    counts = []
    for key, scenario in of.scenarios.items():
        n_verdicts = 1 if of.is_closed_loop else len(scenario.steps)
        whole = [all(found) for found in results[key].values() if len(found) == n_verdicts]
        if whole and (of.is_closed_loop or scenario.is_whole):
            counts.append((sum(whole), len(whole)))
    return attempts(counts, of.n_attempts)


def _steps(of: Material, scorer: str) -> Chains:
    """Judge chains by their steps.

    A chain with a wrong step and an unanswered one would be known to have failed. It is left out all the same:
    counting it would make every interrupted run look worse than it is.
    """
    verdicts: dict[int, dict[int, bool]] = defaultdict(dict)
    for trial in judged_trials(of.trials):
        if scorer in trial.scores:
            verdicts[trial.scenario_id][trial.step_no] = is_right(trial, scorer)
    chains: dict[int, bool | None] = {}
    unjudged: Counter[str] = Counter()
    for key, scenario in of.scenarios.items():
        if not scenario.is_whole:
            unjudged["a step was left out when it was frozen"] += 1
        elif len(verdicts[key]) < len(scenario.steps):
            unjudged["a step has no answer yet"] += 1
        else:
            chains[key] = all(verdicts[key].values())
    return Chains(chains, dict(unjudged))


def _turns(of: Material, scorer: str) -> Chains:
    given = {
        trial.scenario_id: trial.scores[scorer] for trial in of.trials if trial.attempt == 1 and scorer in trial.scores
    }
    chains = {
        key: None if given[key].value is None else given[key].value == 1.0 for key in of.scenarios if key in given
    }
    why = (can_loop(scenario) for key, scenario in of.scenarios.items() if key not in chains)
    return Chains(chains, dict(Counter(reason or "the turn has no verdict yet" for reason in why)))
