"""A log for questions about tools: that of the analyst, and a tool whose definition changed, with hostile texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import conversation
from tarx_toollog.store.tallies import fold_changed
from tests.support.analyst_log import WEEK_S, Talk, write_analyst_log
from tests.support.builders import assistant, call

SCRIPT = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>"
HOSTILE_TOOL = f'fly/{SCRIPT}?a=b#c%2e" \u202egnp'


def weather(*names: str, description: str = "Say how the weather is.") -> dict[str, Any]:
    """Return a definition of the tool ``weather`` with these parameters, of which the first is required."""
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": [names[0]]}
    return {"type": "function", "function": {"name": "weather", "description": description, "parameters": schema}}


def write_tool_log(database: str | Path) -> None:
    """Make the log; what is counted by day is kept already, but for the last day."""
    write_analyst_log(database)
    with ToolLog.open(database, read_only=False) as log:
        *first, last = _talks()
        for talk in first:
            log.write(talk.exchanges)
        fold_changed(log.engine)
        log.write(last.exchanges)
        added = sa.not_(conversation.c.uid.startswith("talk-"))
        with log.engine.begin() as connection:  # what they are kept for would be chance
            connection.execute(sa.update(conversation).where(added).values(split="train"))


def _talks() -> Iterator[Talk]:
    old, new = [weather("place")], [weather("place", "day", description=f"Say how it will be. {SCRIPT}")]
    for number, (at_s, tools) in enumerate(((0, old), (WEEK_S, old), (2 * WEEK_S, new)), 20):
        talk = Talk(number, 5_000 + at_s, tools).says("Rain?")
        talk.gets(assistant("", call("weather", {"place": "Porto"}, f"w{number}")), {"rain": False})
        yield talk.gets(assistant("No."))
    again = Talk(23, 6_000, old).says("Rain tomorrow?")
    again.gets(assistant("", call("weather", {"place": "Faro"}, "w23")), {"error": "the service is busy"})
    again.gets(assistant("", call("weather", {"place": "Faro"}, "w23b")), {"rain": True})
    yield again.gets(assistant("", call("weather", '{"place": "Fa', "w23c")), finish_reason="length")
    talk = Talk(30, 2 * WEEK_S + 90_000, new).says(SCRIPT)
    talk.gets(assistant("", call("weather", {"day": SCRIPT, SCRIPT: [1]}, "h1")), {"error": SCRIPT})
    talk.gets(assistant("", call(HOSTILE_TOOL, {"to": "\u202e\ud800"}, "h2")), {"error": "no such tool"})
    yield talk.gets(assistant("No."))
