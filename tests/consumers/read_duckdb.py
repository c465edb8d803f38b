"""Attach a log to DuckDB and ask it: DATABASE QUERIES, the latter a JSON object of SQL. Prints the answers as JSON."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb  # type: ignore[import-not-found]


def attach(path: str) -> Any:
    """Return a connection that sees the views of the log; its extension is a file of the wheel, not a download."""
    folder = Path(duckdb.__file__).parent.parent / "duckdb_ext" / "extensions"
    (extension,) = folder.glob("*/*/sqlite_scanner.duckdb_extension")
    connection = duckdb.connect()
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{path}' AS log (TYPE sqlite, READ_ONLY)")
    connection.execute("USE log")
    return connection


def main(database: str, queries: str) -> None:
    connection = attach(database)
    answers = {}
    for name, sql in json.loads(Path(queries).read_text("utf-8")).items():
        found = connection.execute(sql)
        columns = [column[0] for column in found.description]
        answers[name] = {"columns": columns, "rows": found.fetchall()}
    print(json.dumps(answers, default=_plain))


def _plain(value: Any) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else float(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
