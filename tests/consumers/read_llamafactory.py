"""What LLaMA-Factory learns from a folder: its own parser of the configuration, its own loading, and two updates.

    python read_llamafactory.py MODEL CONFIG

Prints a JSON object: for each split the rows, each with ``context`` and ``learned`` (of both answers, where they are
compared), ``weights`` of good and bad rows, and ``loss``, the last one of the training. Only what needs a GPU is taken
out of the configuration.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # type: ignore[import-not-found]
from llamafactory.hparams import get_train_args  # type: ignore[import-not-found]
from llamafactory.model import load_tokenizer  # type: ignore[import-not-found]
from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]

IGNORED = -100
STAGES = {"sft": "sft", "dpo": "rm", "kto": "kto"}


def main(model: str, config: str) -> None:
    os.chdir(Path(config).parent)
    settings = yaml.safe_load(Path(config).read_text())
    for name in ("quantization_bit", "quantization_method"):
        del settings[name]
    with tempfile.TemporaryDirectory() as output:
        settings |= {"model_name_or_path": model, "output_dir": output, "bf16": False, "use_cpu": True, "max_steps": 2}
        model_args, data_args, training_args, tuning_args, _ = get_train_args(dict(settings))
        tokens = load_tokenizer(model_args)
        template = get_template_and_fix_tokenizer(tokens["tokenizer"], data_args)
        data = get_dataset(template, model_args, data_args, training_args, stage=STAGES[Path(config).stem], **tokens)
        seen: dict[str, Any] = {
            split: [_texts(row, tokens["tokenizer"]) for row in data.get(name, ())]
            for split, name in (("train", "train_dataset"), ("dev", "eval_dataset"))
        }
        seen["weights"] = [tuning_args.kto_chosen_weight, tuning_args.kto_rejected_weight]
        run_exp(settings)
        seen["loss"] = json.loads(Path(output, "train_results.json").read_text())["train_loss"]
    print(json.dumps(seen))


def _texts(row: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    texts: dict[str, Any] = {"good": row["kto_tags"]} if "kto_tags" in row else {}
    for prefix in ("", "chosen_", "rejected_"):
        if f"{prefix}labels" in row:
            pairs = list(zip(row[f"{prefix}input_ids"], row[f"{prefix}labels"], strict=True))
            texts[f"{prefix}context"] = tokenizer.decode([token for token, label in pairs if label == IGNORED])
            texts[f"{prefix}learned"] = tokenizer.decode([label for _, label in pairs if label != IGNORED])
    return texts


if __name__ == "__main__":
    main(*sys.argv[1:])
