"""From logged turns to scenarios: which decisions become tests, and why the others do not.

Nothing is dropped silently. A turn that gives no scenario comes back as ``Skipped`` with its reason; a step that
cannot be asked is an ``Omitted`` of its scenario. Both are counted, because what is left out is not random: a set
that only holds what the old model did well flatters the old model. What is expected at a step, and how far that is to
be trusted, is for ``tiers`` to say; how many turns a scenario stands for, for ``sampling``.

Only conversations that are kept for evaluation are frozen (``store.splits``), because training takes the others: a test
that the model has learned by heart measures its memory. Who wants others says so, and each scenario says what its
conversation was kept for.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.model import LoggedCall, Step, Trajectory
from tarx_toollog.replay.matching import NO_RULES, Rules
from tarx_toollog.replay.reports.axes import axes
from tarx_toollog.replay.scenario import BRONZE, TIERS, Omitted, Recorded, Scenario, ScenarioStep, TurnCall
from tarx_toollog.replay.suites.build_report import BuildReport, tier_counts
from tarx_toollog.replay.suites.clusters import clusters
from tarx_toollog.replay.suites.label_lint import lint
from tarx_toollog.replay.suites.sampling import (
    BAD_DECISION,
    FAILED_CALL,
    NOT_COMPLETED,
    OK,
    OUTCOMES,
    Stratum,
    TurnFacts,
    strata,
)
from tarx_toollog.replay.suites.tiers import (
    NEEDS_LABEL,
    Expectation,
    LabelsByTarget,
    expectation,
    flaw_of,
    is_opposed,
)
from tarx_toollog.store.answers.queries import turns_by_split
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import Labels, by_target
from tarx_toollog.store.suites import NewScenario, Suites

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_NEVER_ASKED = {
    "other_protocol": "its wire protocol cannot be replayed yet",
    "several_choices": "more than one answer was asked for",
    "no_tools_offered": "no tool could be called, so there was nothing to decide",
}
REASONS = {"turn_failed": "the turn did not complete", **_NEVER_ASKED, **NEEDS_LABEL}
"""Every reason with its explanation."""

NO_LABELS: LabelsByTarget = {}
TESTED = frozenset({"eval"})
"""What a conversation is kept for that is asked, unless somebody says otherwise."""
_PROTOCOL = "openai_chat"
_LATER = 2
"""Turns in which somebody may still take back that he approved of an answer."""
_CLASSES = {"logged_call_failed": FAILED_CALL, "not_completed": NOT_COMPLETED}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A turn that gives no scenario."""

    conversation_uid: str
    turn_no: int
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step of which nobody has said what would have been right."""

    step_no: int
    exchange_uid: str
    reason: str
    """A key of ``NEEDS_LABEL``."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A logged turn, and what becomes of it."""

    trajectory: Trajectory
    found: Scenario | Skipped
    outcome: str
    """How it went: one of ``sampling.OUTCOMES``."""
    waiting: tuple[Waiting, ...]
    """Its steps that need a label."""

    @property
    def facts(self) -> TurnFacts:
        """What decides about its place in a suite."""
        scenario = self.found if isinstance(self.found, Scenario) else None
        made = (call.name for step in self.trajectory.steps for call in (*step.tool_calls, *step.leaked_calls))
        expected = (call.name for step in scenario.steps for call in step.expected) if scenario else ()
        return TurnFacts(
            self.trajectory.conversation_uid,
            self.trajectory.turn_no,
            depth=len(self.trajectory.steps),
            outcome=self.outcome,
            tools=frozenset((*made, *expected)),
            hash=None if scenario is None else scenario.content_hash,
            is_whole=scenario is not None and scenario.is_whole,
            needs_label=bool(self.waiting),
        )


@dataclass(slots=True)
class _Read:
    """What is known of the turns that were read; the scenarios themselves only where all of them are taken."""

    keeps: bool
    facts: list[TurnFacts] = field(default_factory=list)
    scenarios: dict[bytes, Scenario] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    omitted: Counter[str] = field(default_factory=Counter)

    @property
    def equal(self) -> int:
        """Turns that ask the same as another one."""
        hashes = [facts.hash for facts in self.facts if facts.hash is not None]
        return len(hashes) - len(set(hashes))

    def strata(self, sample: int | None) -> list[Stratum]:
        """Put all that can be asked, or could be with a label, into strata."""
        return strata((facts for facts in self.facts if facts.hash is not None or facts.needs_label), sample)

    def read(self, turns: Iterable[Turn]) -> "_Read":
        """Take note of turns."""
        for turn in turns:
            self._add(turn)
        return self

    def _add(self, turn: Turn) -> None:
        facts = turn.facts
        self.facts.append(facts)
        if isinstance(turn.found, Skipped):
            self.skipped[turn.found.reason] += 1
            return
        self.omitted.update(left.reason for left in turn.found.omitted)
        if self.keeps:
            _keep(self.scenarios, turn.found, facts)


