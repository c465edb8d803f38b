"""One model asked twice: how many verdicts are others the second time. Pure.

Each attempt counts beside the same attempt of the other run, which was asked with the same seed. Attempts at one
scenario hang together as its chains do; those of one cluster do so anyway, and the interval knows both.
"""

from dataclasses import dataclass, replace

from tarx_toollog.replay.reports.chains import is_right, judged_chains, judged_trials
from tarx_toollog.replay.reports.material import Material
from tarx_toollog.replay.statistics.proportion import Case, Proportion, clustered


@dataclass(frozen=True, slots=True)
class Flips:
    """The shares of verdicts that are others when a run is asked again."""

    chains: Proportion
    """By the turns of the log that they stand for."""
    steps: Proportion
    """All alike; in a closed loop, where only turns have verdicts, these."""
    n_attempts: int


def flips(first: Material, second: Material) -> Flips:
    """Return how many verdicts of the first run are others in the second."""
    n_attempts = min(first.n_attempts, second.n_attempts)
    chains, steps = list[Case](), list[Case]()
    for number in range(1, n_attempts + 1):
        runs = _attempt(first, number), _attempt(second, number)
        was, now = verdicts = [judged_chains(of).determined for of in runs]
        keys = [key for key in first.places if all(key in found for found in verdicts)]
        weights = first.weights(keys)
        chains += [Case(was[key] != now[key], first.places[key].cluster, weights[key]) for key in keys]
        was_at, now_at = (_single(of) for of in runs)
        both = [at for at in was_at if at in now_at]
        steps += [Case(was_at[at] != now_at[at], first.places[at[0]].cluster) for at in both]
    return Flips(clustered(chains), clustered(steps), n_attempts)


def _attempt(of: Material, number: int) -> Material:
    """Return the run as if one of the attempts had been the only one."""
    trials = [replace(trial, attempt=1) for trial in of.trials if trial.attempt == number]
    return replace(of, trials=trials)


def _single(of: Material) -> dict[tuple[int, int], bool]:
    if of.is_closed_loop:
        return {(key, 0): verdict for key, verdict in judged_chains(of).determined.items()}
    return {(trial.scenario_id, trial.step_no): is_right(trial) for trial in judged_trials(of.trials)}
