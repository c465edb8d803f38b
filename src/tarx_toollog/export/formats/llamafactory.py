"""``llamafactory``: rows in its ``sharegpt`` form, ``dataset_info.json`` and a configuration.

*Theory.* LLaMA-Factory takes conversations apart and writes them with templates of its own, not with the model's. So
the template has to be one that is known to write the same (``FAMILIES``; tests/consumers compares them with the models'
own), and the rows have to say things as these templates want them:

- calls are ``function_call`` with JSON as text: one object, or a list of them when there are several. Behind words or
  reasoning, the JSON stands between ``<tool_call>`` tags;
- the results of calls made at once are one ``observation``; two in a row, and the row is left out without a word;
- turns alternate, and begin with the user; otherwise the row is left out without a word.

``_conversation`` and ``_answer`` refuse every row that would be left out, or read otherwise than it was meant. One
difference is left: with tools and without a system prompt, two line ends more stand before the tools than Qwen 3 has
there. Its other form, ``openai``, loses the words beside a call and fills objects with nulls; it is not used.

Format: ``data/converter.py``, ``data/formatter.py`` and ``data/template.py`` of LLaMA-Factory 0.9.5.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Dropped, Message, Row, Split, Summary, Task, Unit
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.hf import length_limit
from tarx_toollog.export.formats.jsonl import JsonlFiles, check_fits
from tarx_toollog.export.formats.kto import about_weights, kto_weights
from tarx_toollog.export.formats.trl import all_learned

FILES: Mapping[Split, str] = {"train": "train.jsonl", "dev": "dev.jsonl", "eval": "eval.jsonl"}

JOIN_RESULTS = "\n</tool_response>\n<tool_response>\n"
"""Between the results of calls made at once, in the templates of the Qwen family."""

Turn = dict[str, str]


class Family(NamedTuple):
    """Models that LLaMA-Factory has a template for which writes what the models' own template writes."""

    models: re.Pattern[str]
    """Found in the name of a model."""
    template: str
    has_reasoning: bool
    """Whether the models' own template writes reasoning."""


FAMILIES = (
    Family(re.compile(r"qwen-?2\.5", re.IGNORECASE), "qwen", False),
    Family(re.compile(r"qwen-?3(?![.\d]).*(instruct|coder)", re.IGNORECASE), "qwen3_nothink", False),
    Family(re.compile(r"qwen-?3(?![.\d])(?!.*thinking)", re.IGNORECASE), "qwen3", True),
)
"""Qwen 3.5 and later are not among them: LLaMA-Factory 0.9.5 opens and closes their answers otherwise."""


class LlamaFactoryFormat:
    """The format, as the registry holds it."""

    name = "llamafactory"
    about = "LLaMA-Factory: sharegpt conversations, dataset_info.json and a configuration (models of the Qwen family)"
    tasks: frozenset[Task] = frozenset({"sft", "dpo", "kto"})
    units: frozenset[Unit] = frozenset({"step", "trajectory"})

    def writer(self, folder: Path, options: FormatOptions) -> "LlamaFactoryWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: The base model has no template that is known to be right, or preferences over whole turns.
        """
        check_fits(self, options)
        if options.task != "sft" and options.unit == "trajectory":
            raise ConfigError("preferences are about single answers", hint="use --unit step")
        return LlamaFactoryWriter(folder, options, family_of(options.base_model))


class LlamaFactoryWriter:
    """Writes ``train.jsonl`` …, ``dataset_info.json``, and ``sft.yaml``, ``dpo.yaml`` or ``kto.yaml``."""

    def __init__(self, folder: Path, options: FormatOptions, family: Family) -> None:
        self._folder = folder
        self._options = options
        self._family = family
        self._files = JsonlFiles(folder, FILES)
        self._labels: Counter[bool | None] = Counter()  # of the training rows

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: LLaMA-Factory would leave it out, read it otherwise than it was meant, or learn too much of it.
        """
        if self._options.unit == "trajectory":
            all_learned(row)
        elif not row.is_only_last_learned:
            raise Dropped("needs_mask")
        cells = _cells(row, self._options.task, self._family)
        line = json.dumps(cells, ensure_ascii=False, allow_nan=False)
        if row.split == "train":
            self._labels[row.label] += 1
        return self._files.add(row.split, line)

    def finish(self, summary: Summary) -> None:
        """Write ``dataset_info.json`` and, where there is anything to train on, the configuration."""
        info = {_name(self._options, split): _info(self._options.task, FILES[split]) for split in self._files.lines}
        write_private(self._folder / "dataset_info.json", json.dumps(info, indent=2) + "\n")
        if "train" in self._files.lines:
            has_dev = "dev" in self._files.lines
            limit = length_limit(self._files.longest)
            template = self._family.template
            text = _config(self._options, template, has_dev, summary.max_tokens, limit, self._preference())
            write_private(self._folder / f"{self._options.task}.yaml", text)

    def _preference(self) -> str:
        if self._options.task == "sft":
            return ""
        if self._options.task == "dpo":
            return _PREFERENCE
        good, bad = self._labels[True], self._labels[False]
        weights = kto_weights(good, bad)
        return _PREFERENCE + _WEIGHTS.format(about=about_weights(good, bad), good=weights.good, bad=weights.bad)

    def close(self) -> None:
        """Close all files."""
        self._files.close()


