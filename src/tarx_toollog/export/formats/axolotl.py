"""``axolotl``: rows for its ``chat_template`` datasets, and ``config.yaml``.

*Theory.* Axolotl takes a mark on each message (``message_field_training``), so that one row form serves single answers
and whole turns with any choice of targets. It reads arguments and tools from strings of JSON; that keeps every number
and every ``null``, where objects would go through Arrow's guesses. ``data/README.md`` states the columns' types, so
that it does not matter what the first rows hold, and ``path: data`` makes Axolotl read it.

Its preference datasets know neither tools nor tool calls (axolotl issue 3824). So preferences are texts that the chat
template, served or named, has written out, which Axolotl passes on as they are.

Format: ``axolotl/prompt_strategies/chat_template.py`` and ``dpo/passthrough.py`` of Axolotl 0.19.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Dropped, Message, Row, Split, Summary, Task, Unit
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.hf import FILES, SPLITS, Kind, card, length_limit
from tarx_toollog.export.formats.jsonl import JsonlFiles, check_fits, learned_places
from tarx_toollog.export.template.errors import TemplateError
from tarx_toollog.export.template.render import ChatTemplate

_COLUMNS: Mapping[Task, Mapping[str, Kind]] = {
    "sft": {"messages": "chat", "tools": "text"},
    "dpo": {"prompt": "text", "chosen": "text", "rejected": "text"},
}


class AxolotlFormat:
    """The format, as the registry holds it."""

    name = "axolotl"
    about = "Axolotl: messages + tools with a mark on what to learn, and config.yaml"
    tasks: frozenset[Task] = frozenset({"sft", "dpo"})
    units: frozenset[Unit] = frozenset({"step", "trajectory"})

    def writer(self, folder: Path, options: FormatOptions) -> "AxolotlWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: Preferences without a chat template, or over whole turns.
        """
        check_fits(self, options)
        if options.task == "dpo" and options.unit == "trajectory":
            raise ConfigError("preferences are about single answers", hint="use --unit step")
        if options.task == "dpo" and options.template is None:
            raise ConfigError(
                "Axolotl's preference datasets know no tools, so that the chat template has to write the rows out",
                hint="give --template server, or the file of a chat template",
            )
        return AxolotlWriter(folder, options)


