"""How fast answers are decoded, and whether time and memory stay in step with their bytes.

python -m bench.decode [SHAPE ...]    all shapes, or those whose names begin so; writes bench/results/decode.json

Each size of each shape is decoded in a fresh process, so that neither its memory nor its time is another's. The
baseline, in the same process, is what every reader has to do: ``json.loads`` of each event, line by line.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tarx_toollog.wire.content_encoding import decode_content
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import RawExchange
from tests.support.hostile import HOSTILE, ORDINARY, Shape

MIB = 2**20
SIZES = (1, 4, 16, 64)
LARGEST_HOSTILE = 16
"""MiB: the default of ``max_response_bytes``, and what nobody sends need not be waited for."""
SHAPES = {shape.name: shape for shape in (*ORDINARY, *HOSTILE)}
RESULTS = Path(__file__).parent / "results" / "decode.json"
MOST_GROWTH = 1.5
MOST_GROWTH_HOSTILE = 3.0
"""Of what is read at memory speed fresh pages take most of the time; quadratic time would be 16 times."""
_PROC = Path("/proc/self")


def measure(names: list[str] | None = None) -> dict[str, Any]:
    """Return the figures of all shapes, or of those whose names begin as one of ``names``."""
    chosen = [name for name in SHAPES if not names or name.startswith(tuple(names))]
    shapes = {name: _shape(SHAPES[name]) for name in chosen}
    return {
        "baseline": "json.loads of every event, line by line, in the same process",
        "sizes_mib": list(SIZES),
        "most_growth": _most_growth(shapes, ordinary=True),
        "most_growth_hostile": _most_growth(shapes, ordinary=False),
        "shapes": shapes,
    }


def _shape(shape: Shape) -> dict[str, Any]:
    is_ordinary = shape in ORDINARY
    largest = shape.largest if is_ordinary else LARGEST_HOSTILE
    sizes = [size for size in SIZES if size <= largest]
    found = {size: _in_fresh_process(shape.name, size) for size in sizes}
    small, large = found[sizes[0]], found[sizes[-1]]
    return {
        "ordinary": is_ordinary,
        "mib": sizes[-1],
        "mib_per_s": {str(size): _round(one["mib"] / one["seconds"]) for size, one in found.items()},
        # Seconds per byte of the largest against the smallest: 1 is linear.
        "growth": _round((large["seconds"] / large["mib"]) / (small["seconds"] / small["mib"])),
        "times_json": _round(large["seconds"] / large["json_seconds"]) if is_ordinary else None,
        "peak_per_byte": None if large["peak"] is None else _round(large["peak"] / (large["mib"] * MIB)),
        "notes": large["notes"],
    }


def _most_growth(shapes: dict[str, dict[str, Any]], *, ordinary: bool) -> float:
    return max((shape["growth"] for shape in shapes.values() if shape["ordinary"] == ordinary), default=1.0)


def _in_fresh_process(name: str, size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.decode", "--one", name, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _one(name: str, size: int) -> dict[str, Any]:
    """Decode one shape of one size here, and return what it took."""
    raw = SHAPES[name].build(size * MIB)
    decode(SHAPES[name].build(1000))  # imports and caches
    before = _reset_peak()
    times = 3 if size < 4 else 1
    seconds, exchange = min((_seconds(lambda: decode(raw)) for _ in range(times)), key=lambda found: found[0])
    peak = _peak()
    body = _unpacked(raw)
    return {
        "mib": max(len(body), len(raw.response_body)) / MIB,
        "seconds": seconds,
        "json_seconds": min(_seconds(lambda: _read_events(body))[0] for _ in range(times)),
        "peak": None if before is None or peak is None else peak - before,
        "notes": list(dict.fromkeys(note.partition(":")[0] for note in exchange.notes)),
    }


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def _unpacked(raw: RawExchange) -> bytes:
    headers = dict(raw.response.headers) if raw.response is not None else {}
    # Not gzip.decompress: it takes quadratic time for a body of many members.
    return decode_content(raw.response_body, headers.get("content-encoding", "")).data


def _read_events(body: bytes) -> None:
    """Do the least that a reader of the same answer does; what is no JSON is passed over."""
    for line in body.splitlines():
        try:
            json.loads(line.removeprefix(b"data: "))
        except (ValueError, RecursionError):
            pass  # a hostile shape; the time counts all the same


def _reset_peak() -> int | None:
    """Forget the peak of this process's memory and return what it uses now; None where there is no /proc."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _peak() -> int | None:
    return _status("VmHWM") if _PROC.exists() else None


def _status(key: str) -> int:
    match = re.search(rf"^{key}:\s*(\d+) kB", (_PROC / "status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def main(arguments: list[str]) -> int:
    """Measure and print; 1 when something grows faster than its bytes."""
    parser = argparse.ArgumentParser(prog="python -m bench.decode")
    parser.add_argument("names", nargs="*", metavar="SHAPE")
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "MIB"), help="one measurement, in this process")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(_one(options.one[0], int(options.one[1]))))
        return 0
    figures = measure(options.names) | {"python": platform.python_version()}
    print(json.dumps(figures, indent=2))
    if not options.names:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return int(figures["most_growth"] > MOST_GROWTH or figures["most_growth_hostile"] > MOST_GROWTH_HOSTILE)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
