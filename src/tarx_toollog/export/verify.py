"""What was written is read again before anybody is told that it is there.

Every line is read, counted, and looked at from both ends: a full disk, a file that was cut, two writers at once show
there. The first lines are parsed, and one in some of those after them: rows are put together from texts that were
written as JSON, so that what is wrong with one is wrong with many.
"""

import json
from collections.abc import Callable
from pathlib import Path

from tarx_toollog.errors import CheckFailedError
from tarx_toollog.store.spool import Spool

_PARSED, _ONE_IN = 5000, 16  # lines of a file that are all parsed, and then one in so many
_FILES = "SELECT format, file, COUNT(*) FROM written WHERE file IS NOT NULL GROUP BY format, file ORDER BY format, file"


def verify_files(folder: Path, spool: Spool, advance: Callable[[], object]) -> int:
    """Read every JSONL file of every format again (see the module); return the number of lines.

    Raises:
        CheckFailedError: A line is not a JSON object, or lines are missing: the disk, or a bug of ours.
    """
    total = 0
    for format_name, file, n_written in spool.figures(_FILES):
        path = folder / format_name / file
        if path.suffix != ".jsonl":
            continue
        n_read = _read(path, advance)
        if n_read != n_written:
            raise CheckFailedError(
                f"{format_name}/{file}: {n_written} rows were written, {n_read} can be read", hint=_HINT
            )
        total += n_read
    return total


_HINT = "see whether the disk is full; if it is not, this is a bug"


def _read(path: Path, advance: Callable[[], object]) -> int:
    number = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            advance()
            is_object = line.startswith(b"{") and line.endswith(b"}\n")
            if is_object and (number <= _PARSED or number % _ONE_IN == 0):
                is_object = _is_json(line)
            if not is_object:
                raise CheckFailedError(f"{path.name}, line {number} is no JSON object", hint=_HINT)
    return number


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
