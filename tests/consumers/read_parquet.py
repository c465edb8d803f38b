"""What DuckDB and pyarrow make of a folder of Parquet partitions.

    python read_parquet.py FOLDER

Prints a JSON object: ``duckdb`` holds the names of the called functions, counted in SQL, by split; ``pyarrow`` the
rows of the training split, as a dataset with a filter reads them.
"""

import json
import sys

import duckdb  # type: ignore[import-not-found]
import pyarrow.dataset

CALLED = """
SELECT split, json_extract_string(completion, '$[0].tool_calls[0].function.name') AS name, COUNT(*), SUM(n_tokens)
FROM read_parquet($files, hive_partitioning = true)
GROUP BY ALL ORDER BY ALL
"""


def main(folder: str) -> None:
    counted = duckdb.execute(CALLED, {"files": f"{folder}/*/*.parquet"}).fetchall()
    table = pyarrow.dataset.dataset(folder, partitioning="hive")
    rows = table.to_table(filter=pyarrow.dataset.field("split") == "train").to_pylist()
    print(json.dumps({"duckdb": [[*row[:3], int(row[3])] for row in counted], "pyarrow": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
