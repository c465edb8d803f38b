"""How fast the writer turns exchanges into rows: decode, link, insert, from conversations of four exchanges."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tarx_toollog import Settings, ToolLog
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import RawExchange
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, system, user

CONVERSATIONS = 250
BATCH = 64


def conversation(number: int) -> list[RawExchange]:
    """Return four exchanges of one dialogue with three calls; about 4 KiB of text are new."""
    filler = f"{number} " + "some words of a real answer " * 30
    calls = [call("tarx_recall", {"query": f"fact {number} {i}"}, f"call-{number:06}-{i}") for i in range(3)]
    history: list[dict[str, Any]] = [system("You are a helpful assistant."), user(f"Question {filler}")]
    made = []
    for i in range(4):
        answer = assistant("", calls[i]) if i < 3 else assistant(f"Answer {filler}")
        made.append(raw_exchange(history, answer, tools=TOOLS, at_s=number * 60 + i * 3))
        if i < 3:
            history = [*history, answer, result(f"call-{number:06}-{i}", {"facts": {"text": filler}})]
    return made


def measure() -> dict[str, Any]:
    """Return exchanges per second for decoding alone and for decoding, linking and inserting."""
    raws = [raw for number in range(CONVERSATIONS) for raw in conversation(number)]
    start = time.perf_counter()
    for raw in raws:
        decode(raw)
    decode_s = time.perf_counter() - start
    rates = []
    for _ in range(3):
        with (
            tempfile.TemporaryDirectory() as folder,
            ToolLog.open(settings=Settings(database=str(Path(folder) / "t.db")), read_only=False) as log,
        ):
            start = time.perf_counter()
            for first in range(0, len(raws), BATCH):
                log.write([decode(raw) for raw in raws[first : first + BATCH]])
            rates.append(len(raws) / (time.perf_counter() - start))
    return {
        "baseline": "decoding the same exchanges without storing them",
        "exchanges": len(raws),
        "decode_only_per_s": round(len(raws) / decode_s),
        "stored_per_s": round(statistics.median(rates)),
        "ratio": round(statistics.median(rates) / (len(raws) / decode_s), 3),
    }
