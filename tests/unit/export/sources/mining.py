"""Logs to mine for pairs: chats that are written through the real decoder and store, labels, and what comes of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.export.example import Example, Message, Refused
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.corrections import corrected_example
from tarx_toollog.export.sources.pairs import dpo_examples, kto_examples
from tarx_toollog.export.sources.steps import Advance, LogOptions
from tarx_toollog.model import Trajectory
from tarx_toollog.store.schema import label
from tarx_toollog.store.variants import Variants
from tests.unit.cli.samples import Chat, call, write_log

Found = Example | Refused

LEAKED = 'Let me see.\n<tool_call>\n{"name": "tarx_recall", "arguments": {"query": "cat"}}\n</tool_call>'
RECALL = '{"query": "cat"}'


@contextmanager
def written(folder: Path, *chats: Chat, labels: Sequence[dict[str, Any]] = ()) -> Iterator[ToolLog]:
    """Write chats and labels into a new log, and yield it open for reading."""
    settings = write_log(folder / "t.db", *chats)
    if labels:
        add_labels(settings, labels)
    with ToolLog.open(settings=settings) as log:
        yield log


def add_labels(settings: Settings, labels: Sequence[dict[str, Any]]) -> None:
    filled = {"name": "quality", "annotator_kind": "human", "annotator": "me", "created_at": datetime.now(UTC)}
    with ToolLog.open(settings=settings, read_only=False) as log, log.engine.begin() as connection:
        for values in labels:
            connection.execute(sa.insert(label).values({**filled, **values}))


def on_exchange(chat: Chat, number: int, **values: Any) -> dict[str, Any]:
    """Return a label on the exchange of a chat with this number, from 0."""
    return {"target_type": "exchange", "target_uid": chat.exchanges[number].uid, **values}


def on_call(chat: Chat, number: int, ordinal: int = 0, **values: Any) -> dict[str, Any]:
    """Return a label on a call of that exchange."""
    return {"target_type": "tool_call", "target_uid": f"{chat.exchanges[number].uid}.0.{ordinal}", **values}


def dpo(log: ToolLog, *, keep_reasoning: bool = False, gate: GateOptions | None = None) -> list[Found]:
    options, normaliser = LogOptions(gate=gate or GateOptions()), Normaliser(keep_reasoning=keep_reasoning)
    return list(dpo_examples(log.trajectories(), normaliser, options, lambda: None, Variants(log).others))


def kto(log: ToolLog) -> list[Found]:
    return list(kto_examples(log.trajectories(), Normaliser(), LogOptions(), lambda: None))


def mined(folder: Path, *chats: Chat, labels: Sequence[dict[str, Any]] = (), **how: Any) -> list[Found]:
    """Return what mining a new log for pairs gives."""
    with written(folder, *chats, labels=labels) as log:
        return dpo(log, **how)


def judged(folder: Path, *chats: Chat, labels: Sequence[dict[str, Any]] = ()) -> list[Found]:
    """Return what mining a new log for judged answers gives."""
    with written(folder, *chats, labels=labels) as log:
        return kto(log)


def brief(found: Sequence[Found]) -> list[Any]:
    """Return each example as its two answers, and each refusal as its reason."""
    return [item.reason if isinstance(item, Refused) else both(item) for item in found]


def both(example: Example) -> tuple[Any, Any]:
    """Return the better and the worse answer of an example."""
    rejected = None if example.rejected is None else example.rejected.value
    return said(example.messages[-1].value), said(rejected)


def labelled(found: Sequence[Found]) -> list[Any]:
    """Return the label of each example, and each refusal as its reason."""
    return [item.reason if isinstance(item, Refused) else item.label for item in found]


def said(answer: Message | None) -> Any:
    """Return an answer without ids: its text, or its calls, or both."""
    if answer is None:
        return None
    calls = [(one["function"]["name"], one["function"]["arguments"]) for one in answer.get("tool_calls", ())]
    if not calls:
        return answer["content"]
    return [*([answer["content"]] if answer["content"] else []), *calls]


def examples(found: Sequence[Found]) -> list[Example]:
    return [item for item in found if isinstance(item, Example)]


def again(chat: Chat) -> Chat:
    """Take back the last answer: what comes next is asked in its place."""
    chat.messages = chat.messages[:-1]
    return chat


def retried(first: str, error: str, second: str, *, user: str = "Remember that Rex is my dog.") -> Chat:
    """Return a chat in which a call of ``tarx_remember`` goes wrong, is made again, and is answered."""
    chat = Chat("retried").user(user).answer(None, call("tarx_remember", first, "c1")).result(error, "c1")
    return chat.answer(None, call("tarx_remember", second, "c2")).result('{"ok": true}', "c2").answer("Done.")


def corrected_examples(
    trajectories: Iterable[Trajectory], normaliser: Normaliser, options: LogOptions, advance: Advance
) -> Iterator[Example | Refused]:
    """Yield the steps that somebody corrected, as the reader of the log puts them in the place of what was logged."""
    for trajectory in trajectories:
        normaliser.begin(trajectory.conversation_uid)
        for step in trajectory.steps:
            advance()
            if (found := corrected_example(trajectory, step, normaliser, options)) is not None:
                yield found
