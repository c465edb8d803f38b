"""``openai``: for OpenAI's fine-tuning, and the many services that read its files.

Tuning: one object a line with ``messages``, ``tools`` and ``parallel_tool_calls``; arguments are a string of JSON, and
answers that are not to be learned have ``weight`` 0. Preferences: ``input``, ``preferred_output`` and
``non_preferred_output``.

``parallel_tool_calls`` is true wherever tools are offered, which is also what the API takes for granted. It must not
follow from the answer: a model would learn to read from it how many calls to make.

The API has no word for reasoning. A row with reasoning in the answer is refused; from the history it is left out.

Format: ``FineTuneChatRequestInput`` and ``FineTunePreferenceRequestInput`` of OpenAI's published API description.
"""

import json
from pathlib import Path
from typing import Any

from tarx_toollog.export.example import Message, Row, Summary, Task, Unit
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.jsonl import JsonlFiles, check_fits, learned_places
from tarx_toollog.export.formats.openai_form import refuse_learned_reasoning, wire_calls, wire_tools


class OpenAIFormat:
    """The format, as the registry holds it."""

    name = "openai"
    about = "OpenAI fine-tuning: arguments as strings, weights, preferences"
    tasks: frozenset[Task] = frozenset({"sft", "dpo"})
    units: frozenset[Unit] = frozenset({"step", "trajectory"})

    def writer(self, folder: Path, options: FormatOptions) -> "OpenAIWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: For ``kto``, which the service does not do.
        """
        check_fits(self, options)
        return OpenAIWriter(folder)


class OpenAIWriter:
    """Writes one file a split."""

    def __init__(self, folder: Path) -> None:
        self._files = JsonlFiles(folder)

    def add(self, row: Row) -> Location:
        """Write one line: a preference when the row has a rejected answer.

        Raises:
            Dropped: A function has a name that the API refuses, or the answer has reasoning.
        """
        learned = learned_places(row)
        refuse_learned_reasoning(row, learned)
        if row.rejected is None:
            value = _request(row, row.messages, learned)
        else:
            value = {
                "input": _request(row, row.prompt, None),
                "preferred_output": [_message(row.answer)],
                "non_preferred_output": [_message(row.rejected)],
            }
        return self._files.add(row.split, json.dumps(value, ensure_ascii=False, allow_nan=False))

    def finish(self, summary: Summary) -> None:
        """Nothing stands beside the rows."""

    def close(self) -> None:
        """Close all files."""
        self._files.close()


def _request(row: Row, messages: list[Message], learned: frozenset[int] | None) -> dict[str, Any]:
    """Return messages and tools; without weights when ``learned`` is None, as preferences have none."""
    written = []
    for place, message in enumerate(messages):
        made = _message(message)
        if learned is not None and message["role"] == "assistant" and place not in learned:
            made["weight"] = 0
        written.append(made)
    value: dict[str, Any] = {"messages": written}
    if row.tools_text is not None:
        value["tools"] = wire_tools(row.tools_text)
        value["parallel_tool_calls"] = True
    return value


def _message(message: Message) -> dict[str, Any]:
    if message["role"] == "tool":
        return {"role": "tool", "tool_call_id": message["tool_call_id"], "content": message["content"]}
    made = {"role": message["role"], "content": message["content"]}
    if calls := wire_calls(message):
        made["tool_calls"] = calls
        if not message["content"]:
            del made["content"]  # the API asks for text, unless there are calls
    return made
