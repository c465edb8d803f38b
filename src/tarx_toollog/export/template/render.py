"""A chat template as an object: messages and tools in, the text that the model reads out.

Owns the rendering of chats and the cut between what is asked and what is answered. ``tests/unit/export/template`` holds
it against the renderer of ``transformers``, template by template.

Theory of the cut: a trainer learns the *answer* and only reads the *prompt*. When the model is used, its prompt is the
history plus the opening of an answer (``add_generation_prompt``). The text of the whole chat should begin with exactly
that, and the rest is what the model has to write. Some templates break this rule: they open an answer with an empty
thinking block, say, and write the finished answer without one. Then the prompt is what both texts have in common, but
never less than the history, and never a part of a word: it ends at the end of a line or of a control token, over
which no token reaches. The row says so in ``exact``. When not even the history is a beginning of the whole, there is
nothing to cut, and that is an error.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from os.path import commonprefix
from typing import Any, NamedTuple

from tarx_toollog.canonical import content_hash
from tarx_toollog.export.template.engine import SPAN_END, SPAN_START, SPAN_VARIABLES, compiled
from tarx_toollog.export.template.errors import TemplatePrefixError
from tarx_toollog.export.template.tokens import special_tokens, token_pattern

NOW = datetime.fromisoformat("2024-07-26")
"""What a template takes for the present unless it is told otherwise: the same files must give the same text tomorrow.
It is the date that Llama 3.1 and 3.2 fall back to where they know no other."""

_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")


class RenderedRow(NamedTuple):
    """A chat as one text in two parts; ``prompt + answer`` is the whole."""

    prompt: str
    answer: str
    exact: bool
    """Whether the prompt is just what the model sees when it is used."""


class Span(NamedTuple):
    """A part of a text, in characters."""

    start: int
    end: int


class Marked(NamedTuple):
    """A text, and the parts of it that the template marks as written by the assistant."""

    text: str
    spans: tuple[Span, ...]


class ChatTemplate:
    """A chat template with everything that it needs beside the messages. Compiled once; use it from one thread.

    Args:
        text: The template in the Jinja language.
        tokens: Special tokens that it names: ``bos_token``, ``eos_token`` …
        variables: More variables: ``enable_thinking``, ``date_string`` …
        now: The moment that ``strftime_now`` gives.

    Raises:
        TemplateSyntaxError: ``text`` is not a template.
    """

    def __init__(
        self,
        text: str,
        *,
        tokens: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        now: datetime = NOW,
    ) -> None:
        self.text = text
        self.tokens = dict(tokens or {})
        self._compiled = compiled(text)
        self._variables = dict(variables or {})
        self._constants = {"documents": None, "strftime_now": now.strftime} | self.tokens | self._variables

    def at(self, now: datetime) -> "ChatTemplate":
        """Return the same template at another moment."""
        return ChatTemplate(self.text, tokens=self.tokens, variables=self._variables, now=now)

    @cached_property
    def sha(self) -> str:
        """Content hash in hex; equal to ``chat_template_hash`` of the model build that serves this template."""
        return content_hash("chat_template", self.text).hex()

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        """Control tokens that it writes."""
        return special_tokens(self.text, self.tokens.values())

    @cached_property
    def _breaks(self) -> re.Pattern[str]:
        """Where no token reaches over: line ends and control tokens."""
        return token_pattern({"\n", *self.special_tokens})

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """Return the chat as text.

        Args:
            messages: JSON objects; argument values may be whatever the template takes.
            tools: The offered functions; None when there are none, which is not the same as an empty list.
            add_generation_prompt: Also write what opens an answer.

        Raises:
            TemplateError: The template refuses the chat or fails on it.
        """
        return self._run(messages, tools, add_generation_prompt)

    def render_marked(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None) -> Marked:
        """Return the chat as text, with the spans that stand in ``{% generation %}`` blocks.

        Raises:
            TemplateError: The template refuses the chat or fails on it.
        """
        spans, pieces, length = [], [], 0
        for ordinal, piece in enumerate(self._run(messages, tools, False, **SPAN_VARIABLES).split(SPAN_START)):
            inside, _, after = piece.rpartition(SPAN_END) if ordinal else ("", "", piece)
            if ordinal:
                spans.append(Span(length, length + len(inside)))
            pieces += [inside, after]
            length += len(inside) + len(after)
        return Marked("".join(pieces), tuple(spans))

    def prompt_and_answer(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
    ) -> RenderedRow:
        """Return the text before the last message's own words, and these words with what ends them.

        Raises:
            TemplatePrefixError: The template writes the history otherwise once it is answered.
            TemplateError: The template refuses the chat or fails on it.
        """
        whole = self._run(messages, tools, False)
        prompt = self._run(messages[:-1], tools, True)
        if whole.startswith(prompt):
            return RenderedRow(prompt, whole[len(prompt) :], exact=True)
        history = self._run(messages[:-1], tools, False)
        if not whole.startswith(history):
            raise TemplatePrefixError(
                "the chat template writes the history otherwise once it is answered",
                hint="train on messages with a trainer that renders each of them itself, or use another template",
            )
        common = commonprefix([prompt, whole])  # noqa: RUF071 - of characters
        ends = [match.end() for match in self._breaks.finditer(common, len(history))]
        cut = ends[-1] if ends else len(history)
        return RenderedRow(whole[:cut], whole[cut:], exact=False)

    def _run(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        **more: Any,
    ) -> str:
        return self._compiled.run(
            self._constants
            | more
            | {
                "messages": [_with_reasoning(message) for message in messages],
                "tools": tools,
                "add_generation_prompt": add_generation_prompt,
            }
        )


def _with_reasoning(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give reasoning under the names that templates read it by: most as ``reasoning_content``, some as ``thinking``."""
    for key in _REASONING_KEYS:
        if message.get(key) is not None:
            return {"thinking": message[key], **message, "reasoning_content": message[key]}
    return message
