"""``lora.yaml``: the numbers for ``mlx_lm.lora``, computed from the rows that were written.

*Theory.* Four properties of mlx-lm 0.32 decide.

It cuts rows at ``max_seq_length``. A row whose prompt alone is that long gives NaN, for good. Token counts are of the
served model, or estimates, and the model to train may count otherwise. But no tokenizer makes more tokens than there
are bytes. So the limit is the *bytes* of the longest line, and room for what a chat template says by itself. It cannot
be reached. That costs nothing: mlx-lm pads to the longest row of a batch, never to the limit.

It leaves out the rows after the last full batch, the same ones in every epoch. So the batch size divides the number of
training rows. An update still sees four rows, through ``grad_accumulation_steps``; and the iterations are whole
updates, as the gradients of a started one are thrown away.

It fails when a split has fewer rows than a batch, and when a file is empty. So the smallest split limits the batch,
and a split without rows has no file and no setting.

A batch holds as many tokens as its rows, times the longest of them. On a Mac that is what fills the memory.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from tarx_toollog.export.example import Split
from tarx_toollog.export.formats.base import FormatOptions

EPOCHS = 2
"""A common choice for LoRA; the validation loss says whether it was right."""
ROWS_PER_UPDATE = 4
"""The batch size of mlx-lm, unless told."""
BATCH_TOKENS = 8192
"""Four rows at the default length of mlx-lm, 2048. Nobody has measured what fits into which Mac."""
TEMPLATE_TOKENS = 1024
"""Room for what chat templates add by themselves: instructions how to call tools, dates, a default system prompt."""
VALIDATION_ROWS = 200
"""A sample: all rows of a large split would take as long as training on them."""
LEARNING_RATE = 0.0001


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers that depend on the rows."""

    rows: Mapping[Split, int]
    max_tokens: int
    """Tokens of the longest row, as they were counted."""
    batch_size: int
    accumulation: int
    """Batches an update."""
    iters: int
    """Batches in all."""
    max_seq_length: int
    """In tokens; no row can be as long."""

    @property
    def surplus(self) -> int:
        """Rows beyond whole epochs, which fill the last update."""
        return self.iters * self.batch_size - EPOCHS * self.rows["train"]

    @property
    def updates(self) -> int:
        """Changes of the weights in all."""
        return self.iters // self.accumulation


def plan_of(rows: Mapping[Split, int], max_tokens: int, longest_bytes: int) -> Plan:
    """Compute the plan.

    Args:
        rows: Lines by split; at least one to train on.
        max_tokens: Tokens of the longest row, as they were counted.
        longest_bytes: Bytes of the longest line in UTF-8.
    """
    batch_size = next(
        size
        for size in (4, 2, 1)
        if size == 1 or (rows["train"] % size == 0 and size <= min(rows.values()) and size * max_tokens <= BATCH_TOKENS)
    )
    accumulation = ROWS_PER_UPDATE // batch_size
    updates = math.ceil(EPOCHS * rows["train"] / ROWS_PER_UPDATE)
    return Plan(
        rows=dict(rows),
        max_tokens=max_tokens,
        batch_size=batch_size,
        accumulation=accumulation,
        iters=updates * accumulation,
        max_seq_length=64 * math.ceil((longest_bytes + TEMPLATE_TOKENS) / 64),
    )


def lora_yaml(plan: Plan, options: FormatOptions) -> str:
    """Return the text of ``lora.yaml``. Keys are those of ``mlx_lm/lora.py``, mlx-lm 0.32."""
    every = max(1, plan.iters // 10)
    return f"""\
# For mlx_lm.lora, from {_counted(plan.rows)}: cd into this folder, then
#     mlx_lm.lora --config lora.yaml
# trains on the model as it is; sh train.sh quantizes it to 4 bits first (QLoRA), and goes on to a served GGUF.

# Prompts are made with the chat template in the tokenizer of this model, not with the one that was served.
model: {json.dumps(options.base_model, ensure_ascii=False)}
data: "."
train: true
fine_tune_type: lora
seed: {options.seed}

# Learn the last message of each row, the answer. Without this line, user, tool results and tool definitions as well.
mask_prompt: true

# mlx-lm cuts rows here, and a row cut before its answer turns every weight into NaN. The longest row was counted
# at {plan.max_tokens} tokens; no tokenizer makes more of it than this. A large number costs nothing: no row is padded
# to it.
max_seq_length: {plan.max_seq_length}

# {plan.batch_size} divides {plan.rows["train"]}, the rows to train on: mlx-lm leaves out what does not fill a batch.
# {plan.batch_size} x {plan.accumulation} rows an update; {_epochs(plan)}.{_smaller(plan)}
batch_size: {plan.batch_size}
grad_accumulation_steps: {plan.accumulation}
iters: {plan.iters}

# Recompute activations instead of keeping them: slower, and in much less memory.
grad_checkpoint: true

# All layers, and all their linear maps. scale is alpha / rank.
num_layers: -1
lora_parameters:
  rank: 16
  scale: 2.0
  dropout: 0.0

optimizer: adamw
learning_rate: {LEARNING_RATE}
{_schedule(plan.updates)}
steps_per_report: {min(10, every)}
save_every: {every}
adapter_path: adapters
{_validation(plan, every)}"""


def _epochs(plan: Plan) -> str:
    epochs = f"{plan.iters} batches are {EPOCHS} epochs"
    return f"{epochs}, and {plan.surplus} rows more to fill the last update" if plan.surplus else epochs


def _smaller(plan: Plan) -> str:
    if plan.batch_size == 1:
        return ""
    return (
        f"\n# When memory runs out: batch_size 1, grad_accumulation_steps {ROWS_PER_UPDATE}, "
        f"iters {plan.updates * ROWS_PER_UPDATE} do the same, more slowly."
    )


def _counted(rows: Mapping[Split, int]) -> str:
    return ", ".join(f"{rows[split]} {purpose}" for split, purpose in _PURPOSES.items() if split in rows)


_PURPOSES: Mapping[Split, str] = {"train": "rows to train on", "dev": "to validate with", "eval": "to test with"}


def _schedule(updates: int) -> str:
    warmup = min(100, updates // 10)
    lines = [
        "# Counted in updates. mlx-lm prefers this over learning_rate.",
        "lr_schedule:",
        "  name: cosine_decay",
        f"  arguments: [{LEARNING_RATE}, {updates - warmup}, {LEARNING_RATE / 10:.5f}]",
    ]
    if warmup:
        lines += [f"  warmup: {warmup}", f"  warmup_init: {LEARNING_RATE / 10:.5f}"]
    return "\n".join(lines) + "\n"


def _validation(plan: Plan, every: int) -> str:
    rows = plan.rows.get("dev")
    if rows is None:
        return "\n# There is no valid.jsonl: mlx-lm trains without validation. The replay says how good the model is.\n"
    batches = max(1, min(rows, VALIDATION_ROWS) // plan.batch_size)
    return f"""
# Loss on valid.jsonl, on a sample of {batches * plan.batch_size} rows.
steps_per_eval: {every}
val_batches: {batches}
"""