def family_of(base_model: str) -> Family:
    """Return the family of a model, by its name.

    Raises:
        ConfigError: It is not known.
    """
    for family in FAMILIES:
        if family.models.search(base_model):
            return family
    raise ConfigError(
        f"LLaMA-Factory has no template that is known to be right for {base_model}",
        hint="name a model of Qwen 2.5 or Qwen 3 with --base-model, or use --for axolotl or --for trl",
    )


def _cells(row: Row, task: Task, family: Family) -> dict[str, Any]:
    system, turns = _conversation(row.prompt, family)
    answer = _answer(row.answer, family)
    rejected = None if row.rejected is None else _answer(row.rejected, family)
    texts = [turn["value"] for turn in turns]
    if rejected is None:
        _refuse_dates([[system], [*texts, answer["value"]]])
    else:
        _refuse_dates([[system], texts, [answer["value"]], [rejected["value"]]])
    cells: dict[str, Any] = {"system": system, "tools": row.tools_text or ""}
    if task == "dpo":
        if rejected is None:
            raise Dropped("format_cannot_say")
        return {"conversations": turns, "chosen": answer, "rejected": rejected, **cells}
    cells = {"conversations": [*turns, answer], **cells}
    if task == "kto":
        if row.label is None:
            raise Dropped("format_cannot_say")
        cells["label"] = row.label
    return cells


def _refuse_dates(columns: Iterable[Iterable[str]]) -> None:
    """Refuse a row in which all that a column holds is a date.

    Raises:
        Dropped: There is one; in a file with no other rows, ``datasets`` would make moments of it, and not texts.
    """
    if any(all(_DATE.fullmatch(text) for text in texts) for texts in columns):
        raise Dropped("format_cannot_say")


def _conversation(prompt: list[Message], family: Family) -> tuple[str, list[Turn]]:
    """Return the system prompt and the turns before the answer.

    Raises:
        Dropped: They do not alternate, so that LLaMA-Factory would leave the row out.
    """
    has_system = bool(prompt) and prompt[0]["role"] == "system"
    turns: list[Turn] = []
    previous = ""
    for message in prompt[1:] if has_system else prompt:
        if message["role"] == "tool" == previous:
            turns[-1]["value"] += JOIN_RESULTS + message["content"]
        else:
            turns.append(_turn(message, family))
        previous = message["role"]
    if len(turns) % 2 == 0 or any((turn["from"] in _ASKING) != (place % 2 == 0) for place, turn in enumerate(turns)):
        raise Dropped("format_cannot_say")
    return (prompt[0]["content"] if has_system else ""), turns


_ASKING = ("human", "observation")


def _turn(message: Message, family: Family) -> Turn:
    if message["role"] == "user":
        return {"from": "human", "value": message["content"]}
    if message["role"] == "tool":
        return {"from": "observation", "value": message["content"]}
    if message["role"] == "assistant":
        return _answer(message, family)
    raise Dropped("format_cannot_say")


