"""What a chat meets while the journal is full and ``on_full`` is not ``shed``: it waits, or it is refused.

For people who would rather have no service than a hole in the log. Asked only before a chat is passed on: what has
begun goes on, and its texts may still be shed.
"""

import asyncio
import json
import time

from tarx_toollog.capture.recorder import Recorder
from tarx_toollog.errors import JournalError
from tarx_toollog.wire.protocols import is_model_route

_LOOK_S = 0.05

STATUS = 503
HEADERS = (("content-type", "application/json"), ("retry-after", "5"))
BODY = json.dumps(
    {
        "error": {
            "message": "the log is full, and `on_full` is set to refuse chats that cannot be kept",
            "type": "log_full",
            "code": STATUS,
            "param": None,
        }
    }
).encode()


async def admitted(recorder: Recorder | None, method: str, path: str) -> bool:
    """Wait until there is room for a chat, or say that it has to be refused."""
    while (verdict := _verdict(recorder, method, path)) is None:  # noqa: ASYNC110 - other processes make room as well
        await asyncio.sleep(_LOOK_S)
    return verdict


def admitted_now(recorder: Recorder | None, method: str, path: str) -> bool:
    """Do the same in a synchronous program."""
    while (verdict := _verdict(recorder, method, path)) is None:
        time.sleep(_LOOK_S)
    return verdict


def _verdict(recorder: Recorder | None, method: str, path: str) -> bool | None:
    if recorder is None or not recorder.guards_room:
        return True
    try:
        if not is_model_route(method, path) or not recorder.is_full:
            return True
        if recorder.settings.on_full == "block":
            return None
        recorder.failed(JournalError("the journal is full: chats are refused (on_full = refuse)"))
    except Exception as error:  # noqa: BLE001 - a protocol of somebody else's
        recorder.failed(error)
        return True
    return False
