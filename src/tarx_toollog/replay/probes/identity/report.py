"""What runs of the probe of identity say: one run has two arms, two runs have four."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.probes.cases import Case, Reading, by_original, read
from tarx_toollog.replay.probes.differences import pairs_of
from tarx_toollog.replay.probes.identity.arms import ARMS, FIRST, LATER, ORDINARY, PROBE, TOOL_USE, WITH, WITHOUT
from tarx_toollog.replay.probes.levels import MARGIN, State, at, share_of, state_of, verdicts
from tarx_toollog.replay.scorers.identity.judging import Judgement, TextCheck, judge_text
from tarx_toollog.replay.statistics.paired import PairedDifference
from tarx_toollog.replay.statistics.proportion import Case as Counted
from tarx_toollog.replay.statistics.proportion import Proportion, clustered, wilson

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
NOBODY, CALLED = "(nobody)", "(called a tool)"
CALLED_TOOL = "called_tool"
"""The verdict on an answer that says nothing because it is a call: who speaks, a later answer would have said."""
_RESAMPLES = 2_000
_SEED = 0  # the same figures every time


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with the answer to it, judged."""

    of: str
    family: str
    judgement: Judgement
    """Of the words of the answer."""
    is_call: bool
    """Whether it has no words, and calls a tool instead."""
    claimed: str
    """Whom it says it is, for the distribution."""

    @property
    def verdict(self) -> str:
        """What the answer is."""
        return CALLED_TOOL if self.is_call else self.judgement.verdict