def _answer(message: Message, family: Family) -> Turn:
    """Return an answer: words, or words and calls.

    Raises:
        Dropped: Tags in it would be taken for the real ones.
    """
    words = message["content"]
    thoughts = ""
    if family.has_reasoning and "reasoning_content" in message:
        thoughts = f"<think>\n{message['reasoning_content']}\n</think>\n\n"
    if family.has_reasoning and any(tag in words for tag in _THOUGHT_TAGS):
        raise Dropped("format_cannot_say")
    if "tool_calls" not in message:
        return {"from": "gpt", "value": thoughts + words}
    calls = [
        {"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in message["tool_calls"]
    ]
    text = json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False)
    if any(tag in thoughts + words + text for tag in _CALL_TAGS) or any(tag in text for tag in _THOUGHT_TAGS):
        raise Dropped("format_cannot_say")
    if thoughts or words:
        gap = "\n" if words else ""
        text = f"{thoughts}{words}{gap}<tool_call>\n{text}\n</tool_call>"
    return {"from": "function_call", "value": text}


_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T][\d:.Z+-]*)?")
"""What Arrow takes for a date, and a little more."""
_CALL_TAGS = ("<tool_call>", "</tool_call>")
_THOUGHT_TAGS = ("<think>", "</think>")


def _name(options: FormatOptions, split: Split) -> str:
    """Return the name of a file's data set. In the name of a build, a comma would make two of them."""
    return f"{_NO_NAME.sub('_', options.build_name or 'dataset')}_{split}"


_NO_NAME = re.compile(r"[^\w.-]+")


def _info(task: Task, file: str) -> dict[str, Any]:
    """Return the entry of a file in ``dataset_info.json``; tags are LLaMA-Factory's own defaults."""
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    if task == "dpo":
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    if task == "kto":
        columns |= {"kto_tag": "label"}
    ranking = {"ranking": True} if task == "dpo" else {}
    return {"file_name": file, "formatting": "sharegpt", **ranking, "columns": columns}


def _config(options: FormatOptions, template: str, has_dev: bool, max_tokens: int, limit: int, preference: str) -> str:
    is_sft = options.task == "sft"
    batch = 4 if options.task == "kto" else 1
    return _CONFIG.format(
        task=options.task,
        base_model=json.dumps(options.base_model, ensure_ascii=False),
        template=template,
        train=json.dumps(_name(options, "train"), ensure_ascii=False),
        validation=_VALIDATION.format(name=json.dumps(_name(options, "dev"), ensure_ascii=False)) if has_dev else "",
        max_tokens=max_tokens,
        limit=limit,
        mask=_MASK if is_sft and options.unit == "step" else "",
        preference=preference,
        batch=batch,
        accumulation=(4 if is_sft else 8) // batch,
        epochs=2 if is_sft else 1,
        learning_rate="0.0001" if is_sft else "0.000005",
        seed=options.seed,
    )


_CONFIG = """\
# For LLaMA-Factory: cd into this folder, then
#     llamafactory-cli train {task}.yaml

model_name_or_path: {base_model}

# Prompts are made with this template of LLaMA-Factory's, not with the model's own.
template: {template}

dataset_dir: .
dataset: {train}
{validation}
# LLaMA-Factory cuts rows here, in the middle. The longest one was counted at {max_tokens} tokens; no tokenizer makes
# more of it than this. A large number costs nothing: rows are padded to the longest of their batch.
cutoff_len: {limit}
packing: false
{mask}
# QLoRA: the model in 4 bits, and adapters beside all linear maps.
stage: {task}
do_train: true
finetuning_type: lora
quantization_bit: 4
quantization_method: bnb
lora_rank: 16
lora_alpha: 32
lora_target: all
{preference}
per_device_train_batch_size: {batch} # rows with tools are long; KTO compares the rows of a batch
gradient_accumulation_steps: {accumulation}
num_train_epochs: {epochs}
learning_rate: {learning_rate}
lr_scheduler_type: cosine
bf16: true
logging_steps: 10
save_strategy: epoch
output_dir: adapters
report_to: none
seed: {seed}
"""

_VALIDATION = """\
eval_dataset: {name}
eval_strategy: epoch
per_device_eval_batch_size: 1
"""

_MASK = """\
mask_history: true # learn the last answer of each row; the others stand in rows of their own
"""

_PREFERENCE = """\
pref_beta: 0.1 # how far from the model as it is: larger stays closer
"""

_WEIGHTS = """\
{about}
kto_chosen_weight: {good}
kto_rejected_weight: {bad}
"""
