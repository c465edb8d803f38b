"""``python -m bench.speed [PART …] [--rounds N]``: run parts and write ``bench/results/speed_<part>.json``."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import performance
from bench.speed import memory, middleware, peers, proxy, streams
from bench.speed.subjects import allow_many_files

PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "middleware": middleware.run,
    "proxy": proxy.run,
    "streams": streams.run,
    "memory": memory.run,
    "peers": peers.run,
}
RESULTS = Path(__file__).parents[1] / "results"


def main(arguments: list[str] | None = None) -> None:
    """Run the parts named, or all but the peers, which need an environment of their own (``make bench-peers``)."""
    parser = argparse.ArgumentParser(prog="python -m bench speed")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    allow_many_files()
    for name in options.parts or [part for part in PARTS if part != "peers"]:
        text = json.dumps(PARTS[name](options.rounds), indent=2)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"speed_{name}.json").write_text(text + "\n", "utf-8")
        performance.main()
        print(f"{name}\n{text}", flush=True)


if __name__ == "__main__":
    main()
