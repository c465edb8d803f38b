"""What a person has to see to label something: the answer or the call itself, what was before it, what was said of it.

SQL that finds a target; who labels and how is in ``labels``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.model import LoggedCall, Step
from tarx_toollog.store.labels import LabelRow, Labels, Target
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.named import is_called
from tarx_toollog.store.schema import conversation, exchange
from tarx_toollog.store.tables import LogTables
from tarx_toollog.store.trajectories import Trajectories

RECENT = 50_000
"""Exchanges among which an answer is looked for by the id that its server gave it, which has no index: who says
something about an answer does so soon after it came."""
_SOON = "look for it with `toollog log list`; an answer is in the log about a second after it ended"


class Place(NamedTuple):
    """Where in its conversation something is."""

    conversation_uid: str | None
    turn_no: int | None
    step_no: int | None


@dataclass(frozen=True, slots=True)
class LabelTarget:
    """One target, with what is known of it."""

    target: Target
    place: Place
    labels: Sequence[LabelRow]
    """All, also those that are not in force."""
    step: Step | None
    """The answer; None for a conversation."""
    calls: Sequence[LoggedCall]
    """The call that is meant; else all of the answer."""

    @property
    def before(self) -> Sequence[Mapping[str, Any]]:
        """The messages from the user's last one on."""
        messages = () if self.step is None else self.step.messages
        users = [place for place, message in enumerate(messages) if message.get("role") == "user"]
        return messages[users[-1] :] if users else messages[-1:]


class LabelTargets(LogTables):
    """Finds what is to be labelled.

    Args:
        log: An open store.
    """

    def __init__(self, log: ToolLog) -> None:
        super().__init__(log)
        self._labels = Labels(log)

    def target(self, uid: str) -> LabelTarget:
        """Return a target by its id.

        Raises:
            NothingMatchedError: There is nothing of that id.
        """
        target = self._labels.target(uid)
        with self._read() as connection:
            if target.type == "conversation":
                place, step = Place(target.uid, None, None), None
            else:
                key, place = _place(connection, target.uid.partition(".")[0])
                step = Trajectories(connection).steps([key])[key]
        made = () if step is None else (*step.tool_calls, *step.leaked_calls)
        calls = [call for call in made if call.uid == target.uid] or list(made)
        return LabelTarget(target, place, self._labels.labels([target.uid], in_force=False), step, calls)

    def by_response_id(self, response_id: str) -> Target:
        """Return the latest exchange whose answer has an id: of the latest ``RECENT`` ones, of OpenAI Responses of all.

        Raises:
            NothingMatchedError: No answer has it.
        """
        latest = sa.select(sa.func.max(exchange.c.id)).scalar_subquery()
        # The words of the index, so that SQLite sees that it may be used.
        is_indexed = sa.text("exchange.protocol = 'openai_responses'")
        found = self._first(
            sa.select(exchange.c.uid)
            .where(exchange.c.response_id == response_id, exchange.c.n_inner == 0, within)
            .order_by(exchange.c.id.desc())
            for within in (exchange.c.id > latest - RECENT, is_indexed)
        )
        if found is None:
            missing = f"no answer {response_id!r} among the latest {RECENT:,} exchanges"
            raise NothingMatchedError(missing, hint=f"name an older one by its exchange; {_SOON}")
        return Target("exchange", found)

    def conversation(self, name: str) -> Target:
        """Return a conversation by the id that its client gave it, or by ours.

        Raises:
            NothingMatchedError: There is none.
        """
        is_it = sa.or_(conversation.c.uid == name, is_called(name))
        query = sa.select(conversation.c.uid).where(is_it).order_by(conversation.c.id.desc())
        found = None if "\0" in name else self._first([query])  # PostgreSQL refuses to look for it
        if found is None:
            raise NothingMatchedError(f"no conversation {name!r}", hint=_SOON)
        return Target("conversation", found)

    def _first(self, queries: Iterable[sa.Select[Any]]) -> str | None:
        """Return the first uid that one of these queries finds."""
        with self._read() as connection:
            return next((uid for query in queries if (uid := connection.scalar(query.limit(1))) is not None), None)


def _place(connection: sa.Connection, uid: str) -> tuple[int, Place]:
    columns = (exchange.c.id, conversation.c.uid, exchange.c.turn_no, exchange.c.step_no)
    source = exchange.outerjoin(conversation, conversation.c.id == exchange.c.conversation_id)
    key, *place = connection.execute(sa.select(*columns).select_from(source).where(exchange.c.uid == uid)).one()
    return key, Place(*place)