@dataclass(frozen=True, slots=True)
class Late:
    """Questions that were asked late in a dialogue, and the same questions at its beginning."""

    turn: int
    share: Proportion
    difference: PairedDifference
    """Late minus at once."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One run, with the system prompt or without."""

    run: str
    level: str
    questions: Mapping[str, Judged]
    """By id; asked at once."""
    consistent: Proportion
    families: Proportion
    """Families of which every question is answered consistently."""
    claimed: Mapping[str, int]
    verdicts: Mapping[str, int]
    late: tuple[Late, ...]
    quiet: Proportion
    """Ordinary questions whose answer does not say who speaks."""
    tool_use: Proportion
    tools: Mapping[str, bool]
    """Scenario of the suite → whether every step of it is right."""
    tool_clusters: Mapping[str, str]
    """Scenario → what it hangs together with."""

    @property
    def is_right(self) -> dict[str, bool]:
        """Question → whether the answer is consistent."""
        return {key: each.judgement.is_right for key, each in self.questions.items()}

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "run": self.run,
            "system_prompt": self.level == WITH,
            "consistent": self.consistent.to_json(),
            "families_all_consistent": self.families.to_json(),
            "claimed": dict(self.claimed),
            "verdicts": dict(self.verdicts),
            "late": [
                {"turn": each.turn, "consistent": each.share.to_json(), "difference": each.difference.to_json()}
                for each in self.late
            ],
            "ordinary_quiet": self.quiet.to_json(),
            "tool_use": self.tool_use.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms on the same questions, and on the same scenarios."""

    name: str
    identity: PairedDifference
    tool_use: PairedDifference

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {"pair": self.name, "identity": self.identity.to_json(), "tool_use": self.tool_use.to_json()}


@dataclass(frozen=True, slots=True)
class Interaction:
    """How much less the second run loses without the system prompt than the first."""

    estimate: float
    low: float
    high: float
    n_questions: int
    n_families: int

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "questions": self.n_questions,
            "families": self.n_families,
            "method": f"bootstrap over families, one gain and one loss added, {_RESAMPLES}, percentile",
        }


@dataclass(frozen=True, slots=True)
class IdentityReport:
    """One run, or two runs of the same questions."""

    readings: tuple[Reading, ...]
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    interaction: Interaction | None
    margin: float

    @property
    def is_valid(self) -> bool:
        """Whether nearly every question has an answer."""
        return all(reading.is_valid for reading in self.readings)

    def without_prompt(self, run: str) -> tuple[State, PairedDifference]:
        """Return whether a run does without the system prompt: it holds, it breaks, or nobody can say."""
        found = next(pair.identity for pair in self.pairs if pair.name == _within(run))
        return (state_of(found.low, found.high, self.margin) if found.n_pairs else "undecided"), found

    def to_json(self) -> dict[str, Any]:
        """Return all of it, every figure with its counts and its method."""
        return {
            "format": FORMAT,
            "probe": PROBE,
            "runs": [reading.to_json() for reading in self.readings],
            "margin": self.margin,
            "arms": [arm.to_json() for arm in self.arms],
            "pairs": [pair.to_json() for pair in self.pairs],
            "interaction": None if self.interaction is None else self.interaction.to_json(),
            "without_prompt": {reading.run.name: self.without_prompt(reading.run.name)[0] for reading in self.readings},
        }


def identity_report(log: "ToolLog", name: str, against: str | None = None, margin: float = MARGIN) -> IdentityReport:
    """Return what a run says, and with ``against`` what it says beside that one, which is the base.

    Raises:
        NothingMatchedError: There is no such run.
        ConfigError: It is a run of something else, or the two were asked different questions.
    """
    readings = [read(log, each, PROBE) for each in ([name] if against is None else [against, name])]
    if len({reading.run.tag for reading in readings}) > 1:
        tags = " and ".join(repr(reading.run.tag) for reading in readings)
        raise ConfigError(f"the runs were asked different questions: {tags}", hint="probe both with the same options")
    return identity_report_of(readings, margin)


def identity_report_of(readings: Sequence[Reading], margin: float = MARGIN) -> IdentityReport:
    """Count the answers. Pure."""
    arms = tuple(_arm(reading, level) for reading in readings for level in ARMS)
    pairs = [_pair(_within(arms[place].run), arms[place], arms[place + 1]) for place in range(0, len(arms), 2)]
    interaction = None
    if len(readings) == 2:
        pairs += [
            _pair(f"{second.run} beside {first.run}, {_SAID[first.level]}", first, second)
            for first, second in zip(arms[:2], arms[2:], strict=True)
        ]
        interaction = _interaction(arms)
    return IdentityReport(tuple(readings), arms, tuple(pairs), interaction, margin)


_SAID = {WITH: "with the system prompt", WITHOUT: "without"}


def _within(run: str) -> str:
    return f"{run}, without the system prompt"


def _arm(reading: Reading, level: str) -> Arm:
    questions = _judged(at(reading.cases, FIRST, level))
    by_family: dict[str, list[bool]] = defaultdict(list)
    for each in questions.values():
        by_family[each.family].append(each.judgement.is_right)
    ordinary = _judged(at(reading.cases, ORDINARY, level)).values()
    steps = at(reading.cases, TOOL_USE, level)
    return Arm(
        run=reading.run.name,
        level=level,
        questions=questions,
        consistent=_consistent(questions.values()),
        families=wilson(sum(map(all, by_family.values())), len(by_family)),
        claimed=dict(Counter(each.claimed for each in questions.values()).most_common()),
        verdicts=dict(Counter(each.verdict for each in questions.values()).most_common()),
        late=tuple(
            _late(reading, level, turn, questions) for turn in LATER if at(reading.cases, f"turn {turn}", level)
        ),
        quiet=_consistent(ordinary),
        tool_use=share_of(steps),
        tools=verdicts(by_original(steps)),
        tool_clusters={case.of: case.cluster for case in steps},
    )


def _judged(cases: Iterable[Case]) -> dict[str, Judged]:
    """Return the questions that have an answer, judged from the words of it."""
    found = {}
    for case in cases:
        answer = next((trial.answer for trial in case.trials), None)
        if not case.trials:
            continue
        check = TextCheck.from_json(case.scenario.steps[0].text_check, "scenario")
        judgement = judge_text(None if answer is None else answer.text, check)
        said = ", ".join(judgement.claimed)
        if judgement.verdict in ("consistent", "contradictory") and not check.is_negative:
            said = f"{check.name} and {said}" if said else check.name
        is_call = answer is not None and bool(answer.calls) and not (answer.text or "").strip()
        claimed = CALLED if is_call else said or NOBODY
        found[case.of] = Judged(case.of, case.cluster, judgement, is_call, claimed)
    return found


def _late(reading: Reading, level: str, turn: int, at_once: Mapping[str, Judged]) -> Late:
    late = _judged(at(reading.cases, f"turn {turn}", level))
    first, second = ({key: each.judgement.is_right for key, each in found.items()} for found in (at_once, late))
    return Late(turn, _consistent(late.values()), pairs_of(first, second, _families(late)))


def _consistent(judged: Iterable[Judged]) -> Proportion:
    return clustered(Counted(each.judgement.is_right, each.family) for each in judged)


def _pair(name: str, first: Arm, second: Arm) -> Pair:
    identity = pairs_of(first.is_right, second.is_right, _families(first.questions))
    return Pair(name, identity, pairs_of(first.tools, second.tools, first.tool_clusters))


def _families(questions: Mapping[str, Judged]) -> dict[str, str]:
    return {key: each.family for key, each in questions.items()}


def _interaction(arms: Sequence[Arm]) -> Interaction | None:
    """Return the difference of what the two runs lose without the system prompt; families are drawn as a whole."""
    results = [arm.is_right for arm in arms]
    by_family: dict[str, list[int]] = defaultdict(list)
    for key in set.intersection(*(set(result) for result in results)):
        base_with, base_without, tuned_with, tuned_without = (int(result[key]) for result in results)
        by_family[arms[0].questions[key].family].append((tuned_without - tuned_with) - (base_without - base_with))
    families = [by_family[family] for family in sorted(by_family)]
    if len(families) < 2:
        return None
    # As Bonett and Price add a case to each side: without these, families that all agree would leave no doubt at all.
    drawn = [*families, [1], [-1]]
    random = Random(_SEED)
    means = sorted(_mean(random.choices(drawn, k=len(drawn))) for _ in range(_RESAMPLES))
    low, high = means[round(0.025 * (_RESAMPLES - 1))], means[round(0.975 * (_RESAMPLES - 1))]
    return Interaction(_mean(families), low, high, sum(map(len, families)), len(families))


def _mean(families: Sequence[Sequence[int]]) -> float:
    values = [value for family in families for value in family]
    return sum(values) / len(values)
