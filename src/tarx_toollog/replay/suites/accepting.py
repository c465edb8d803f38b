"""Accepting: an answer of a run that was judged wrong, and that a person finds as right as the expected one.

*Theory.* A suite never changes, so what is accepted lies over it: a label ``also_right`` on the answer of the run. It
holds for everything that asks the same, in any suite and for any run, and a run that is scored again counts it
(``overlay``). What is accepted are the calls, or that the model answered in text; its words are not compared.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.errors import ConfigError
from tarx_toollog.model import Outcome
from tarx_toollog.replay.overlay import calls_made
from tarx_toollog.replay.scorers.findings import LEAKED
from tarx_toollog.replay.scoring import VERDICT, changed_runs, score_run
from tarx_toollog.store.accepted import Accepted, AskedTrial
from tarx_toollog.store.labels import ALSO_RIGHT, Labels, NewLabel
from tarx_toollog.store.replays import TEACHER_FORCED, Replays

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


@dataclass(frozen=True, slots=True)
class AcceptedAnswer:
    """What accepting an answer did."""

    label_id: int
    run: str
    exchange_uid: str
    step_no: int
    rescored: int
    """Trials of the run that were scored again."""
    other_runs: tuple[str, ...]
    """Other runs that have a verdict which would change when they are scored again."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {slot: getattr(self, slot) for slot in self.__slots__} | {"other_runs": list(self.other_runs)}


def accept(log: "ToolLog", exchange_uid: str, *, by: str, comment: str | None = None) -> AcceptedAnswer:
    """Say that an answer of a run is as right as the expected one, and score the run's answers to it again.

    Args:
        log: The store, open for writing.
        exchange_uid: The exchange that the run made.
        by: Who says so.
        comment: Why.

    Raises:
        NothingMatchedError: The exchange is no answer of a run.
        ConfigError: The answer cannot be accepted, or is right already.
    """
    asked = Accepted(log).trial_of(exchange_uid)
    _require_acceptable(log, asked)
    new = NewLabel("exchange", exchange_uid, ALSO_RIGHT, value_num=1.0, comment=comment, annotator=by)
    label_id = Labels(log).add(new)
    rescored = score_run(log, asked.run, only={asked.scenario_id})
    others = changed_runs(log, asked)
    return AcceptedAnswer(label_id, asked.run, exchange_uid, asked.step_no, rescored, others)


def _require_acceptable(log: "ToolLog", asked: AskedTrial) -> None:
    if asked.mode != TEACHER_FORCED:
        raise ConfigError(
            "an answer of a closed loop cannot be accepted: the model was shown a history of its own",
            hint="label the logged turn: `toollog labels add`",
        )
    (trial,) = Replays(log).trials(asked.run_id, trial_id=asked.trial_id)
    if trial.answer is None or trial.answer.outcome != Outcome.COMPLETED:
        raise ConfigError("there is no complete answer to accept", hint=f"`toollog replay show {asked.run}` says why")
    calls = [call for call in trial.answer.calls if call.origin != LEAKED]
    if len(calls) < len(trial.answer.calls) or any(not call.offered for call in calls):
        raise ConfigError("it has a call that nobody could carry out", hint="only what works can be accepted")
    if any(call.arguments is None for call in calls_made(trial.answer)):
        raise ConfigError("it has arguments that cannot be read", hint="only what works can be accepted")
    if not calls and not (trial.answer.text or "").strip():
        raise ConfigError("the answer is empty", hint="only what works can be accepted")
    verdict = trial.scores.get(VERDICT)
    if verdict is not None and verdict.value == 1.0:
        raise ConfigError("that answer counts as right already", hint=f"`toollog replay show {asked.run} --failed`")
