"""A log in which every question of an analyst has an answer: two builds, three weeks, and each kind of failure once.

The same exchanges on any database: uids are fixed, so that two logs can be compared row by row.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tarx_toollog.store import schema
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tests.support.builders import RECALL, START_NS, TOOLS, assistant, call, exchange, result, user

if TYPE_CHECKING:
    from tarx_toollog.model import Exchange

START = datetime.fromtimestamp(START_NS / 1e9, UTC)
WEEK_S = 7 * 86_400
SAVE = {
    "type": "function",
    "function": {
        "name": "tarx_save",
        "description": "Save the conversation.",
        "parameters": {
            "type": "object",
            "properties": {"title": {"type": "string"}, "mood": {"enum": ["good", "bad"]}},
            "required": ["title"],
        },
    },
}
ALL_TOOLS = [*TOOLS, SAVE]
SPLITS = ("train", "train", "train", "dev", "eval", "train", "train", "train", "train")
"""Of the conversations, in the order in which they are made."""
CHAIN = "tarx_recall>tarx_remember>tarx_save"


class Talk:
    """A client of one conversation: keeps the history, and collects the exchanges.

    Args:
        number: Of the conversation.
        at_s: When it begins.
        tools: What it offers.
    """

    def __init__(self, number: int, at_s: float, tools: list[dict[str, Any]] | None = None) -> None:
        self.number = number
        self.exchanges: list[Exchange] = []
        self._at_s = at_s
        self._tools = ALL_TOOLS if tools is None else tools
        self._history: list[dict[str, Any]] = [{"role": "system", "content": "You are TARX."}]

    def says(self, text: str) -> "Talk":
        """Let the user say something."""
        self._history.append(user(text))
        return self

    def gets(self, answer: dict[str, Any], *results: Any, **options: Any) -> "Talk":
        """Let the model answer, and the tools return what the next request brings."""
        uid = f"00000000-0000-7000-8000-{self.number:06d}{len(self.exchanges):06d}"
        hint = {"conversation_hint": f"talk-{self.number}", "hint_source": "header"}
        item = exchange(
            list(self._history), answer, tools=self._tools or None, at_s=self._at_s, uid=uid, **hint, **options
        )
        self.exchanges.append(item)
        self._at_s += 2 + len(self.exchanges)
        self._history.append(answer)
        for made, returned in zip(answer.get("tool_calls", ()), results, strict=False):
            self._history.append(result(made["id"], returned))
        return self


def talks() -> Iterator[Talk]:
    """Yield the conversations."""
    for number, at_s in enumerate((0, WEEK_S, 2 * WEEK_S), 1):  # a chain that comes to a good end, in each week
        talk = Talk(number, at_s).says(f"Recall my city, remember the trams, save it ({number}).")
        talk.gets(assistant("", call("tarx_recall", {"query": "city"}, f"r{number}")), {"city": "Porto"})
        talk.gets(assistant("", call("tarx_remember", {"key": "likes", "value": "trams"}, f"m{number}")), {"ok": True})
        talk.gets(assistant("", call("tarx_save", {"title": "Trams"}, f"s{number}")), {"saved": True})
        yield talk.gets(assistant("Saved.")).says("Thanks!").gets(assistant("You are welcome."))
    # A schema that is broken, the error, and the call that mends it.
    yield (
        Talk(4, 600)
        .says("Remember that I like tiles.")
        .gets(assistant("", call("tarx_remember", {"key": "likes"}, "m4")), {"error": "value is missing"})
        .gets(assistant("", call("tarx_remember", {"key": "likes", "value": "tiles"}, "m4b")), {"ok": True})
        .gets(assistant("Done."))
    )
    yield Talk(5, 700).says("What is my city?").gets(assistant("", call("tarx_recall", {"query": "city"}, "r5")), "?")
    # Arguments that are no JSON, in the history of what comes next.
    yield (
        Talk(6, WEEK_S + 60)
        .says("Recall it.")
        .gets(assistant("", call("tarx_recall", '{"query": ]]', "r6")), {"error": "no JSON"})
        .gets(assistant("I cannot."))
    )
    # A tool that was not offered, of a dialogue that is left there; and a call that leaked into the text.
    yield Talk(7, WEEK_S + 120, [RECALL]).says("Fly!").gets(assistant("", call("tarx_fly", {"to": "Porto"}, "f7")))
    leaked = '<tool_call>\n{"name": "tarx_recall", "arguments": {"query": "pets"}}\n</tool_call>'
    yield Talk(8, 2 * WEEK_S + 60).says("My pets?").gets(assistant(leaked))
    yield (
        Talk(9, 2 * WEEK_S + 90)
        .says("Are you there?")
        .gets(assistant(""), status=503, body={"error": {"message": "Loading model", "code": 503}})
    )


def write_analyst_log(database: str | Path) -> None:
    """Make the log."""
    with ToolLog.open(database, read_only=False) as log:
        for talk in talks():
            for item in talk.exchanges:
                log.write([item])
        with log.engine.begin() as connection:
            _fix_names(connection)
            _add_what_others_tell(connection)
        labels = Labels(log)
        labels.add(NewLabel("exchange", "00000000-0000-7000-8000-000001000004", "quality", -1.0, annotator="ann"))
        right = {"name": "tarx_remember", "arguments": {"key": "likes", "value": "tiles"}}
        target = "00000000-0000-7000-8000-000004000000.0.0"
        labels.add(NewLabel("tool_call", target, "expected", correction=right, annotator="ann"))
        with log.engine.begin() as connection:
            connection.execute(sa.update(schema.label).values(created_at=START))


def _fix_names(connection: sa.Connection) -> None:
    """Give conversations names that do not come from chance, and the splits that the tests are about."""
    ids = connection.scalars(sa.select(schema.conversation.c.id).order_by(schema.conversation.c.id)).all()
    for number, (key, split) in enumerate(zip(ids, SPLITS, strict=True), 1):
        values = {"uid": f"talk-{number}", "split": split}
        connection.execute(sa.update(schema.conversation).where(schema.conversation.c.id == key).values(values))


def _add_what_others_tell(connection: sa.Connection) -> None:
    """Add builds, the context that they leave, a run of a tool, and a gap."""
    e = schema.exchange.c
    for number, (name, weeks) in enumerate((("base.gguf", (0, 2)), ("tuned.gguf", (2, 9))), 1):
        values = {
            "id": number, "uid": f"build-{number}", "fingerprint": bytes([number]) * 17, "server": "llama.cpp",
            "lora": [], "name": name, "first_seen_at": START, "last_seen_at": START,
        }  # fmt: skip
        connection.execute(sa.insert(schema.model_build).values(values))
        since, until = (START + timedelta(weeks=week) - timedelta(seconds=1) for week in weeks)
        when = sa.and_(e.started_at >= since, e.started_at < until)
        connection.execute(sa.update(schema.exchange).where(when).values(model_build_id=number, ctx_limit=128))
    late = e.uid == "00000000-0000-7000-8000-000002000003"
    connection.execute(sa.update(schema.exchange).where(late).values(input_tokens=140, truncation="suspected"))
    calls = sa.select(schema.tool_call.c.id).where(schema.tool_call.c.call_id == "r1")
    ran = {
        "uid": "run-1", "tool_call_id": calls.scalar_subquery(), "call_id": "r1", "name": "tarx_recall",
        "started_at": START, "exec_ms": 12.5, "is_error": False, "source": "context",
    }  # fmt: skip
    connection.execute(sa.insert(schema.tool_execution).values(ran))
    lost = {"kind": "journal", "from_at": START, "to_at": START, "n": 3, "detail": "the disk was full"}
    connection.execute(sa.insert(schema.gap).values(lost))