def build(
    log: "ToolLog", tag: str, filters: Filters | None = None, rules: Rules = NO_RULES, *, sample: int | None = None
) -> BuildReport:
    """Freeze the turns that ``filters`` mean into the suite ``tag``.

    Args:
        log: The store, open for writing.
        tag: Name of the suite.
        filters: Which turns; without ``splits`` those of conversations that are kept for evaluation.
        rules: What else is right for single arguments; they are frozen, too.
        sample: Take at most so many scenarios, some of each kind of turn (``sampling``); None takes all.

    Raises:
        NothingMatchedError: The filters leave no turn.
        ConfigError: The suite is there and holds other scenarios; or the sample is too small.
    """
    meant = replace(filters or Filters(), splits=(filters and filters.splits) or TESTED)
    kept_for = _kept_for(log, meant)
    read = _Read(keeps=sample is None).read(read_turns(log, meant, rules))
    if not read.facts:
        raise _nothing(meant.splits, kept_for)
    groups = read.strata(sample)
    place = {digest: group for group in groups for digest in group.drawn}
    scenarios = read.scenarios if sample is None else _drawn(log, meant, rules, place)
    report = BuildReport(
        tag=tag,
        turns=len(read.facts),
        taken=len(scenarios),
        equal=read.equal,
        steps=sum(len(scenario.steps) for scenario in scenarios.values()),
        sample=sample,
        filters=meant.as_json(),
        kept_for=kept_for,
        skipped=dict(read.skipped.most_common()),
        omitted=dict(read.omitted.most_common()),
        tiers=tier_counts(scenarios.values()),
        strata=tuple(groups),
        lint=lint(scenarios.values()),
    )
    # A name is given once: a suite of nothing would keep it from the one that is meant.
    if not scenarios:
        return report
    return replace(report, is_new=Suites(log).freeze(tag, _stored_all(scenarios, place), report.made()))


def read_turns(log: "ToolLog", filters: Filters, rules: Rules = NO_RULES) -> Iterator[Turn]:
    """Yield the turns that ``filters`` mean, each with its scenario or why there is none."""
    # Labels first: the writer has one connection, and the reader of turns holds it to its end.
    labels = by_target(Labels(log).labels())
    window: deque[Trajectory] = deque()
    for trajectory in log.trajectories(filters):
        window.append(trajectory)
        if len(window) > _LATER:
            yield _turn(window, labels, rules)
            window.popleft()
    while window:
        yield _turn(window, labels, rules)
        window.popleft()


def freeze(
    trajectory: Trajectory, rules: Rules = NO_RULES, labels: LabelsByTarget = NO_LABELS, *, is_disputed: bool = False
) -> Scenario | Skipped:
    """Return the scenario of a turn, or why there is none.

    Args:
        trajectory: The turn.
        rules: What else is right for single arguments.
        labels: What was said about it, by uid of the target.
        is_disputed: Whether somebody was against what happened in the next two turns.
    """
    return _frozen(trajectory, _expectations(trajectory, labels, is_disputed=is_disputed), rules)


def stored(
    scenario: Scenario, *, weight: float = 1.0, stratum: str | None = None, cluster: str | None = None
) -> NewScenario:
    """Return a scenario as it is stored, with how hard each step is."""
    steps = tuple(replace(step, axes=axes(step)) for step in scenario.steps)
    return NewScenario(
        hash=scenario.content_hash,
        conversation_uid=scenario.conversation_uid,
        turn_no=scenario.turn_no,
        signature=scenario.signature,
        n_steps=len(scenario.steps),
        tier=scenario.tier,
        definition=replace(scenario, steps=steps).to_json(),
        weight=weight,
        stratum=stratum,
        cluster=cluster,
    )


# ---- building --------------------------------------------------------------------------------------------------------


def _kept_for(log: "ToolLog", meant: Filters) -> dict[str, int]:
    """Return how many turns match but for what their conversations are kept for."""
    there = turns_by_split(log.engine, replace(meant, splits=frozenset()))
    return {split: count for split, count in there.items() if split not in meant.splits}


def _drawn(log: "ToolLog", filters: Filters, rules: Rules, wanted: Mapping[bytes, Stratum]) -> dict[bytes, Scenario]:
    """Read the turns again and return the scenarios that were drawn: a large log does not fit in memory."""
    found: dict[bytes, Scenario] = {}
    for turn in read_turns(log, filters, rules):
        if isinstance(turn.found, Scenario) and (facts := turn.facts).hash in wanted:
            _keep(found, turn.found, facts)
    return found


def _keep(scenarios: dict[bytes, Scenario], scenario: Scenario, facts: TurnFacts) -> None:
    """Keep the first of those that ask the same, or the first whose chain can be judged."""
    if facts.hash is not None and (facts.hash not in scenarios or facts.is_whole > scenarios[facts.hash].is_whole):
        scenarios[facts.hash] = scenario


def _stored_all(scenarios: Mapping[bytes, Scenario], place: Mapping[bytes, Stratum]) -> list[NewScenario]:
    names = clusters(list(scenarios.values()))
    return [
        stored(scenario, weight=place[digest].weight(digest), stratum=place[digest].name, cluster=name)
        for (digest, scenario), name in zip(scenarios.items(), names, strict=True)
    ]


