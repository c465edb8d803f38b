"""What Hugging Face ``datasets`` makes of a folder. Prints a JSON object: split → rows.

python read_datasets.py folder FOLDER     as load_dataset reads it, by its card
python read_datasets.py module FOLDER     as the load.py in it reads it, by way of Arrow
python read_datasets.py json FILE         as load_dataset reads one file that has no card
python read_datasets.py parquet FOLDER    as load_dataset reads the partitions below it
"""

import json
import sys
from pathlib import Path
from typing import Any

from datasets import load_dataset  # type: ignore[import-not-found]


def main(how: str, place: str) -> None:
    loaded: dict[str, Any] = READERS[how](place)
    print(json.dumps({split: list(rows) for split, rows in loaded.items()}))


def _folder(place: str) -> Any:
    return load_dataset(place)


def _module(place: str) -> dict[str, Any]:
    sys.path.insert(0, place)
    import load  # type: ignore[import-not-found]

    texts = {split: load.dataset(split, lambda row: {"row": json.dumps(row)}) for split in load.SPLITS}
    return {split: [json.loads(row["row"]) for row in rows] for split, rows in texts.items()}


def _json(place: str) -> Any:
    return load_dataset("json", data_files=place)


def _parquet(place: str) -> Any:
    files = {part.name.removeprefix("split="): sorted(map(str, part.iterdir())) for part in Path(place).iterdir()}
    return load_dataset("parquet", data_files=files)


READERS = {"folder": _folder, "module": _module, "json": _json, "parquet": _parquet}

if __name__ == "__main__":
    main(*sys.argv[1:])
