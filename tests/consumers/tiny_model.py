"""The smallest model that real trainers train: a folder of under 200 KB, made here, with nothing downloaded.

A byte-level BPE tokenizer, trained on ``corpus.txt``; a Qwen3 configuration of two layers with random weights; and
``chat_template.jinja``. Runs in the environments of ``scripts/consumers.sh``: it needs tokenizers, safetensors and
numpy, and neither PyTorch nor MLX. The same versions make the same bytes.

    .venv-consumers/bin/python tests/consumers/tiny_model.py FOLDER
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save_file  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

HERE = Path(__file__).parent
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Tokens of their own, as in the Qwen family, but ordinary text to a reader."""
VOCABULARY = 600
WIDTH, LAYERS, HEADS, KEY_HEADS, HEAD_WIDTH, INNER_WIDTH = 32, 2, 4, 2, 8, 64


def make_tiny_model(folder: Path) -> None:
    """Write the model into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    _write_json(folder / "config.json", _config(tokenizer.get_vocab_size(), end))
    _write_json(folder / "generation_config.json", {"eos_token_id": end, "do_sample": False})
    shutil.copyfile(HERE / "chat_template.jinja", folder / "chat_template.jinja")
    save_file(_weights(tokenizer.get_vocab_size()), folder / "model.safetensors", metadata={"format": "pt"})


def _tokenizer() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TAGS),
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(HERE / "corpus.txt")], trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return tokenizer


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 32768,
    }


def _config(vocabulary: int, end: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "intermediate_size": INNER_WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HEAD_WIDTH,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


def _weights(vocabulary: int) -> dict[str, Any]:
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens": (vocabulary, WIDTH), "norm": (WIDTH,)}
    for layer in range(LAYERS):
        for name, shape in _layer_shapes().items():
            shapes[f"layers.{layer}.{name}"] = shape
    random = numpy.random.default_rng(0)
    return {
        f"model.{name}.weight": numpy.ones(shape, numpy.float32)
        if name.endswith("norm")
        else random.normal(0, 0.05, shape).astype(numpy.float32)
        for name, shape in shapes.items()
    }


def _layer_shapes() -> dict[str, tuple[int, ...]]:
    return {
        "input_layernorm": (WIDTH,),
        "post_attention_layernorm": (WIDTH,),
        "self_attn.q_proj": (HEADS * HEAD_WIDTH, WIDTH),
        "self_attn.k_proj": (KEY_HEADS * HEAD_WIDTH, WIDTH),
        "self_attn.v_proj": (KEY_HEADS * HEAD_WIDTH, WIDTH),
        "self_attn.o_proj": (WIDTH, HEADS * HEAD_WIDTH),
        "self_attn.q_norm": (HEAD_WIDTH,),
        "self_attn.k_norm": (HEAD_WIDTH,),
        "mlp.gate_proj": (INNER_WIDTH, WIDTH),
        "mlp.up_proj": (INNER_WIDTH, WIDTH),
        "mlp.down_proj": (WIDTH, INNER_WIDTH),
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    make_tiny_model(Path(sys.argv[1]))
