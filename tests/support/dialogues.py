"""A short dialogue with one tool call, and what linking made of exchanges: shared by the tests of linking."""

from pathlib import Path
from typing import Any

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.model import Exchange
from tests.support.builders import TOOLS, assistant, call, exchange, result, user

Message = dict[str, Any]
BUSY: dict[str, Any] = {"status": 503, "body": {"error": {"message": "Loading model"}}}
CITY = call("tarx_recall", {"query": "city"}, "id-city-abc")
ASKED = [user("Where do I live?")]
CALLED = [*ASKED, assistant("", CITY), result("id-city-abc", "Porto")]
ANSWERED = [*CALLED, assistant("In Porto.")]


def told(log: ToolLog, *exchanges: Exchange) -> list[tuple[Any, ...]]:
    """Write exchanges; tell for each its conversation, how it was found, turn, step and parent."""
    for item in exchanges:
        log.write([item])
    return rows(
        log,
        "SELECT conversation_id, conversation_how, conversation_confidence, turn_no, step_no, parent_exchange_id "
        "FROM exchange ORDER BY id",
    )


def begun(log: ToolLog) -> None:
    log.write([exchange(ASKED, assistant("", CITY), tools=TOOLS, at_s=0)])
    log.write([exchange(CALLED, assistant("In Porto."), tools=TOOLS, at_s=2)])


def hint(name: str) -> dict[str, Any]:
    """Return the options of an exchange whose client names its conversation."""
    return {"conversation_hint": name, "hint_source": "header"}


def opened(folder: Path) -> ToolLog:
    """Return an open store in a folder."""
    return ToolLog.open(settings=Settings(database=str(folder / "t.db")), read_only=False)


def rows(log: ToolLog, sql: str) -> list[tuple[Any, ...]]:
    """Return what a query gives."""
    with ToolLog.open(settings=log.settings) as reader:
        return list(reader.query(sql).rows)
