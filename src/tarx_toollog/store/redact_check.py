"""After redaction: is what was taken out gone from the file? A search of its bytes, which trusts no rule and no row.

*Theory.* Every value is searched for as its bytes, as text and as JSON writes it, in the database and in its
write-ahead log, also in pages that nothing points to. Time is values times bytes. A value of a few characters stands
in any file by chance, so it is not searched for, and the answer says how many these were. What is found either stands
where redaction does not look (an id, a name, the key of an object), or as a word without anything that gives it away.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tarx_toollog.canonical import escape_text
from tarx_toollog.store.schema import metadata

MAX_VALUES = 2000  # a value takes a third of a second in a gigabyte
_LEAST = 6  # characters of a value that is searched for
_LEAST_DIGITS = 8  # where it has only digits: shorter ones stand in numbers, times and hashes
_PIECE = 4 * 2**20  # bytes read at a time
_LEVELS = 2  # of JSON in JSON: arguments are a string of JSON in a message
_FILES = ("", "-wal", "-journal")


@dataclass(frozen=True, slots=True)
class Check:
    """What a search of the file has shown."""

    searched: int
    """Values that were searched for."""
    too_short: int
    """Values that were not: too short to mean anything, or beyond ``MAX_VALUES``."""
    left: int
    """Values that are still there."""
    places: tuple[str, ...]
    """The columns that they stand in; empty when they stand in none, but somewhere in the file."""


def check_file(engine: sa.Engine, database: Path, values: Collection[str]) -> Check:
    """Search a SQLite file and its logs for values that were taken out of it."""
    chosen, n_left_out = searchable(values)
    left = search([Path(f"{database}{ending}") for ending in _FILES], chosen)
    return Check(len(chosen), n_left_out, len(left), _places(engine, left) if left else ())


def searchable(values: Collection[str]) -> tuple[list[str], int]:
    """Return the values that can be searched for, and how many others there are."""
    long = sorted(value for value in values if len(value) >= (_LEAST_DIGITS if value.isdigit() else _LEAST))
    chosen = sorted(long[:MAX_VALUES], key=len)
    return chosen, len(values) - len(chosen)


def search(paths: Iterable[Path], values: Sequence[str], *, piece: int = _PIECE) -> set[str]:
    """Return those of the values that stand in the files; a file that does not exist holds none.

    Args:
        paths: The files.
        values: What to search for.
        piece: Bytes to read at a time.
    """
    written = [(value, form) for value in values for form in _forms(value)]
    overlap = max((len(form) for _, form in written), default=1) - 1
    found: set[str] = set()
    for path in paths:
        if not path.exists():
            continue
        before = b""
        with path.open("rb") as file:
            while data := file.read(piece):
                data = before + data
                found |= {value for value, form in written if value not in found and form in data}
                before = data[len(data) - overlap :] if overlap else b""
    return found


def _forms(value: str) -> set[bytes]:
    """Return how a value may be written: as it is, and in JSON, also in JSON within JSON."""
    texts = {value, escape_text(value)}
    for _ in range(_LEVELS):
        texts |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in texts for ascii_only in (False, True)}
    return {text.encode("utf-8", "surrogatepass") for text in texts}


def _places(engine: sa.Engine, values: Collection[str]) -> tuple[str, ...]:
    """Return the columns in which values stand."""
    forms = [form for value in values for form in _forms(value)]
    places = []
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            for column in table.columns:
                if not isinstance(column.type, sa.LargeBinary | sa.String | sa.TypeDecorator):
                    continue
                stored = sa.cast(sa.literal_column(f"{table.name}.{column.name}"), sa.LargeBinary)
                for form in forms:
                    query = sa.select(sa.literal(1)).select_from(table).where(sa.func.instr(stored, form) > 0).limit(1)
                    if connection.execute(query).first() is not None:
                        places.append(f"{table.name}.{column.name}")
                        break
    return tuple(places)