def _nothing(splits: Iterable[str], kept_for: Mapping[str, int]) -> NothingMatchedError:
    if not kept_for:
        return NothingMatchedError(
            "no turn matches", hint="widen the filters; `toollog conversations list` shows what there is"
        )
    others = " and ".join(f"{count} of {split}" for split, count in kept_for.items())
    options = " ".join(f"--split {split}" for split in sorted({*splits, *kept_for}))
    return NothingMatchedError(
        f"no turn matches whose conversation is kept for {', '.join(sorted(splits))}; there are {others}",
        hint=f"a small log may have none; {options} takes the others too, and training must then do without them",
    )


# ---- reading ---------------------------------------------------------------------------------------------------------


def _turn(window: Sequence[Trajectory], labels: LabelsByTarget, rules: Rules) -> Turn:
    """Return the first turn of a window; the others may hold who takes an approval back."""
    trajectory, *later = window
    is_disputed = any(
        is_opposed(step, labels)
        for other in later
        if other.conversation_uid == trajectory.conversation_uid and other.turn_no - trajectory.turn_no <= _LATER
        for step in other.steps
    )
    expectations = _expectations(trajectory, labels, is_disputed=is_disputed)
    found = list(zip(trajectory.steps, expectations, strict=True))
    return Turn(
        trajectory,
        _frozen(trajectory, expectations, rules),
        outcome=max((_class(step, expected) for step, expected in found), key=OUTCOMES.index, default=NOT_COMPLETED),
        waiting=tuple(
            Waiting(step.step_no, step.exchange_uid, expected)
            for step, expected in found
            if isinstance(expected, str) and expected in NEEDS_LABEL
        ),
    )


def _class(step: Step, expected: Expectation | str) -> str:
    """Return how a step went, as it shows in the log itself.

    What a person corrects stays with its kind: if it went elsewhere, those that are called good would stand alone for
    all that nobody has looked at, and the share would come out too high.
    """
    if (flaw := flaw_of(step)) is not None:
        return _CLASSES.get(flaw, BAD_DECISION)
    return BAD_DECISION if isinstance(expected, str) and expected in NEEDS_LABEL else OK


# ---- freezing --------------------------------------------------------------------------------------------------------


def _expectations(
    trajectory: Trajectory, labels: LabelsByTarget, *, is_disputed: bool
) -> tuple[Expectation | str, ...]:
    """Return for each step what is expected, or why it is not asked."""
    about = labels.get(trajectory.conversation_uid, ())
    return tuple(
        _never_asked(step) or expectation(trajectory.steps, place, labels, turn_labels=about, is_disputed=is_disputed)
        for place, step in enumerate(trajectory.steps)
    )


def _frozen(trajectory: Trajectory, expectations: Sequence[Expectation | str], rules: Rules) -> Scenario | Skipped:
    found = list(zip(trajectory.steps, expectations, strict=True))
    asked = [(step, expected) for step, expected in found if isinstance(expected, Expectation)]
    omitted = tuple(Omitted(step.step_no, reason) for step, reason in found if isinstance(reason, str))
    if not asked:
        reason = "no_output" if not omitted else omitted[0].reason
        is_failed = trajectory.status == "failed"
        return Skipped(trajectory.conversation_uid, trajectory.turn_no, "turn_failed" if is_failed else reason)
    tier = max((expected.tier for _, expected in asked), key=TIERS.index, default=BRONZE)
    return Scenario(
        trajectory.conversation_uid,
        trajectory.turn_no,
        tuple(_freeze_step(step, expected, tier, rules) for step, expected in asked),
        omitted,
        tier=tier,
        split=trajectory.split,
        recording=tuple(_turn_call(step.step_no, call) for step in trajectory.steps for call in step.tool_calls),
    )


def _never_asked(step: Step) -> str | None:
    """Return why a step cannot be asked, whatever anybody says would have been right."""
    if step.protocol != _PROTOCOL:
        return "other_protocol"
    if step.params.get("n") not in (None, 1):
        return "several_choices"
    if not step.tool_calls and (not step.tools or step.params.get("tool_choice") == "none"):
        return "no_tools_offered"
    return None


def _freeze_step(step: Step, expected: Expectation, tier: str, rules: Rules) -> ScenarioStep:
    return ScenarioStep(
        step_no=step.step_no,
        exchange_uid=step.exchange_uid,
        messages=step.messages,
        tools=step.tools,
        params=step.params,
        expected=expected.calls,
        recorded=Recorded(step.output or {}, step.finish_reason, step.model),
        rules={call.name: rules[call.name] for call in expected.calls if call.name in rules},
        asks=expected.asks,
        tier=None if expected.tier == tier else expected.tier,
    )


def _turn_call(step_no: int, call: LoggedCall) -> TurnCall:
    read = parse_arguments(call.arguments, complete=call.complete).value
    return TurnCall(step_no, call.name, read, call.result_text, bool(call.result_is_error))
