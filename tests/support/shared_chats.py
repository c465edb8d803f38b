"""Conversations that several processes record at once, as behind a load balancer: each gets some of the exchanges.

``python -m tests.support.shared_chats URL JOURNAL PART OF N`` records its part through the recorder of the product, and
says ``done`` when all of it is in the database.
"""

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from tarx_toollog.capture.recorder import Recorder
from tarx_toollog.config import Settings
from tarx_toollog.store.frames import exchange_frames
from tarx_toollog.wire.raw import RawExchange
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, system, user

PATIENCE_S = 60.0


def shared_chats(count: int) -> list[RawExchange]:
    """Return the exchanges of all conversations in the order of time; uids are fixed.

    Every second one has an id of its client's. Questions, tools and most answers are the same in all of them.
    """
    chats = [_chat(number) for number in range(count)]
    return [chat[step] for step in range(len(chats[0])) for chat in chats]


def _chat(number: int) -> list[RawExchange]:
    named: dict[str, Any] = {"conversation_hint": f"chat {number}", "hint_source": "header"} if number % 2 else {}
    first = user("Where do I live?" if number % 2 else f"Where do I live ({number})?")
    history = [system("You are TARX."), first]
    made = []
    for step in range(4):
        asked = assistant("", call("tarx_recall", {"query": f"fact {step}"}, f"c{number}-{step}"))
        answer = asked if step < 3 else assistant("In Lisbon.")
        uid = f"01a20000-0000-7000-8000-{number:06}{step:06}"
        made.append(
            raw_exchange(
                history, answer, tools=TOOLS, at_s=step * 10 + number * 0.01, uid=uid, client_key=f"k{number}", **named
            )
        )
        history = [*history, answer, result(f"c{number}-{step}", {"found": f"fact {step}"})]
    return made


def append(recorder: Recorder, raws: list[RawExchange]) -> None:
    """Give exchanges to a recorder, as the taps do."""
    for raw in raws:
        recorder.append(exchange_frames(UUID(raw.begin.uid).bytes, raw))


def main(url: str, journal: str, part: str, of: str, count: str) -> int:
    """Record one part; at the same time as the others, who wait for the same line."""
    settings = Settings(database=url, journal_dir=Path(journal), idle_ms=0, max_delay_ms=5, probe=False)
    raws = shared_chats(int(count))[int(part) :: int(of)]
    print("ready", flush=True)
    sys.stdin.readline()
    recorder = Recorder(settings)
    append(recorder, raws)
    is_stored = recorder.flush(PATIENCE_S)
    recorder.close()
    said = recorder.last_error or ""
    print(f"{'done' if is_stored else 'late'} {recorder.lost} {recorder.failures} {said}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
