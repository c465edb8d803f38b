"""What a run says: shares with intervals, per depth and per signature, and what went wrong most often.

Two rules keep the figures honest. A figure never stands without its counts; and what could not be judged
(infrastructure, steps not asked yet, turns of which a step was left out) is counted beside the figure, never
inside it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.axes import Bin, bins
from tarx_toollog.replay.frontier import Frontier, chain_ends, frontier
from tarx_toollog.replay.scenario import BRONZE, GOLD, Scenario
from tarx_toollog.replay.scorers import SCORERS
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.replay.scoring import scenarios_of
from tarx_toollog.replay.statistics.attempts import Attempts, attempts
from tarx_toollog.replay.statistics.proportion import Proportion, wilson
from tarx_toollog.replay.statistics.survival import Survival, survival
from tarx_toollog.store.replays import Replays, RunRow, TrialRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""

MAX_INFRA_SHARE = 0.02
"""Beyond this share of unanswered steps a run is not valid: what is missing may not be missing at random."""

VERDICT = "step"
"""The scorer whose full marks make a step right."""
PROFILES: Mapping[str, str] = {"strict": "step_strict", "standard": VERDICT, "lenient": "step_lenient"}
"""Profile of matching → the scorer that judges a step by it."""
_TIERS = {
    BRONZE: "bronze: agreement with what the logged model did. Nobody has verified that it was right, "
    "so this is not accuracy.",
    GOLD: "gold: a person said what is right. This is accuracy.",
}


@dataclass(frozen=True, slots=True)
class Slice:
    """The agreement of one group of steps, or of chains."""

    key: str
    agreement: Proportion


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure code with how often it was the primary one, and one place to look at."""

    code: str
    count: int
    meaning: str
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is known of one run."""

    run: RunRow
    tiers: Mapping[str, int]
    """Scenarios by tier."""
    chains: Proportion
    """Turns in which every step agreed, of those of which every step was asked and answered."""
    chains_unjudged: Mapping[str, int]
    """Turns that could not be judged as a whole, by reason."""
    scorers: Mapping[str, Proportion]
    """Per scorer: full marks, of the steps to which it applies."""
    decisions: tuple[Slice, ...]
    """Step agreement where the log has a call, and where it has an answer."""
    depths: tuple[Slice, ...]
    """Step agreement by step of the turn."""
    attempts: Attempts | None
    """How often chains are right every time; None where each was tried once."""
    survival: tuple[Survival, ...]
    """Chains that are right up to each step."""
    axes: tuple[Bin, ...]
    """Step agreement along each axis of complexity."""
    signatures: tuple[Slice, ...]
    """Chain agreement by signature, most frequent first."""
    failures: tuple[Failure, ...]
    """Most frequent first."""
    steps_total: int
    steps_asked: int
    infra_errors: int
    model_errors: int
    unscored: int
    """Answered trials without a score: the run was killed between the two."""

    @property
    def is_valid(self) -> bool:
        """Whether nearly every step that was asked has an answer."""
        return self.infra_errors <= MAX_INFRA_SHARE * max(self.steps_asked, 1)

    @property
    def frontier(self) -> Frontier:
        """Up to which step the chains hold."""
        return frontier(self.survival)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON: every share with numerator, denominator, interval and method."""
        return {
            "format": FORMAT,
            "run": {
                "name": self.run.name,
                "uid": self.run.uid,
                "tag": self.run.tag,
                "model": self.run.model,
                "endpoint": self.run.endpoint,
                "mode": self.run.mode,
                "params": self.run.params,
                "server": self.run.server,
                "status": self.run.status,
                "started_at": self.run.started_at.isoformat(),
                "ended_at": None if self.run.ended_at is None else self.run.ended_at.isoformat(),
            },
            "valid": self.is_valid,
            "tiers": {name: {"scenarios": n, "meaning": _TIERS.get(name, name)} for name, n in self.tiers.items()},
            "chain_agreement": self.chains.to_json(),
            "chains_unjudged": dict(self.chains_unjudged),
            "scorers": {name: share.to_json() for name, share in self.scorers.items()},
            "by_decision": _slices_to_json(self.decisions),
            "by_depth": _slices_to_json(self.depths),
            "attempts": None if self.attempts is None else self.attempts.to_json(),
            "survival": [step.to_json() for step in self.survival],
            "frontier": self.frontier.to_json(),
            "by_axis": [part.to_json() for part in self.axes],
            "by_signature": _slices_to_json(self.signatures),
            "failures": [
                {"code": f.code, "count": f.count, "meaning": f.meaning, "example": dict(f.example)}
                for f in self.failures
            ],
            "steps": {
                "total": self.steps_total,
                "asked": self.steps_asked,
                "infra_errors": self.infra_errors,
                "model_errors": self.model_errors,
                "unscored": self.unscored,
            },
        }


