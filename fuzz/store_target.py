"""Fuzz target: the same exchanges, and what the store makes of them.

python -m fuzz.store_target [libFuzzer options] CORPUS
"""

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # it ships no types

with atheris.instrument_imports(include=["tarx_toollog"]):
    from fuzz.checks import check_stored
    from fuzz.inputs import exchange_of
    from tarx_toollog import ToolLog
    from tarx_toollog.config import Settings
    from tarx_toollog.wire.decode import decode

# libFuzzer leaves without a word, so the folder stays; ``python -m fuzz`` removes the one around it.
LOG = ToolLog.open(settings=Settings(database=str(Path(tempfile.mkdtemp()) / "t.db")), read_only=False)


def run(data: bytes) -> None:
    """Check one file of the corpus."""
    check_stored(decode(exchange_of(data)), LOG)


if __name__ == "__main__":
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()
