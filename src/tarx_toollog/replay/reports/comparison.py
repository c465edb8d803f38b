"""Two runs of the same scenarios, case by case: is the second model better, worse, or not told apart?

Only cases on which both were judged count, because a difference of two shares that were counted on different cases
mixes the models with the cases. The headline is by chains, which is what a user sees, counted as a gate counts them:
where somebody said what is right only those, each for the turns of the log that it stands for. Steps count alike, and
all of them. The intervals of both know what hangs together, and so do the tests. Better, or worse, is only what the
interval and the test both say.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.reports.chains import (
    TURN_VERDICT,
    VERDICT,
    is_right,
    judged_chains,
    judged_trials,
    labelled,
    only,
)
from tarx_toollog.replay.reports.flips import flips
from tarx_toollog.replay.reports.material import Material, load
from tarx_toollog.replay.reports.report import Report, summarise
from tarx_toollog.replay.scoring import is_outdated
from tarx_toollog.replay.statistics.paired import Pair, PairedDifference, clustered_difference, pairs_to_decide
from tarx_toollog.store.replays import AGAIN, CLOSED_LOOP, TEACHER_FORCED, UNTIL, Replays, RunRow, TrialRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
MARGIN = 0.03
"""By how much the second may be worse and still be called no worse: three points of a hundred."""

Verdict = Literal["better", "worse", "no_worse", "undecided"]

_SERVER = {
    "chat_template_hash": "their servers use different chat templates",
    "n_ctx": "their contexts have different lengths",
}
_ASKED = ("temperature", "seed", "stream", "extra_body", "server_keys", "history", "pace", "max_steps", "on_divergence")
_MODES = {TEACHER_FORCED: "with the logged history", CLOSED_LOOP: "in a closed loop"}
_CONTESTANT = "lora"  # the adapters that a request asks for are what is compared

Place = tuple[int, int]
"""Key of a scenario, and step."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step that only one of the two got right."""

    scenario_uid: str
    conversation_uid: str
    turn_no: int
    step_no: int
    """0: the whole turn, of a closed loop."""
    code: str | None
    """What went wrong with it."""
    finding: Mapping[str, Any]
    exchange_uid: str | None
    """The answer that is wrong."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "scenario_uid": self.scenario_uid,
            "conversation_uid": self.conversation_uid,
            "turn_no": self.turn_no,
            "step_no": self.step_no,
            "code": self.code,
            "finding": dict(self.finding),
            "exchange_uid": self.exchange_uid,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run beside the first."""

    first: Report
    second: Report
    chains: PairedDifference
    steps: PairedDifference
    chains_unpaired: int
    """Chains that only one of the two was judged on."""
    chains_unlabelled: int
    """Chains that both were judged on, and that do not count, because nobody said what is right there."""
    steps_unpaired: int
    margin: float
    regressions: tuple[Change, ...]
    """Steps that the first got right and the second did not."""
    gains: tuple[Change, ...]
    doubts: tuple[str, ...]
    """What else differs, so that the difference may not be the models'."""

    @property
    def is_valid(self) -> bool:
        """Whether nearly every step that was asked has an answer, in both."""
        return self.first.is_valid and self.second.is_valid

    @property
    def verdict(self) -> Verdict:
        """What the chains say."""
        if self.chains.is_shown:
            return "better" if self.chains.low > 0 else "worse"
        return "no_worse" if self.chains.low > -self.margin else "undecided"

    @property
    def pairs_to_decide(self) -> int | None:
        """About how many chains would show a difference of the size that was found."""
        needed = pairs_to_decide(self.chains) if self.verdict in ("no_worse", "undecided") else None
        return needed if needed is None or needed > self.chains.n_pairs else None

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON: every figure with its counts and its method."""
        return {
            "format": FORMAT,
            "first": _run_to_json(self.first),
            "second": _run_to_json(self.second),
            "valid": self.is_valid,
            "verdict": self.verdict,
            "margin": self.margin,
            "chains": self.chains.to_json(),
            "chains_unpaired": self.chains_unpaired,
            "chains_unlabelled": self.chains_unlabelled,
            "chains_to_decide": self.pairs_to_decide,
            "steps": self.steps.to_json(),
            "steps_unpaired": self.steps_unpaired,
            "regressions": [change.to_json() for change in self.regressions],
            "gains": [change.to_json() for change in self.gains],
            "doubts": list(self.doubts),
        }


def compare_runs(log: "ToolLog", first: str, second: str, *, margin: float = MARGIN) -> Comparison:
    """Compare two runs by their names.

    Args:
        log: The store.
        first: What is there: the base model.
        second: What may replace it: the fine-tune.
        margin: See ``MARGIN``.

    Raises:
        NothingMatchedError: There is no such run, or no step that both were judged on.
        ConfigError: They replayed different scenarios, or the margin makes no sense.
    """
    if not 0 <= margin < 1:
        raise ConfigError(f"the margin must be 0 or more and less than 1, not {margin}", hint="0.03 is three points")
    replays = Replays(log)
    runs = replays.run(first), replays.run(second)
    if runs[0].mode != runs[1].mode:
        modes = [_MODES.get(run.mode, run.mode) for run in runs]
        raise ConfigError(
            f"{first} was asked {modes[0]}, {second} {modes[1]}",
            hint="replay one set in the same --mode with both models",
        )
    if runs[0].tag != runs[1].tag:
        raise ConfigError(
            f"{first} replayed the scenarios {runs[0].tag!r}, {second} those of {runs[1].tag!r}",
            hint="replay one set with both models",
        )
    found = compared(load(log, first), load(log, second), margin)
    found = replace(found, doubts=(*found.doubts, *_outdated(log, runs), *_noise(log, replays, found)))
    if not found.steps.n_pairs:
        raise NothingMatchedError(
            f"no step has a verdict in both {first} and {second}", hint="let both runs finish: `toollog replay list`"
        )
    return found


def compared(first: Material, second: Material, margin: float = MARGIN) -> Comparison:
    """Compare two runs. Pure."""
    left, right = (_judged(of) for of in (first, second))
    known = [judged_chains(of).determined for of in (first, second)]
    counted = _counted(first, second)
    chains = [only(verdicts, counted) for verdicts in known]
    scorer = TURN_VERDICT if first.is_closed_loop else VERDICT
    steps = [{key: is_right(trial, scorer) for key, trial in each.items()} for each in (left, right)]

    def changes(was: Mapping[Place, TrialRow], now: Mapping[Place, TrialRow]) -> tuple[Change, ...]:
        both = [key for key in was if key in now]
        lost = (key for key in both if is_right(was[key], scorer) and not is_right(now[key], scorer))
        return tuple(_change(now[key], scorer, first, key) for key in lost)

    return Comparison(
        first=summarise(first),
        second=summarise(second),
        chains=_chain_pairs(first, *chains),
        steps=clustered_difference(
            Pair(steps[0][key], steps[1][key], first.places[key[0]].cluster)
            for key in sorted(steps[0].keys() & steps[1].keys())
        ),
        chains_unpaired=len(chains[0].keys() ^ chains[1].keys()),
        chains_unlabelled=sum(key not in counted for key in known[0].keys() & known[1].keys()),
        steps_unpaired=len(steps[0].keys() ^ steps[1].keys()),
        margin=margin,
        regressions=changes(left, right),
        gains=changes(right, left),
        doubts=tuple(_doubts(first.run, second.run)),
    )


def _counted(first: Material, second: Material) -> Collection[int]:
    """Return the scenarios whose chains count. What is right is no question when one model is asked again."""
    everything = first.scenarios.keys() | second.scenarios.keys()
    is_again = second.run.params.get(AGAIN) == first.run.name
    return everything if is_again else labelled(first) | labelled(second) or everything


def _chain_pairs(of: Material, first: Mapping[int, bool], second: Mapping[int, bool]) -> PairedDifference:
    keys = sorted(first.keys() & second.keys())
    weights = of.weights(keys)
    return clustered_difference(Pair(first[key], second[key], of.places[key].cluster, weights[key]) for key in keys)


def _judged(of: Material) -> dict[Place, TrialRow]:
    """Return what has a verdict: each step; in a closed loop the last trial of each turn, as step 0."""
    if not of.is_closed_loop:
        return {(trial.scenario_id, trial.step_no): trial for trial in judged_trials(of.trials)}
    scored = (trial for trial in of.trials if trial.attempt == 1 and TURN_VERDICT in trial.scores)
    return {(trial.scenario_id, 0): trial for trial in scored if trial.scores[TURN_VERDICT].value is not None}


def _change(trial: TrialRow, scorer: str, of: Material, place: Place) -> Change:
    scenario, uid = of.scenarios[place[0]], of.places[place[0]].uid
    detail = trial.scores[scorer].detail
    code = detail.get("code")
    finding: Mapping[str, Any] = next((found for found in detail.get("findings", ()) if found["code"] == code), {})
    return Change(uid, scenario.conversation_uid, scenario.turn_no, place[1], code, finding, trial.exchange_uid)


def _doubts(first: RunRow, second: RunRow) -> Iterator[str]:
    servers = first.server or {}, second.server or {}
    for key, meaning in _SERVER.items():
        values = [server.get(key) for server in servers]
        if None not in values and values[0] != values[1]:
            yield f"{meaning} ({key}: {values[0]}, {values[1]})"
    for key in _ASKED:
        asked = [_without_contestant(run.params.get(key)) for run in (first, second)]
        if asked[0] != asked[1]:
            yield f"they were asked in different ways ({key}: {asked[0]}, {asked[1]})"
    for run in (first, second):
        if run.params.get(UNTIL) is not None:
            yield f"{run.name} ended when its gate was clear: what it was asked depends on how it did"
        if run.status != "finished":
            yield f"{run.name} is {run.status}: what it has not been asked is not compared"


def _outdated(log: "ToolLog", runs: Iterable[RunRow]) -> Iterator[str]:
    for run in runs:
        if is_outdated(log, run):
            yield (
                f"{run.name} was judged before answers were accepted, or taken back: "
                f"`toollog replay score {run.name}` brings it up to date"
            )


def _noise(log: "ToolLog", replays: Replays, found: Comparison) -> Iterator[str]:
    """Yield that the difference is no larger than what changes when one of the two is asked again."""
    names = (found.first.run.name, found.second.run.name)
    for again in replays.runs():
        of = again.params.get(AGAIN)
        if of not in names or again.name in names or found.chains.estimate is None:
            continue
        chains = flips(load(log, str(of)), load(log, again.name)).chains
        if chains.estimate is not None and chains.estimate >= abs(found.chains.estimate) > 0:
            counts = f"{chains.numerator} of {chains.denominator}"
            yield f"asked again, {of} gives another verdict on {counts} chains: that is as much"


def _without_contestant(value: Any) -> Any:
    return {key: each for key, each in value.items() if key != _CONTESTANT} if isinstance(value, dict) else value


def _run_to_json(report: Report) -> dict[str, Any]:
    run = report.run
    return {"name": run.name, "tag": run.tag, "model": run.model, "valid": report.is_valid,
            "chains": {"kind": report.word, **report.chains.to_json()}}  # fmt: skip