class AxolotlWriter:
    """Writes ``data/*.jsonl`` with a card, and ``config.yaml``."""

    def __init__(self, folder: Path, options: FormatOptions) -> None:
        self._folder = folder
        self._options = options
        self._files = JsonlFiles(folder, FILES)
        self._template: ChatTemplate | None = None
        if options.task == "dpo" and options.template is not None:
            self._template = ChatTemplate(
                options.template, tokens=options.template_tokens, variables=options.template_variables
            )

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: The chat template cannot write the row, or a preference has nothing to compare with.
        """
        cells = _marked(row) if self._template is None else _written(row, self._template)
        line = json.dumps(cells, ensure_ascii=False, allow_nan=False)
        return self._files.add(row.split, line)

    def finish(self, summary: Summary) -> None:
        """Write the card of the data and, where there is anything to train on, ``config.yaml``."""
        paths = {SPLITS[split]: Path(FILES[split]).name for split in self._files.lines}
        write_private(
            self._folder / "data" / "README.md", card(_COLUMNS[self._options.task], paths, self._files.digest)
        )
        if "train" in paths:
            text = _config(self._options, self._files.lines, summary.max_tokens, length_limit(self._files.longest))
            write_private(self._folder / "config.yaml", text)

    def close(self) -> None:
        """Close all files."""
        self._files.close()


def _marked(row: Row) -> dict[str, Any]:
    """Return the messages with a mark on those to learn, and the tools as a string."""
    learned = learned_places(row)
    messages = [_with_text(message) for message in row.messages]
    for place in learned:
        messages[place]["train"] = True
    tools = {} if row.tools_text is None else {"tools": row.tools_text}
    return {"messages": messages, **tools}


def _with_text(message: Message) -> Message:
    """Return a message whose calls have their arguments as a string of JSON."""
    if "tool_calls" not in message:
        return dict(message)
    calls = [
        {
            **call,
            "function": {
                **call["function"],
                "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
            },
        }
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _written(row: Row, template: ChatTemplate) -> dict[str, str]:
    """Return the prompt and both answers as the chat template writes them."""
    if row.rejected is None or not row.is_only_last_learned:
        raise Dropped("format_cannot_say")
    tools = row.tools or None
    try:
        chosen = template.prompt_and_answer(row.messages, tools)
        rejected = template.prompt_and_answer([*row.prompt, row.rejected], tools)
    except TemplateError:
        raise Dropped("format_cannot_say") from None
    if chosen.prompt != rejected.prompt:
        raise Dropped("format_cannot_say")
    # The trainer adds the token that ends an answer where a text does not end with it, also behind a line end.
    return {"prompt": chosen.prompt, "chosen": chosen.answer.rstrip("\n"), "rejected": rejected.answer.rstrip("\n")}


def _config(options: FormatOptions, rows: Mapping[Split, int], max_tokens: int, limit: int) -> str:
    is_sft = options.task == "sft"
    validation = f"\ntest_datasets:\n{_dataset(options, 'validation')}evals_per_epoch: 1\n" if "dev" in rows else ""
    return _CONFIG.format(
        base_model=json.dumps(options.base_model, ensure_ascii=False),
        chat_template=_CHAT_TEMPLATE if is_sft else "",
        datasets=_dataset(options, "train") + validation,
        preference="" if is_sft else _PREFERENCE,
        max_tokens=max_tokens,
        limit=limit,
        accumulation=4 if is_sft else 8,
        epochs=2 if is_sft else 1,
        learning_rate="0.0001" if is_sft else "0.000005",
        seed=options.seed,
    )


def _dataset(options: FormatOptions, split: str) -> str:
    head = f"- path: data\n  split: {split}\n"
    if options.task == "dpo":
        return f"{head}  type: passthrough # texts, as the chat template wrote them\n"
    return (
        f"{head}  type: chat_template\n  field_messages: messages\n"
        "  message_field_training: train # learn what is marked,\n  roles_to_train: [] # and nothing else\n"
    )


_CONFIG = """\
# For Axolotl: cd into this folder, then
#     axolotl train config.yaml

base_model: {base_model}
{chat_template}
# The folder with the card, not the files: the card states the types of the columns.
datasets:
{datasets}{preference}
# Axolotl stops at a row that is longer. The longest one was counted at {max_tokens} tokens; no tokenizer makes more
# of it than this. A large number costs nothing as long as rows are neither padded to it nor packed.
sequence_len: {limit}
excess_length_strategy: raise
pad_to_sequence_len: false
sample_packing: false

# QLoRA: the model in 4 bits, and adapters beside all linear maps.
load_in_4bit: true
adapter: qlora
lora_r: 16
lora_alpha: 32
lora_target_linear: true

micro_batch_size: 1 # rows with tools are long
gradient_accumulation_steps: {accumulation} # rows in one update
gradient_checkpointing: true # recompute instead of keeping: slower by a third, and long rows fit
num_epochs: {epochs}
optimizer: adamw_torch
learning_rate: {learning_rate}
lr_scheduler: cosine
bf16: auto
attn_implementation: sdpa
logging_steps: 10
output_dir: adapters
dataset_prepared_path: prepared
seed: {seed}
"""

_CHAT_TEMPLATE = """
# Prompts are made with the chat template in the tokenizer of this model, not with the one that was served.
chat_template: tokenizer_default
"""

_PREFERENCE = """
rl: dpo
rl_beta: 0.1 # how far from the model as it is: larger stays closer
"""
