"""What ``mlx_lm.lora`` learns from a folder: its own loader, its own batches, its own loss.

    python read_mlx.py MODEL FOLDER

Prints a JSON list with one object for each row that comes out of the batches of an epoch: its split, the text that
the loss does not count, the text that it counts, and the tokens that it counts beyond the end of the row. Which
tokens the loss counts is seen in its gradient: a token that is not learned leaves none on the logits.
"""

import json
import sys
import types
from pathlib import Path
from typing import Any

import mlx.core as mx  # type: ignore[import-not-found]
import numpy
import yaml  # type: ignore[import-untyped]
from mlx_lm.lora import CONFIG_DEFAULTS, yaml_loader  # type: ignore[import-not-found]
from mlx_lm.tuner.datasets import CacheDataset, load_dataset  # type: ignore[import-not-found]
from mlx_lm.tuner.trainer import default_loss, iterate_batches  # type: ignore[import-not-found]
from mlx_lm.utils import load  # type: ignore[import-not-found]


def main(model: str, folder: str) -> None:
    config = CONFIG_DEFAULTS | yaml.load(Path(folder, "lora.yaml").read_text(), yaml_loader)
    settings = types.SimpleNamespace(**config | {"data": folder, "test": False})
    tokenizer = load(model)[1]
    rows = []
    for split, data in zip(("train", "dev", "eval"), load_dataset(settings, tokenizer), strict=True):
        if len(data) == 0:
            continue
        for batch, lengths in iterate_batches(CacheDataset(data), settings.batch_size, settings.max_seq_length):
            rows += [{"split": split} | row for row in _learned(batch, lengths, tokenizer)]
    print(json.dumps(rows))


def _learned(batch: Any, lengths: Any, tokenizer: Any) -> list[dict[str, Any]]:
    tokens = numpy.array(batch)
    counted = _counted(batch, lengths, len(tokenizer.get_vocab()))
    made = []
    for row, learned, (_, end) in zip(tokens, counted, numpy.array(lengths), strict=True):
        places = numpy.flatnonzero(learned) + 1
        inside = places[places < end]
        made.append(
            {
                "context": tokenizer.decode(row[: inside[0]].tolist()),
                "learned": tokenizer.decode(row[inside].tolist()),
                "whole": bool(inside[-1] == end - 1 and len(inside) == end - inside[0]),
                "beyond": row[places[places >= end]].tolist(),
            }
        )
    return made


def _counted(batch: Any, lengths: Any, vocabulary: int) -> Any:
    """Return which predictions of each row leave a gradient on their logits: rows × (tokens - 1), bool."""

    def loss(logits: Any) -> Any:
        return default_loss(lambda _inputs: logits, batch, lengths)[0]

    logits = mx.zeros((batch.shape[0], batch.shape[1] - 1, vocabulary))
    return numpy.array(mx.abs(mx.grad(loss)(logits)).sum(axis=-1)) > 0


if __name__ == "__main__":
    main(*sys.argv[1:])
