"""A log for the pages of conversations: that of the analysts, branches, hostile texts, and a turn of many steps."""

from pathlib import Path

from tarx_toollog.store.log import ToolLog
from tests.support.analyst_log import write_analyst_log
from tests.support.builders import TOOLS, assistant, call, exchange, result, user
from tests.support.dialogues import ANSWERED, CALLED, begun, hint
from tests.support.web_pages import HOSTILE, HUGE

STEPS = 110
"""Of the long turn."""
LONG_STEPS = 30
"""Of those the ones with long texts."""
BRANCHED_AT_S = 3_000_000


def write_talks(path: Path) -> Path:
    """Write the log, and return where it is."""
    write_analyst_log(path)
    with ToolLog.open(path, read_only=False) as log:
        write_branches(log)
        write_hostile(log)
    return path


def write_branches(log: ToolLog) -> None:
    """Write a turn whose second step was answered twice, and a second turn that was asked in two ways."""
    begun(log)
    other = assistant("You live in Porto.")
    log.write([exchange(CALLED, other, tools=TOOLS, at_s=4)])
    log.write([exchange([*CALLED, other, user("Since when?")], assistant("Since May."), tools=TOOLS, at_s=6)])
    log.write([exchange([*ANSWERED, user("And she?")], assistant("In Faro."), tools=TOOLS, at_s=8)])


def write_hostile(log: ToolLog) -> None:
    """Write a dialogue in which user, model and tool try to get out of the text."""
    options = {"tools": TOOLS, **hint("hostile")}
    asked = [user(HOSTILE)]
    made = assistant(HOSTILE, call(HOSTILE, {"query": HOSTILE}, "h1"), call("tarx_recall", HOSTILE, "h2"))
    log.write([exchange(asked, made, at_s=BRANCHED_AT_S, **options)])
    back = [*asked, made, result("h1", HOSTILE), result("h2", HOSTILE + HUGE)]
    log.write([exchange(back, assistant(HUGE + HOSTILE), at_s=BRANCHED_AT_S + 2, **options)])


def write_long(log: ToolLog, steps: int = STEPS) -> None:
    """Write one turn of many steps, of which the first have long texts: each request has all of them before it."""
    history = [user("Go on for ever. " + "<&'\"" * 2_000)]
    for number in range(steps):
        size = 40 if number < LONG_STEPS else 1
        made = assistant("thinking <b> " * size, call("tarx_recall", {"query": f'{number} "<' * size}, f"c{number}"))
        log.write([exchange(history, made, tools=TOOLS, at_s=4 * number, **hint("long"))])
        history = [*history, made, result(f"c{number}", {"facts": ["<fact>" * 4 * size, number]})]
