"""The steps of ``bench.requant`` that handle weights. Runs in ``.venv-requant``, which has PyTorch and PEFT.

    requant_weights.py unpack BASE.gguf FOLDER                   a GGUF file as a Hugging Face model
    requant_weights.py adapter LORA.gguf MODEL_FOLDER FOLDER     an adapter of llama.cpp as one of PEFT
    requant_weights.py merge MODEL_FOLDER ADAPTER_FOLDER FOLDER  the adapter worked into the weights
    requant_weights.py check BASE.gguf LORA.gguf BASE_F16.gguf TUNED_F16.gguf FILE.json
                                                                 is what was converted what it should be?

Who trains on their own starts with a Hugging Face model and a PEFT adapter, and needs only ``merge``.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]
import numpy
import torch  # type: ignore[import-not-found]
from peft import LoraConfig, PeftModel  # type: ignore[import-not-found]
from safetensors.numpy import save_file  # type: ignore[import-not-found]
from transformers import AutoModelForCausalLM, AutoTokenizer  # type: ignore[import-not-found]

MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""What llama.cpp and Hugging Face call the same matrix of a Llama layer."""
_LORA_TENSOR = re.compile(r"blk\.(?P<layer>\d+)\.(?P<module>\w+)\.weight\.lora_(?P<side>[ab])")
_HALF_STEP = 2.0**-10
"""Relative distance of two neighbours at half precision: sums taken in another order may round to the neighbour."""
_TOKENIZER = ("tokens", "token_type", "merges", "model", "pre", "bos_token_id", "eos_token_id", "add_bos_token")


def unpack(source: Path, folder: Path) -> None:
    """Write the weights of a GGUF file, at single precision, and its tokenizer as Hugging Face keeps them."""
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # The model remembers that it came from a quantized file, and would refuse to be saved.
    del model.hf_quantizer, model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)


def adapter(source: Path, model: Path, folder: Path) -> None:
    """Write an adapter in llama.cpp's format as one of PEFT."""
    reader = gguf.GGUFReader(source)
    config = json.loads((model / "config.json").read_text("utf-8"))
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for tensor in reader.tensors:
        found = _LORA_TENSOR.fullmatch(tensor.name)
        if found is None:
            raise SystemExit(f"error: {source} has a tensor that is not of a Llama adapter: {tensor.name}")
        weights = tensor.data.astype(numpy.float32)
        if found["side"] == "b" and found["module"] in heads:
            weights = _rows_of_hugging_face(weights, heads[found["module"]])
        place = f"base_model.model.model.layers.{found['layer']}.{MODULES[found['module']]}"
        tensors[f"{place}.lora_{found['side'].upper()}.weight"] = weights
    rank = next(weights.shape[0] for name, weights in tensors.items() if ".lora_A." in name)
    targets = [name.rsplit(".", 1)[-1] for name in MODULES.values()]
    alpha = int(reader.fields["adapter.lora.alpha"].contents())
    LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM").save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors")


def _rows_of_hugging_face(weights: Any, heads: int) -> Any:
    """Undo the order of rows in which llama.cpp keeps queries and keys: there the two halves of a head are mixed."""
    rows, rank = weights.shape
    mixed = weights.reshape(heads, rows // heads // 2, 2, rank)
    return numpy.ascontiguousarray(mixed.swapaxes(1, 2).reshape(rows, rank))


def merge(model: Path, adapter_folder: Path, folder: Path) -> None:
    """Work an adapter into the weights that it was trained on, at single precision."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    PeftModel.from_pretrained(base, adapter_folder).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def check(base: Path, lora: Path, base_f16: Path, tuned_f16: Path, report: Path) -> None:
    """Hold the converted files against the sum that they stand for, worked out from the first two files alone.

    Raises:
        SystemExit: A weight, or the tokenizer, is another one.
    """
    shipped, updates = gguf.GGUFReader(base), _updates(gguf.GGUFReader(lora))
    figures: dict[str, Any] = {}
    for name, path, added in (("base", base_f16, {}), ("tuned", tuned_f16, updates)):
        converted = gguf.GGUFReader(path)
        for key in _TOKENIZER:
            if _field(converted, key) != _field(shipped, key):
                raise SystemExit(f"error: {path} has another tokenizer than {base}: {key}")
        made = {tensor.name: tensor.data for tensor in converted.tensors}
        furthest = max(_distance(tensor, added.get(tensor.name, 0.0), made) for tensor in shipped.tensors)
        figures[name] = {"tensors": len(made), "adapted": len(added), "furthest_half_steps": round(furthest, 3)}
        if len(made) != len(shipped.tensors) or furthest > 1:
            raise SystemExit(f"error: {path} is not {base} with {len(added)} adapted matrices: {figures[name]}")
    report.write_text(json.dumps(figures) + "\n", "utf-8")


def _updates(reader: Any) -> dict[str, Any]:
    """Return what an adapter adds to each matrix, by the name of the matrix."""
    sides = {tensor.name: tensor.data.astype(numpy.float32) for tensor in reader.tensors}
    alpha = float(reader.fields["adapter.lora.alpha"].contents())
    names = [name.removesuffix(".lora_a") for name in sides if name.endswith(".lora_a")]
    return {
        name: alpha / sides[f"{name}.lora_a"].shape[0] * (sides[f"{name}.lora_b"] @ sides[f"{name}.lora_a"])
        for name in names
    }


def _distance(tensor: Any, added: Any, made: dict[str, Any]) -> float:
    """Return how far a converted tensor is from what it should be, in steps of half precision."""
    if tensor.name not in made:
        return float("inf")
    wanted = (gguf.quants.dequantize(tensor.data, tensor.tensor_type) + added).astype(made[tensor.name].dtype)
    apart = numpy.abs(wanted.astype(numpy.float32) - made[tensor.name].astype(numpy.float32))
    step = numpy.maximum(numpy.abs(wanted.astype(numpy.float32)), 2.0**-14) * _HALF_STEP
    return float((apart / step).max())


def _field(reader: Any, key: str) -> Any:
    return reader.fields[f"tokenizer.ggml.{key}"].contents()


STEPS: dict[str, Callable[..., None]] = {"unpack": unpack, "adapter": adapter, "merge": merge, "check": check}

if __name__ == "__main__":
    STEPS[sys.argv[1]](*map(Path, sys.argv[2:]))
