"""What TRL's SFTTrainer learns from a folder that ``load_dataset`` read by its card, with settings of one's own.

    python read_trl_folder.py MODEL FOLDER

Prints a JSON object: ``train`` holds the rows, each with what is learned of it.
"""

import json
import sys
import tempfile

from datasets import load_dataset  # type: ignore[import-not-found]
from transformers import AutoTokenizer  # type: ignore[import-not-found]
from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

IGNORED = -100


def main(model: str, folder: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    with tempfile.TemporaryDirectory() as output:
        settings = SFTConfig(output_dir=output, max_length=None, use_cpu=True, bf16=False, report_to="none")
        rows = load_dataset(folder, split="train")
        trainer = SFTTrainer(model=model, args=settings, processing_class=tokenizer, train_dataset=rows)
    learned = [[label for label in row["labels"] if label != IGNORED] for row in trainer.train_dataset]
    print(json.dumps({"train": [{"learned": tokenizer.decode(labels)} for labels in learned]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
