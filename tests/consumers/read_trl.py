"""What TRL's trainers learn from a folder: the generated script runs as it is, and trains two updates.

    python read_trl.py MODEL SCRIPT

Prints a JSON object: for every split the rows as they come out of the trainer's own collator, each with its texts
(``context`` and ``learned``, or the columns of a preference), and ``loss``, the last one of the training.
"""

import json
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import trl  # type: ignore[import-not-found]

TRAINERS = {"sft": "SFTTrainer", "dpo": "DPOTrainer", "kto": "KTOTrainer"}
IGNORED = -100


def main(model: str, script: str) -> None:
    trainer_class = getattr(trl, TRAINERS[Path(script).stem])
    seen: dict[str, Any] = {}
    train = trainer_class.train

    def train_and_tell(trainer: Any) -> None:
        for split, rows in (("train", trainer.train_dataset), ("dev", trainer.eval_dataset)):
            seen[split] = [_texts(row, trainer) for row in rows or ()]
        train(trainer)
        seen["loss"] = trainer.state.log_history[-1]["train_loss"]

    trainer_class.train = train_and_tell
    with tempfile.TemporaryDirectory() as output:
        sys.argv = [script, "--model", model, "--output", output, "--max-steps", "2"]
        sys.path.insert(0, str(Path(script).parent))  # as when python is given a file
        runpy.run_path(script, run_name="__main__")
    print(json.dumps(seen))


def _texts(row: dict[str, Any], trainer: Any) -> dict[str, Any]:
    decode = trainer.processing_class.decode
    if "labels" not in row:
        return {
            name: decode(value) if name.endswith("_ids") else value for name, value in row.items() if value is not None
        }
    batch = trainer.data_collator([{name: row[name] for name in ("input_ids", "labels")}])
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    return {
        "context": decode([token for token, label in zip(ids, labels, strict=True) if label == IGNORED]),
        "learned": decode([label for label in labels if label != IGNORED]),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
