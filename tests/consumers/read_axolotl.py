"""What Axolotl learns from a folder: its own check of the configuration, its own loading and marking.

    python read_axolotl.py MODEL FOLDER

Prints a JSON object: for each split the rows, each with ``context`` and ``learned``, or with the texts of a preference.
Nothing is trained: Axolotl's trainer wants a GPU. Only what needs one is taken out of the configuration.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from axolotl.utils.config import normalize_config, validate_config  # type: ignore[import-not-found]
from axolotl.utils.data.rl import prepare_preference_datasets  # type: ignore[import-not-found]
from axolotl.utils.data.sft import prepare_datasets  # type: ignore[import-not-found]
from axolotl.utils.dict import DictDefault  # type: ignore[import-not-found]
from transformers import AutoTokenizer  # type: ignore[import-not-found]

IGNORED = -100
ON_CPU = {"load_in_4bit": False, "adapter": "lora", "bf16": False, "dataset_num_proc": 1}


def main(model: str, folder: str) -> None:
    os.chdir(folder)
    settings = yaml.safe_load(Path("config.yaml").read_text())
    tokenizer = AutoTokenizer.from_pretrained(model)
    with tempfile.TemporaryDirectory() as prepared:
        changed = ON_CPU | {"base_model": model, "tokenizer_config": model, "dataset_prepared_path": prepared}
        config = validate_config(DictDefault(settings | changed))
        normalize_config(config)
        prepare = prepare_preference_datasets if config.rl else prepare_datasets
        train, dev = prepare(config, tokenizer)[:2]
        print(json.dumps({"train": _texts(train, tokenizer), "dev": _texts(dev or (), tokenizer)}))


def _texts(rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
    return [row if "labels" not in row else _learned(row, tokenizer) for row in rows]


def _learned(row: dict[str, Any], tokenizer: Any) -> dict[str, str]:
    pairs = list(zip(row["input_ids"], row["labels"], strict=True))
    return {
        "context": tokenizer.decode([token for token, label in pairs if label == IGNORED]),
        "learned": tokenizer.decode([label for _, label in pairs if label != IGNORED]),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
