"""What a run says: shares with intervals, per depth and per signature, and what went wrong most often.

Two rules keep the figures honest. A figure never stands without its counts; and what could not be judged
(infrastructure, steps not asked yet, turns of which a step was left out) is counted beside the figure, never
inside it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.overlay import NOTHING_ACCEPTED, OverlayId
from tarx_toollog.replay.reports.axes import Bin, bins
from tarx_toollog.replay.reports.chains import (
    TURN_VERDICT,
    VERDICT,
    Chains,
    attempts_at,
    is_right,
    judged_chains,
    judged_trials,
    labelled,
    only,
    share_of,
)
from tarx_toollog.replay.reports.frontier import Frontier, chain_ends, frontier
from tarx_toollog.replay.reports.material import Material, load
from tarx_toollog.replay.results import Bounds, bounds
from tarx_toollog.replay.scenario import BRONZE, CORRECTED, GOLD, SILVER
from tarx_toollog.replay.scorers import SCORERS
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.replay.statistics.attempts import Attempts
from tarx_toollog.replay.statistics.proportion import Case, Proportion, clustered
from tarx_toollog.replay.statistics.survival import Survival, survival
from tarx_toollog.store.replays import RunRow, TrialRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""

MAX_INFRA_SHARE = 0.02
"""Beyond this share of unanswered steps a run is not valid: what is missing may not be missing at random."""

TIER_MEANINGS = {
    GOLD: "gold: a person said what is right, or verified it. This is accuracy.",
    SILVER: "silver: the user approved of it, and nothing spoke against it. This is accuracy.",
    CORRECTED: "corrected: what took the place of an answer that had gone wrong. This is accuracy.",
    BRONZE: "bronze: agreement with what the logged model did. Nobody has verified that it was right, "
    "so this is not accuracy.",
}
"""What each tier says about the figures."""


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
class Asked:
    """How much of a run has been asked, in steps, or in turns where the model goes its own way."""

    unit: str
    """``steps`` or ``turns``."""
    total: int
    asked: int
    infra_errors: int
    """Without an answer, because of the network or the server's absence."""
    model_errors: int
    unscored: int
    """Answered, without a score."""
    why_infra: Mapping[str, int]
    """What was in the way of those without an answer, by kind."""

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {**{slot: getattr(self, slot) for slot in self.__slots__}, "why_infra": dict(self.why_infra)}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is known of one run."""

    run: RunRow
    tiers: Mapping[str, int]
    """Scenarios by tier."""
    chains: Proportion
    """Right chains, of those that can be judged; only of labelled scenarios, where there are any."""
    bronze_chains: Proportion | None
    """The same of the scenarios that nobody verified, where others are labelled."""
    undetermined: Bounds | None
    """How many chains may be right at least and at most, where some left what was recorded."""
    undetermined_shares: tuple[Proportion, Proportion]
    """The share of right chains when all of those are wrong, and when all of them are right."""
    chains_unjudged: Mapping[str, int]
    """Turns that could not be judged as a whole, by reason."""
    scorers: Mapping[str, Proportion]
    """Per scorer: full marks, of the steps to which it applies."""
    decisions: tuple[Slice, ...]
    """Right steps where a call is expected, and where an answer is."""
    depths: tuple[Slice, ...]
    """Right steps by step of the turn."""
    attempts: Attempts | None
    """How often chains are right every time; None where each was tried once."""
    survival: tuple[Survival, ...]
    """Chains that are right up to each step."""
    axes: tuple[Bin, ...]
    """Right steps along each axis of complexity."""
    signatures: tuple[Slice, ...]
    """Right chains by signature, most frequent first."""
    failures: tuple[Failure, ...]
    """Most frequent first."""
    asked: Asked
    accepted: OverlayId = NOTHING_ACCEPTED
    """What counts as right beside what the suite expects."""

    @property
    def is_accuracy(self) -> bool:
        """Whether the headline counts scenarios of which somebody said what is right."""
        return any(count for tier, count in self.tiers.items() if tier != BRONZE)

    @property
    def word(self) -> str:
        """What the headline is called."""
        return "accuracy" if self.is_accuracy else "agreement"

    @property
    def is_valid(self) -> bool:
        """Whether nearly every step that was asked has an answer."""
        return self.asked.infra_errors <= MAX_INFRA_SHARE * max(self.asked.asked, 1)

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
            "tiers": {
                name: {"scenarios": n, "meaning": TIER_MEANINGS.get(name, name)} for name, n in self.tiers.items()
            },
            "chains": {"kind": self.word, **self.chains.to_json()},
            "bronze_chains": None if self.bronze_chains is None else self.bronze_chains.to_json(),
            "undetermined": self._undetermined_to_json(),
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
            "asked": self.asked.to_json(),
            "accepted": self.accepted.to_json(),
        }

    def _undetermined_to_json(self) -> dict[str, Any] | None:
        found = self.undetermined
        if found is None:
            return None
        low, high = (share.to_json() for share in self.undetermined_shares)
        return {
            "at_least": found.low,
            "at_most": found.high,
            "undetermined": found.n_undetermined,
            "chains": found.n,
            "share_at_least": low,
            "share_at_most": high,
        }


def build_report(log: "ToolLog", name: str) -> Report:
    """Return the report of the run called ``name``, finished or not.

    Raises:
        NothingMatchedError: There is no such run.
    """
    return summarise(load(log, name))


def trial_rows(log: "ToolLog", name: str) -> list[dict[str, Any]]:
    """Return one row per trial of a run, for a table.

    Raises:
        NothingMatchedError: There is no such run.
    """
    of = load(log, name)
    rows = []
    for trial in of.trials:
        scenario = of.scenarios[trial.scenario_id]
        step = next((step for step in scenario.steps if step.step_no == trial.step_no), None)
        verdict = trial.scores.get(TURN_VERDICT if of.is_closed_loop else VERDICT)
        expected = None if step is None else " ".join(call.name for call in step.expected) or "(answer)"
        rows.append(
            {
                "scenario_uid": of.places[trial.scenario_id].uid,
                "conversation_uid": scenario.conversation_uid,
                "turn_no": scenario.turn_no,
                "step_no": trial.step_no,
                "attempt": trial.attempt,
                "tier": scenario.tier,
                "status": trial.status,
                "agrees": None if verdict is None or verdict.value is None else verdict.value == 1.0,
                "failure": None if verdict is None else verdict.detail.get("code"),
                "expected": expected,
                "actual": " ".join(call.name for call in trial.answer.made) or "(answer)" if trial.answer else None,
                "exchange_uid": trial.exchange_uid,
                "error": trial.error,
            }
        )
    return rows


def summarise(of: Material) -> Report:
    """Count the trials of a run. Pure."""
    judged = judged_trials(of.trials)
    expected = {(key, step.step_no): step for key, scenario in of.scenarios.items() for step in scenario.steps}
    chains = judged_chains(of)
    counted = labelled(of)
    determined = chains.determined
    return Report(
        run=of.run,
        tiers=dict(Counter(scenario.tier for scenario in of.scenarios.values())),
        chains=share_of(of, only(determined, counted) if counted else determined),
        bronze_chains=_bronze(of, determined, counted),
        undetermined=_bounds(chains, counted),
        undetermined_shares=_if_undetermined_were(of, chains, counted),
        chains_unjudged=chains.unjudged,
        scorers=_by_scorer(of, judged),
        decisions=_slices(
            of,
            (
                ("call expected" if expected[trial.scenario_id, trial.step_no].expected else "answer expected", trial)
                for trial in judged
            ),
        ),
        depths=tuple(sorted(_slices(of, ((f"step {trial.step_no}", trial) for trial in judged)), key=_natural)),
        attempts=attempts_at(of),
        survival=_survival(of, judged),
        axes=bins(
            (
                expected[trial.scenario_id, trial.step_no],
                of.places[trial.scenario_id].cluster,
                is_right(trial),
            )
            for trial in judged
        ),
        signatures=_by_signature(of, determined),
        failures=_failures(of),
        asked=_asked(of, len(expected)),
        accepted=of.accepted,
    )


def _survival(of: Material, judged: Iterable[TrialRow]) -> tuple[Survival, ...]:
    ends = chain_ends(of.scenarios, ((trial.scenario_id, trial.step_no, is_right(trial)) for trial in judged))
    return survival(ends.values(), [of.places[key].cluster for key in ends])


def _bronze(of: Material, chains: Mapping[int, bool], counted: set[int]) -> Proportion | None:
    if not 0 < len(counted) < len(of.scenarios):
        return None
    return share_of(of, only(chains, of.scenarios.keys() - counted))


def _bounds(chains: Chains, counted: set[int]) -> Bounds | None:
    found = bounds(verdict for key, verdict in chains.verdicts.items() if not counted or key in counted)
    return found if found.n_undetermined else None


def _if_undetermined_were(of: Material, chains: Chains, counted: set[int]) -> tuple[Proportion, Proportion]:
    keys = counted or of.scenarios.keys()
    wrong, right = (share_of(of, only(chains.if_undetermined_were(guess), keys)) for guess in (False, True))
    return wrong, right


def _asked(of: Material, n_steps: int) -> Asked:
    """Count what was asked: each trial with the logged history, each turn in a closed loop, by its last trial."""
    last: dict[tuple[int, int, int], TrialRow] = {}
    for trial in of.trials:
        last[trial.scenario_id, trial.attempt, 0 if of.is_closed_loop else trial.step_no] = trial
    scorer = TURN_VERDICT if of.is_closed_loop else VERDICT
    return Asked(
        unit="turns" if of.is_closed_loop else "steps",
        total=(len(of.scenarios) if of.is_closed_loop else n_steps) * of.n_attempts,
        asked=len(last),
        infra_errors=sum(trial.status == "infra_error" for trial in last.values()),
        model_errors=sum(trial.status == "model_error" for trial in last.values()),
        unscored=sum(trial.status != "infra_error" and scorer not in trial.scores for trial in last.values()),
        why_infra=Counter(
            (trial.error or "unknown").partition(":")[0] for trial in last.values() if trial.status == "infra_error"
        ),
    )


def _by_scorer(of: Material, judged: Iterable[TrialRow]) -> dict[str, Proportion]:
    cases: dict[str, list[Case]] = {name: [] for name in SCORERS.names()}
    for trial in judged:
        for name, score in trial.scores.items():
            if score.value is not None:
                cases.setdefault(name, []).append(_case(of, trial, score.value == 1.0))
    return {name: clustered(found) for name, found in cases.items() if found or not of.is_closed_loop}


def _case(of: Material, trial: TrialRow, is_right: bool) -> Case:
    # Steps are diagnosis: they count alike, so that a rare and heavy turn does not drown what goes wrong.
    return Case(is_right, of.places[trial.scenario_id].cluster)


def _failures(of: Material) -> tuple[Failure, ...]:
    scorer = TURN_VERDICT if of.is_closed_loop else VERDICT
    counts: Counter[str] = Counter()
    examples: dict[str, dict[str, Any]] = {}
    for trial in of.trials:
        score = trial.scores.get(scorer)
        if score is None or trial.attempt != 1 or score.value == 1.0 or "code" not in score.detail:
            continue
        code = str(score.detail["code"])
        counts[code] += 1
        scenario = of.scenarios[trial.scenario_id]
        examples.setdefault(
            code,
            {
                "conversation_uid": scenario.conversation_uid,
                "turn_no": scenario.turn_no,
                "step_no": trial.step_no,
                "exchange_uid": trial.exchange_uid,
                "finding": next((f for f in score.detail.get("findings", ()) if f["code"] == code), {}),
            },
        )
    return tuple(Failure(code, n, CODES.get(code, code), examples[code]) for code, n in counts.most_common())


def _slices(of: Material, pairs: Iterable[tuple[str, TrialRow]]) -> tuple[Slice, ...]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for key, trial in pairs:
        groups[key].append(_case(of, trial, is_right(trial)))
    return tuple(Slice(key, clustered(cases)) for key, cases in groups.items())


def _by_signature(of: Material, chains: Mapping[int, bool]) -> tuple[Slice, ...]:
    groups: dict[str, dict[int, bool]] = defaultdict(dict)
    for key, verdict in chains.items():
        groups[of.scenarios[key].signature or "(answer)"][key] = verdict
    slices = (
        Slice(name, clustered(Case(verdict, of.places[key].cluster) for key, verdict in found.items()))
        for name, found in groups.items()
    )
    return tuple(sorted(slices, key=lambda part: (-part.agreement.denominator, part.key)))


def _natural(part: Slice) -> int:
    return int(part.key.rpartition(" ")[2])


def _slices_to_json(slices: Iterable[Slice]) -> list[dict[str, Any]]:
    return [{"key": part.key, **part.agreement.to_json()} for part in slices]
