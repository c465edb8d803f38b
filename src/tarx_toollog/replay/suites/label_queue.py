"""What is worth a person's look: steps of which nobody has said what would have been right.

*Theory.* For a suite, every turn that it was drawn from is read. One whose logged decision is bad cannot be asked, and
is not counted, until it has a label; so these come first. After them come steps that the runs of the suite answered
otherwise than the log: either a model or the log is wrong there, and nobody has looked. Within both, the tools that are
called least come first, since one label says most there, and then the longest chains. Without a suite nobody waits for
a certain turn, and the latest of the log is enough (``store.answers.label_queue``).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.scenario import BRONZE, Scenario
from tarx_toollog.replay.scoring import VERDICT
from tarx_toollog.replay.suites.freeze import TESTED, Turn, read_turns
from tarx_toollog.store.answers.label_queue import DISAGREEMENT, LabelQueue, Proposal
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.replays import TEACHER_FORCED, Replays
from tarx_toollog.store.suites import ScenarioRow, Suites

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

RUNS_DISAGREE = "runs_disagree"
"""Reason of a step that runs answered otherwise than the log."""
_SHOWN = 200  # characters of what the user said
_HUMAN = "human"


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One step that is worth a look."""

    exchange_uid: str
    """What to label."""
    conversation_uid: str
    turn_no: int
    step_no: int
    depth: int
    """Steps of the turn."""
    reason: str
    """``RUNS_DISAGREE``, or a key of ``tiers.NEEDS_LABEL``; without a suite, one of ``store.answers.label_queue``."""
    tools: tuple[str, ...]
    """Called in the turn, in order."""
    runs_wrong: int | None
    """Runs of the suite that answered otherwise than the log; None where none was named."""
    user_text: str

    def to_json(self) -> dict[str, Any]:
        """Return it as a row."""
        return {slot: getattr(self, slot) for slot in self.__slots__} | {"tools": " ".join(self.tools)}


def queue(log: "ToolLog", filters: Filters | None = None, tag: str | None = None) -> list[QueueEntry]:
    """Return what is worth a label, most worth first.

    Args:
        log: The store.
        filters: Which turns; without ``splits`` those of conversations that are kept for evaluation.
        tag: A suite: the turns that it was drawn from, and what its runs said. Without one, the latest of the log.

    Raises:
        NothingMatchedError: There is no such suite.
        ConfigError: The suite was not made from the log.
    """
    filters = filters or Filters()
    if tag is None:
        meant = replace(filters, splits=filters.splits or TESTED)
        proposals = LabelQueue(log).proposals(filters.limit, filters=meant, disputed=disputed_answers(log))
        return [_proposed(one) for one in proposals]
    meant = _drawn_from(log, tag, filters)
    meant = replace(meant, splits=meant.splits or TESTED)
    uses: Counter[str] = Counter()
    found: list[QueueEntry] = []
    disputed = _disputed(log, tag)
    for turn in read_turns(log, meant):
        uses.update(turn.facts.tools)
        found += _entries(turn, disputed)
    found.sort(key=lambda entry: _worth(entry, uses))
    return found[: filters.limit]


def disputed_answers(log: "ToolLog") -> list[str]:
    """Return the logged exchanges about which the latest runs of the suite that was replayed last disagree."""
    found: dict[str, None] = {}
    for row, step_no in LabelQueue(log).disagreements(VERDICT):
        steps = Scenario.from_json(row.definition).steps
        found |= {step.exchange_uid: None for step in steps if step.step_no == step_no and step.exchange_uid}
    return list(found)


def _drawn_from(log: "ToolLog", tag: str, filters: Filters) -> Filters:
    """Return the filters of a suite; those that the person gave come before them, but the limit is on entries."""
    known = Suites(log).suite(tag)
    if known is None:
        raise NothingMatchedError(f"no suite called {tag!r}", hint="`toollog replay list` shows the tags")
    if "filters" not in known.made:
        raise ConfigError(f"the suite {tag!r} was not made from the log", hint="leave --tag out")
    given = {slot: value for slot in Filters.__slots__ if slot != "limit" and (value := getattr(filters, slot))}
    return replace(Filters.parse(**known.made["filters"]), **given)


def _disputed(log: "ToolLog", tag: str) -> dict[str, int]:
    """Return how many runs of a suite answered otherwise than the log, by the logged exchange."""
    scenarios: dict[int, tuple[ScenarioRow, Scenario]] = {
        row.id: (row, Scenario.from_json(row.definition)) for row in Suites(log).scenarios(tag)
    }
    replays = Replays(log)
    wrong: dict[tuple[int, int], int] = defaultdict(int)
    for run in replays.runs():
        if run.tag == tag and run.mode == TEACHER_FORCED:
            places = (key for key, value in replays.verdicts(run.id, VERDICT).items() if value == 0.0 and key[2] == 1)
            for scenario_id, step_no, _ in places:
                wrong[scenario_id, step_no] += 1
    labelled = {row.target_uid for row in Labels(log).labels() if row.annotator_kind == _HUMAN}
    return {
        step.exchange_uid: wrong[key, step.step_no]
        for key, (_, scenario) in scenarios.items()
        for step in scenario.steps
        if (key, step.step_no) in wrong and (step.tier or scenario.tier) == BRONZE and step.exchange_uid not in labelled
    }


def _entries(turn: Turn, disputed: Mapping[str, int]) -> Iterable[QueueEntry]:
    reasons = {step.exchange_uid: step.reason for step in turn.waiting}
    for step in turn.trajectory.steps:
        uid = step.exchange_uid
        if uid in reasons or uid in disputed:
            yield QueueEntry(
                exchange_uid=uid,
                conversation_uid=turn.trajectory.conversation_uid,
                turn_no=turn.trajectory.turn_no,
                step_no=step.step_no,
                depth=len(turn.trajectory.steps),
                reason=reasons.get(uid, RUNS_DISAGREE),
                tools=tuple(call.name for one in turn.trajectory.steps for call in one.tool_calls),
                runs_wrong=disputed.get(uid, 0),
                user_text=_said(step.messages)[:_SHOWN],
            )


def _proposed(one: Proposal) -> QueueEntry:
    return QueueEntry(
        exchange_uid=one.exchange_uid,
        conversation_uid=one.conversation_uid,
        turn_no=one.turn_no,
        step_no=one.step_no,
        depth=one.n_steps,
        reason=RUNS_DISAGREE if one.reason == DISAGREEMENT else one.reason,
        tools=tuple(one.signature.split(">")) if one.signature else (),
        runs_wrong=None,
        user_text=one.user_text[:_SHOWN],
    )


def _worth(entry: QueueEntry, uses: Mapping[str, int]) -> tuple[Any, ...]:
    rarest = min((uses[tool] for tool in entry.tools), default=sum(uses.values()))
    return entry.reason == RUNS_DISAGREE, rarest, -entry.depth, -(entry.runs_wrong or 0), entry.exchange_uid


def _said(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return the user's last message, as text."""
    contents = [message.get("content") for message in messages if message.get("role") == "user"]
    content = contents[-1] if contents else None
    parts = content if isinstance(content, list) else [{"text": content}]
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and part.get("text"))