def build_report(log: "ToolLog", name: str) -> Report:
    """Return the report of the run called ``name``, finished or not.

    Raises:
        NothingMatchedError: There is no such run.
    """
    replays = Replays(log)
    run = replays.run(name)
    scenarios = {row.id: scenario for row, scenario in scenarios_of(log, run)}
    trials = list(replays.trials(run.id))
    return summarise(run, scenarios, trials)


def trial_rows(log: "ToolLog", name: str) -> list[dict[str, Any]]:
    """Return one row per trial of a run, for a table.

    Raises:
        NothingMatchedError: There is no such run.
    """
    replays = Replays(log)
    run = replays.run(name)
    scenarios = {row.id: (row, scenario) for row, scenario in scenarios_of(log, run)}
    rows = []
    for trial in replays.trials(run.id):
        row, scenario = scenarios[trial.scenario_id]
        step = next(step for step in scenario.steps if step.step_no == trial.step_no)
        verdict = trial.scores.get(VERDICT)
        rows.append(
            {
                "scenario_uid": row.uid,
                "conversation_uid": scenario.conversation_uid,
                "turn_no": scenario.turn_no,
                "step_no": trial.step_no,
                "attempt": trial.attempt,
                "status": trial.status,
                "agrees": None if verdict is None else verdict.value == 1.0,
                "failure": None if verdict is None else verdict.detail.get("code"),
                "expected": " ".join(call.name for call in step.expected) or "(answer)",
                "actual": " ".join(call.name for call in trial.answer.calls) or "(answer)" if trial.answer else None,
                "exchange_uid": trial.exchange_uid,
                "error": trial.error,
            }
        )
    return rows


def summarise(run: RunRow, scenarios: Mapping[int, Scenario], trials: Iterable[TrialRow]) -> Report:
    """Count the trials of a run. Pure."""
    trials = list(trials)
    judged = judged_trials(trials)
    expected = {(key, step.step_no): step for key, scenario in scenarios.items() for step in scenario.steps}
    chains, unjudged = judged_chains(scenarios, judged)
    n_attempts = run.params.get("attempts", 1)
    return Report(
        run=run,
        tiers=dict(Counter(scenario.tier for scenario in scenarios.values())),
        chains=_share(chains.values()),
        chains_unjudged=unjudged,
        scorers=_by_scorer(judged),
        decisions=_slices(
            (
                "call expected" if expected[trial.scenario_id, trial.step_no].expected else "answer expected",
                is_right(trial),
            )
            for trial in judged
        ),
        depths=_slices(sorted(((f"step {trial.step_no}", is_right(trial)) for trial in judged), key=_natural)),
        attempts=attempts_at(scenarios, trials, n_attempts),
        survival=survival(
            chain_ends(scenarios, [(trial.scenario_id, trial.step_no, is_right(trial)) for trial in judged])
        ),
        axes=bins(
            (
                expected[trial.scenario_id, trial.step_no],
                scenarios[trial.scenario_id].conversation_uid,
                is_right(trial),
            )
            for trial in judged
        ),
        signatures=_by_size(_slices((scenarios[key].signature or "(answer)", ok) for key, ok in chains.items())),
        failures=_failures(judged, scenarios),
        steps_total=len(expected) * n_attempts,
        steps_asked=len(trials),
        infra_errors=sum(trial.status == "infra_error" for trial in trials),
        model_errors=sum(trial.status == "model_error" for trial in trials),
        unscored=sum(trial.status != "infra_error" and VERDICT not in trial.scores for trial in trials),
    )


