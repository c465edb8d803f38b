"""Holds every example against the evaluation, beside the reading of the log; the verdicts come when all are asked.

*Theory.* An example is contaminated when any turn of its history is. The steps of a dialogue repeat its turns, so each
turn is asked about once, gets a number, and names the history before it by number: a history is known when the one
before it is, or its last turn is. What is asked is small, so that another process can be asked as well.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from tarx_toollog.export.contamination import Contamination, TurnParts, calls_in, turn_parts
from tarx_toollog.export.documents import turn_start
from tarx_toollog.export.evaluation import evaluation_documents
from tarx_toollog.export.example import Example, Message, Piece
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.redact import Cleaner
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store.datasets import Datasets
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.secret import load_secret

_REMEMBERED = 20_000  # histories: those of the dialogues of a page, many times over

Verdict = tuple[int, str]
"""Key of an example, and why it must not be trained on: a reason of ``export.reasons``."""


class Question(NamedTuple):
    """One history: that before it, and one turn more. They are numbered from 1 in the order of asking."""

    before: int
    """Number of the history before the turn; 0 when there is none."""
    turn: TurnParts | None
    """None when nothing was said, as in a system prompt."""
    key: int | None = None
    """The example that the history is; None when it is only a part of one."""
    conversation_uid: str | None = None
    exchange_uid: str | None = None


class Judge(Protocol):
    """Is asked, and answers at the end."""

    def ask(self, question: Question) -> None:
        """Take one question."""

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what must not be trained on, in the order of asking; after the last question."""


class JudgeHere:
    """The judge that sits in this process.

    Args:
        tests: What is kept for evaluation.
    """

    def __init__(self, tests: Contamination) -> None:
        self._tests = tests
        self._is_known = bytearray(1)  # by number of the history
        self._verdicts: list[Verdict] = []

    def ask(self, question: Question) -> None:
        """Judge one history."""
        is_known = bool(self._is_known[question.before])
        if not is_known and question.turn is not None:
            is_known = self._tests.knows_turn(question.turn)
        self._is_known.append(is_known)
        if question.key is not None:
            reason = self._tests.kept(question.conversation_uid, question.exchange_uid)
            is_settled = bool(self._verdicts) and self._verdicts[-1][0] == question.key
            if (reason is not None or is_known) and not is_settled:
                self._verdicts.append((question.key, reason or "near_scenario"))

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what must not be trained on."""
        return iter(self._verdicts)


class Questions:
    """Turns examples into questions.

    Args:
        judge: Is asked.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._n_asked = 0
        self._known: dict[int, tuple[Piece, int]] = {}
        self._first: Piece | None = None  # of the turn that was read last
        self._last: Piece | None = None
        self._end = 0
        self._parts = TurnParts("", (), ())

    def ask(self, key: int, example: Example) -> None:
        """Ask about an example, unless it is meant for evaluation."""
        if example.registry == "eval":
            return
        for step in example.steps[:-1]:  # a turn may be too short to be known again; its exchange is known
            self._ask(Question(0, None, key, step.origin.conversation_uid, step.origin.exchange_uid))
        values = [piece.value for piece in example.messages]
        # A piece of the log stands for all before it: ``Normaliser`` makes a new one for every place in a history.
        is_logged = example.origin.exchange_uid is not None
        before, new = self._history(example.messages, values, is_logged=is_logged)
        for first, end in reversed(new):
            turn = self._turn(example.messages, values, first, end) if first < end else None
            if end < len(values):
                question = Question(before, turn)
            else:
                question = Question(before, turn, key, example.origin.conversation_uid, example.origin.exchange_uid)
            before = self._ask(question)
            if is_logged:
                self._known[id(example.messages[end - 1])] = (example.messages[end - 1], before)

    def _turn(self, pieces: Sequence[Piece], values: Sequence[Message], first: int, end: int) -> TurnParts:
        """Return the parts of a turn; the steps of a chain, which come one after the other, differ in calls alone."""
        done = self._end
        if first < done < end and pieces[first] is self._first and pieces[done - 1] is self._last:
            self._parts = self._parts._replace(calls=[*self._parts.calls, *calls_in(values[done:end])])
        else:
            self._parts = turn_parts(values, first, end)
        self._first, self._last, self._end = pieces[first], pieces[end - 1], end
        return self._parts

    def _ask(self, question: Question) -> int:
        self._judge.ask(question)
        self._n_asked += 1
        return self._n_asked

    def _history(
        self, pieces: Sequence[Piece], values: Sequence[Message], *, is_logged: bool
    ) -> tuple[int, list[tuple[int, int]]]:
        """Return the number of the longest history that was asked about, and the turns after it, the last one first."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        end, new = len(values), list[tuple[int, int]]()
        while end > 0:
            known = self._known.get(id(pieces[end - 1])) if is_logged and new else None
            if known is not None:
                return known[1], new
            first = turn_start(values, end - 1)
            new.append((first, end))
            end = min(first, end - 1)
        return 0, new


def evaluation(log: ToolLog, options: ExportOptions) -> Contamination:
    """Return what is kept for evaluation, as an export with these options would write it."""
    cleaner = cleaner_of(log, options)
    runs = Replays(log)
    tags = {runs.run(name).tag for name in options.variants}
    kept = log.trajectories(Filters(splits=frozenset({"eval"})))
    return Contamination(evaluation_documents(Datasets(log).scenarios(), kept, cleaner.quietly, without_tags=tags))


def cleaner_of(log: ToolLog, options: ExportOptions) -> Cleaner:
    """Return what takes out of messages what must not be written.

    Raises:
        ConfigError: The rules cannot be used.
    """
    return Cleaner(Redactor(Policy.load(options.redact, options.redact_rules), load_secret(log.settings)))
