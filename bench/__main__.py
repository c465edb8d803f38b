"""Run every bench and write ``bench/results/<name>.json``.

python -m bench [NAME ...]
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

from bench import capture, growth, ingest, leaked_calls, linking, redaction

BENCHES = {
    "capture": capture.measure,
    "ingest": ingest.measure,
    "growth": growth.measure,
    "leaked_calls": leaked_calls.measure,
    "linking": linking.measure,
    "redaction": redaction.measure,
}
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run the benches named, or all."""
    for name in names or list(BENCHES):
        figures: dict[str, Any] = BENCHES[name]()
        figures["python"] = platform.python_version()
        text = json.dumps(figures, indent=2)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
        print(f"{name}\n{text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
