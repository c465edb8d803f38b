"""What the real readers make of many folders, one after the other: starting them takes longer than reading.

    python read_any_log.py datasets
    python read_any_log.py mlx MODEL
    python read_any_log.py mistral

Each line of the input is a JSON list of pairs: how to read, and the folder. Each is answered with a line: a JSON list
with, for each pair, an object of the rows by split; or an object with ``error``, why one of them cannot be read.

=========== ======================================================== ===============================
how         reads                                                    rows are
=========== ======================================================== ===============================
``card``    ``load_dataset``, by the card in the folder              as they are
``module``  ``load.py`` in the folder, by way of Arrow               as they are
``json``    ``load_dataset``, each file alone, without a card        as they are
``parquet`` ``load_dataset``, the partitions below ``parquet``       columns are texts of JSON
``mlx``     the loader of ``mlx_lm.lora``, which also tokenizes      as they are, and ``learned``
``mistral`` mistral-common, which also validates and tokenizes       as its classes hold them
=========== ======================================================== ===============================
"""

import contextlib
import importlib.util
import json
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Rows = dict[str, list[Any]]
Reader = Callable[[Path], Rows]


def main(what: str, *arguments: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):  # what libraries print
        readers = READERS[what](*arguments)
        for line in sys.stdin:
            print(json.dumps(_answer(readers, json.loads(line)), default=repr), file=answers, flush=True)


def _answer(readers: Mapping[str, Reader], wanted: list[tuple[str, str]]) -> Any:
    found = []
    for how, folder in wanted:
        try:
            found.append(readers[how](Path(folder)))
        except Exception as error:  # whatever a reader has against a file is what the test wants to know
            return {"error": f"{how} of {Path(folder).name}: {type(error).__name__}: {error}"}
    return found


# Each environment has some of the packages only, so that they are imported where they are needed.


def _datasets() -> dict[str, Reader]:
    from datasets import load_dataset  # type: ignore[import-not-found]

    def card(folder: Path) -> Rows:
        return _listed(load_dataset(str(folder)))

    def module(folder: Path) -> Rows:
        spec = importlib.util.spec_from_file_location("load", folder / "load.py")
        assert spec is not None
        assert spec.loader is not None
        load = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(load)
        texts = {split: load.dataset(split, lambda row: {"row": json.dumps(row)}) for split in load.SPLITS}
        return {split: [json.loads(row["row"]) for row in rows] for split, rows in texts.items()}

    def single(folder: Path) -> Rows:
        files = sorted(folder.glob("*.jsonl"))
        return {file.stem: list(load_dataset("json", data_files=str(file))["train"]) for file in files}

    def parquet(folder: Path) -> Rows:
        parts = {part.name.removeprefix("split="): part for part in (folder / "parquet").iterdir()}
        files = {name: sorted(map(str, part.iterdir())) for name, part in parts.items()}
        return _listed(load_dataset("parquet", data_files=files))

    return {"card": card, "module": module, "json": single, "parquet": parquet}


def _listed(loaded: Any) -> Rows:
    return {split: list(rows) for split, rows in loaded.items()}


def _mlx(model: str) -> dict[str, Reader]:
    import yaml  # type: ignore[import-untyped]
    from mlx_lm.lora import CONFIG_DEFAULTS, yaml_loader  # type: ignore[import-not-found]
    from mlx_lm.tuner.datasets import CacheDataset, load_dataset  # type: ignore[import-not-found]
    from mlx_lm.utils import load_tokenizer  # type: ignore[import-not-found]

    tokenizer = load_tokenizer(Path(model))

    def rows(data: Any) -> Iterator[dict[str, Any]]:
        tokenized = CacheDataset(data)
        for place in range(len(data)):
            tokens, begin = tokenized[place]
            yield data[place] | {"learned": tokenizer.decode(tokens[begin:])}

    def read(folder: Path) -> Rows:
        config = CONFIG_DEFAULTS | yaml.load((folder / "lora.yaml").read_text(), yaml_loader)
        loaded = load_dataset(types.SimpleNamespace(**config | {"data": str(folder)}), tokenizer)
        return {
            split: [*rows(data)] for split, data in zip(("train", "valid", "test"), loaded, strict=True) if len(data)
        }

    return {"mlx": read}


def _mistral() -> dict[str, Reader]:
    import mistral_common  # type: ignore[import-not-found]
    from mistral_common.protocol.instruct import (  # type: ignore[import-not-found]
        messages,
        request,
        tool_calls,
        validator,
    )
    from mistral_common.tokens.tokenizers.base import TokenizerVersion  # type: ignore[import-not-found]
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # type: ignore[import-not-found]

    mode = validator.ValidationMode.finetuning
    validators = [validator.get_validator(TokenizerVersion(name), mode) for name in ("v7", "v11", "v13", "v15")]
    data = Path(mistral_common.__file__).parent / "data"
    tokenizer = MistralTokenizer.from_file(str(data / "mistral_instruct_tokenizer_241114.model.v7"), mode=mode)

    def row(line: dict[str, Any]) -> dict[str, Any]:
        made = request.ChatCompletionRequest(
            messages=[getattr(messages, MESSAGES[message["role"]])(**message) for message in line["messages"]],
            tools=[tool_calls.Tool(**tool) for tool in line.get("tools", ())] or None,
        )
        for one in validators:
            one.validate_request(made)
        tokenizer.encode_chat_completion(made)
        held: dict[str, Any] = made.model_dump(exclude_none=True, mode="json")
        return held

    def read(folder: Path) -> Rows:
        return {
            file.stem: [row(json.loads(line)) for line in file.read_bytes().splitlines()]
            for file in sorted(folder.glob("*.jsonl"))
        }

    return {"mistral": read}


MESSAGES = {
    "system": "SystemMessage",
    "user": "UserMessage",
    "assistant": "FinetuningAssistantMessage",
    "tool": "ToolMessage",
}
READERS: dict[str, Callable[..., dict[str, Reader]]] = {"datasets": _datasets, "mlx": _mlx, "mistral": _mistral}

if __name__ == "__main__":
    main(*sys.argv[1:])
