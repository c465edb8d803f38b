"""Run benches and write ``bench/results/<name>.json``.

python -m bench             all but those that take long (see ``LONG``)
python -m bench speed ...   what a chat pays (``bench.speed``)
python -m bench NAME ...    those named; ``python -m bench.export --exchanges N`` for a smaller log
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import (
    analysts,
    copy,
    decode,
    export,
    growth,
    ingest,
    leaked_calls,
    linking,
    near,
    redaction,
    replay,
    torture,
)
from bench.speed import __main__ as speed

BENCHES: dict[str, Callable[..., dict[str, Any]]] = {
    "analysts": analysts.measure,
    "copy": copy.measure,
    "decode": decode.measure,
    "export": export.measure,
    "ingest": ingest.measure,
    "growth": growth.measure,
    "leaked_calls": leaked_calls.measure,
    "linking": linking.measure,
    "near": near.measure,
    "redaction": redaction.measure,
    "replay": replay.measure,
    "torture": torture.measure,
}
LONG = frozenset({"analysts", "copy", "decode", "export", "near", "replay"})
"""Run only when named: they take minutes, or need what is not installed for the others."""
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run the benches named, or all that are not long."""
    if names[:1] == ["speed"]:
        speed.main(names[1:])
        return 0
    for name in names or [name for name in BENCHES if name not in LONG]:
        figures: dict[str, Any] = BENCHES[name]()
        figures["python"] = platform.python_version()
        text = json.dumps(figures, indent=2)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
        print(f"{name}\n{text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
