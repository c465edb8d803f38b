"""What a template makes of a row: rendered, and then looked at.

Owns the judgement of one chat under one template, for the lint and for the export itself (``TemplateCheck``). What
holds for a template whatever the row is asked of its traits, once; what depends on the row is looked for in the text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarx_toollog.export.example import Row
from tarx_toollog.export.template.errors import TemplateError, TemplatePrefixError
from tarx_toollog.export.template.findings import Finding, short
from tarx_toollog.export.template.mends import Asked, Message, diagnose
from tarx_toollog.export.template.render import ChatTemplate, RenderedRow
from tarx_toollog.export.template.row_rules import calls_of, name_of
from tarx_toollog.export.template.tokens import find_token, in_json
from tarx_toollog.export.template.traits import TemplateTraits, traits

_EMPTY_THOUGHT = re.compile(r"\s*(?:<think>\s*)?</think>")


class TemplateCheck:
    """Holds rows against one template. Made once; a row costs two renders and some searches in its text.

    Args:
        template: The template that the rows will be trained with.
        served_sha: Hash of the template that the server answers with, where it is known.
    """

    def __init__(self, template: ChatTemplate, *, served_sha: str | None = None) -> None:
        self.template = template
        self.traits: TemplateTraits = traits(template)
        self._tokens = in_json(template.special_tokens)
        self._last_tools: tuple[str | None, list[Any] | None] = (None, None)
        self.always: tuple[str, ...] = (
            *(("date_drift",) if self.traits.dated else ()),
            *(("template_not_served",) if served_sha not in (None, template.sha) else ()),
        )
        """Codes that hold for the template itself, and so for every row."""

    def check(self, row: Row) -> tuple[str, ...]:
        """Return the codes of what is wrong with a row under this template, each once. Never raises for a row."""
        tools = self._tools(row)
        found = [finding.code for finding in self.findings(row.messages, tools)]
        if row.rejected is not None:
            found += [finding.code for finding in self.findings([*row.prompt, row.rejected], tools)]
        if not row.is_only_last_learned:
            found += [finding.code for finding in self.trajectory_findings(row.messages, tools, row.targets)]
        texts = (row.prompt_text, row.answer_text, row.tools_text, row.rejected_text)
        if any(find_token(text, self._tokens) for text in texts if text):
            found.append("special_token")
        return tuple(dict.fromkeys(found))

    def findings(self, messages: Sequence[Message], tools: Sequence[Any] | None) -> Iterator[Finding]:
        """Yield what is wrong with a chat under this template.

        Args:
            messages: Objects with a role; the last one is what is learned.
            tools: The offered functions; None when the row has none.
        """
        try:
            row = self.template.prompt_and_answer(messages, tools)
        except TemplatePrefixError as error:
            yield Finding("history_rewritten", detail=short(str(error)))
            return
        except TemplateError as error:
            yield Finding(diagnose(Asked(messages, tools), self._renders), detail=short(str(error)))
            return
        if not row.exact:
            yield Finding("prompt_not_prefix", detail=f"learned: {short(row.answer[:60])!r}")
        yield from answer_rules(messages[-1], row)
        yield from self._history_rules(messages, tools, row)
        yield from _reasoning_rules(messages, row)

    def trajectory_findings(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, targets: Sequence[int] = ()
    ) -> Iterator[Finding]:
        """Yield the earlier answers that stand in the whole chat otherwise than the model writes them.

        Args:
            messages: The whole chat.
            tools: The offered functions; None when there are none.
            targets: Places of the answers that are learned; empty: all answers.
        """
        places = targets or [n for n, message in enumerate(messages) if message.get("role") == "assistant"]
        try:
            whole = self.template.render(messages, tools)
            for place in places:
                if place == len(messages) - 1:
                    continue
                step = self.template.prompt_and_answer(messages[: place + 1], tools)
                if not whole.startswith(step.prompt + step.answer.rstrip()):
                    yield Finding("trajectory_rewritten", f"messages[{place}]", f"at its time: {short(step.answer)!r}")
        except TemplateError:
            return  # told by findings()

    def _tools(self, row: Row) -> list[Any] | None:
        """Return the tools of a row; mostly the next row has the same, which need not be read again."""
        if row.tools_text != self._last_tools[0]:
            self._last_tools = (row.tools_text, row.tools or None)
        return self._last_tools[1]

    def _renders(self, asked: Asked) -> bool:
        try:
            self.template.prompt_and_answer(asked.messages, asked.tools)
        except TemplatePrefixError:
            return True
        except TemplateError:
            return False
        return True

    def _history_rules(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, row: RenderedRow
    ) -> Iterator[Finding]:
        whole = row.prompt + row.answer
        can, roles = self.traits, [message.get("role") for message in messages]
        if tools and not can.tools:
            yield Finding("tools_dropped", "tools")
        if can.arguments == "none" and any(calls_of(message) for message in messages[:-1]):
            yield Finding("calls_dropped")
        if "tool" in roles and not can.results:
            yield Finding("results_dropped")
        if "system" in roles and can.system == "dropped":
            yield Finding("system_dropped")
        if can.identity and (can.identity_always or roles[0] != "system"):
            yield Finding("identity_injected", detail=short(can.identity))
        for text in _argument_strings(messages):
            if json.dumps(text, ensure_ascii=False) in whole:
                yield Finding("arguments_twice", detail=short(text))
        if "None" in whole and "None" not in self.template.text and "None" not in _json(messages, tools):
            yield Finding("none_written")


def answer_rules(message: Message, row: RenderedRow) -> Iterator[Finding]:
    """Yield what an answer says, and the text of what is learned does not: calls by their names, and words."""
    names = [name for call in calls_of(message) if (name := name_of(call))]
    for name in dict.fromkeys(names):
        if row.answer.count(name) < names.count(name):
            yield Finding("calls_dropped", "tool_calls", name)
    content = message.get("content")
    if isinstance(content, str) and (text := content.rpartition("</think>")[2].strip()) and text not in row.answer:
        yield Finding("answer_dropped", "content", short(text))


def _reasoning_rules(messages: Sequence[Message], row: RenderedRow) -> Iterator[Finding]:
    thoughts = [message.get("reasoning_content") for message in messages]
    if isinstance(thoughts[-1], str) and thoughts[-1]:
        if thoughts[-1].strip() not in row.answer:
            yield Finding("reasoning_lost", "reasoning_content")
    elif (found := _EMPTY_THOUGHT.match(row.answer)) and "</think>" not in str(messages[-1].get("content")):
        yield Finding("empty_reasoning_trained", detail=repr(found[0]))
    for number, thought in enumerate(thoughts[:-1]):
        if isinstance(thought, str) and thought.strip() and thought.strip() not in row.prompt:
            yield Finding("earlier_reasoning_lost", f"messages[{number}].reasoning_content")
            return


def _argument_strings(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        for call in calls_of(message):
            function = call.get("function") if isinstance(call, Mapping) else None
            arguments = function.get("arguments") if isinstance(function, Mapping) else None
            if isinstance(arguments, str):
                yield arguments


def _json(messages: Sequence[Message], tools: Sequence[Any] | None) -> str:
    return json.dumps([messages, tools], ensure_ascii=False, default=str)