def judged_trials(trials: Iterable[TrialRow]) -> list[TrialRow]:
    """Return the first attempts that say something about the model, and have their scores.

    Later attempts at a step say how sure the model is of it, and nothing about other steps: as more cases they would
    make every interval too narrow.
    """
    return [trial for trial in trials if VERDICT in trial.scores and trial.attempt == 1]


def attempts_at(scenarios: Mapping[int, Scenario], trials: Iterable[TrialRow], k: int) -> Attempts | None:
    """Return how often chains are right every time; None where each was tried once."""
    if k < 2:
        return None
    results: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        if VERDICT in trial.scores:
            results[trial.scenario_id][trial.attempt].append(is_right(trial))
    counts = []
    for key, scenario in scenarios.items():
        whole = [all(found) for found in results[key].values() if len(found) == len(scenario.steps)]
        if scenario.is_whole and whole:
            counts.append((sum(whole), len(whole)))
    return attempts(counts, k)


def is_right(trial: TrialRow, scorer: str = VERDICT) -> bool:
    """Say whether the decision of a scored trial is the expected one."""
    return trial.scores[scorer].value == 1.0


def judged_chains(
    scenarios: Mapping[int, Scenario], judged: Iterable[TrialRow], scorer: str = VERDICT
) -> tuple[dict[int, bool], dict[str, int]]:
    """Return for every chain that can be judged whether all of it agreed, and why the others cannot.

    A chain with a wrong step and an unanswered one would be known to have failed. It is left out all the same:
    counting it would make every interrupted run look worse than it is.
    """
    verdicts: dict[int, dict[int, bool]] = defaultdict(dict)
    for trial in judged:
        if scorer in trial.scores:
            verdicts[trial.scenario_id][trial.step_no] = is_right(trial, scorer)
    chains: dict[int, bool] = {}
    unjudged: Counter[str] = Counter()
    for key, scenario in scenarios.items():
        if not scenario.is_whole:
            unjudged["a step was left out when it was frozen"] += 1
        elif len(verdicts[key]) < len(scenario.steps):
            unjudged["a step has no answer yet"] += 1
        else:
            chains[key] = all(verdicts[key].values())
    return chains, dict(unjudged)


def _by_scorer(judged: Iterable[TrialRow]) -> dict[str, Proportion]:
    values: dict[str, list[bool]] = {name: [] for name in SCORERS.names()}
    for trial in judged:
        for name, score in trial.scores.items():
            if score.value is not None:
                values.setdefault(name, []).append(score.value == 1.0)
    return {name: _share(found) for name, found in values.items()}


def _failures(judged: Iterable[TrialRow], scenarios: Mapping[int, Scenario]) -> tuple[Failure, ...]:
    counts: Counter[str] = Counter()
    examples: dict[str, dict[str, Any]] = {}
    for trial in judged:
        detail = trial.scores[VERDICT].detail
        if is_right(trial) or "code" not in detail:
            continue
        code = str(detail["code"])
        counts[code] += 1
        scenario = scenarios[trial.scenario_id]
        examples.setdefault(
            code,
            {
                "conversation_uid": scenario.conversation_uid,
                "turn_no": scenario.turn_no,
                "step_no": trial.step_no,
                "exchange_uid": trial.exchange_uid,
                "finding": next((f for f in detail["findings"] if f["code"] == code), {}),
            },
        )
    return tuple(Failure(code, n, CODES.get(code, code), examples[code]) for code, n in counts.most_common())


def _slices(pairs: Iterable[tuple[str, bool]]) -> tuple[Slice, ...]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for key, ok in pairs:
        groups[key].append(ok)
    return tuple(Slice(key, _share(values)) for key, values in groups.items())


def _by_size(slices: Iterable[Slice]) -> tuple[Slice, ...]:
    return tuple(sorted(slices, key=lambda part: (-part.agreement.denominator, part.key)))


def _natural(pair: tuple[str, bool]) -> int:
    return int(pair[0].rpartition(" ")[2])


def _share(values: Iterable[bool]) -> Proportion:
    found = list(values)
    return wilson(sum(found), len(found))


def _slices_to_json(slices: Iterable[Slice]) -> list[dict[str, Any]]:
    return [{"key": part.key, **part.agreement.to_json()} for part in slices]
