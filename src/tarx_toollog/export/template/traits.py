"""What a chat template can say, found by asking it to write small chats.

Owns the probes and what follows from them. It reads the template's text for nothing: what counts is what it writes.

Theory: each trait is one chat with a rare word in the place in question, and the question where that word stands in
the text. A template that refuses a chat does not have the trait. Templates may refuse for reasons of their own, so
every chat is as plain as it can be; one without a system message comes first, and the ones after it have a system
message only where it is asked for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from os.path import commonprefix
from typing import Any, Literal

from tarx_toollog.export.template.errors import TemplateError
from tarx_toollog.export.template.render import NOW, ChatTemplate

ArgumentForm = Literal["object", "string", "both", "none"]
Keeping = Literal["kept", "dropped", "refused"]
Chat = list[dict[str, Any]]

_TOOL = "zebra_finder"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": _TOOL,
            "description": "Find.",
            "parameters": {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
        },
    }
]
_USER: dict[str, Any] = {"role": "user", "content": "Quokka?"}
_IDENTITY = re.compile(r"\b(?:You are|I am|I'm) (?=an? |the |[A-Z])[^.\n<|]{2,80}")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class TemplateTraits:
    """What a chat template can say, and what it adds."""

    tools: bool
    """It writes the offered tools."""
    arguments: ArgumentForm
    """The form of arguments that it writes as they are meant; ``none`` when it does not write calls."""
    parallel: bool
    """It writes several calls of one message, all of them."""
    results: bool
    """It writes what tools answered."""
    text_beside_call: bool
    """It writes the text of a message that also holds calls."""
    system: Keeping
    """What becomes of a system message."""
    needs_system: bool
    """It refuses a chat without a system message."""
    injected: str | None
    """What it writes in the place of a system message that is not there."""
    identity: str | None
    """Who it says that the model is, when no system message says so: ``You are …``."""
    identity_always: bool
    """It says so even beside a system message."""
    reasoning: bool
    """It writes the reasoning of the last message."""
    earlier_reasoning: bool
    """It writes the reasoning of the steps before the last one, within one turn."""
    dated: bool
    """Its text depends on the day on which it is rendered."""
    exact_prompt: bool
    """What opens an answer is just how a finished answer begins."""
    marks_generation: bool
    """It has ``{% generation %}`` blocks, which trainers need to learn from every answer of a chat."""


def traits(template: ChatTemplate) -> TemplateTraits:
    """Return what a template can say. Takes some thirty renders; keep the result. Never raises."""
    return _Probes(template).traits()


class _Probes:
    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def traits(self) -> TemplateTraits:
        plain, with_system = self._text([_USER]), self._text([_system(), _USER])
        injected = self._injected(None) or self._injected(_TOOLS)
        identity = _identity(plain) or _identity(injected)
        return TemplateTraits(
            tools=_TOOL in self._text([_USER], _TOOLS) or _TOOL in self._text([_system(), _USER], _TOOLS),
            arguments=self._arguments(),
            parallel=self._parallel(),
            results="okapi" in self._text(_answered(), _TOOLS),
            text_beside_call="narwhal" in self._text([_USER, _call({"where": "A"}, content="narwhal")], _TOOLS),
            system=_kept(with_system, "wombat"),
            needs_system=not plain and bool(with_system),
            injected=injected,
            identity=identity,
            identity_always=bool(identity) and identity == _identity(with_system),
            reasoning="axolotl" in self._text([_USER, _answer(reasoning="axolotl")]),
            earlier_reasoning="axolotl" in self._text(_answered(reasoning="axolotl"), _TOOLS),
            dated=self._is_dated(),
            exact_prompt=self._is_exact(),
            marks_generation=self._marks(),
        )

    def _text(self, messages: Chat, tools: Sequence[dict[str, Any]] | None = None) -> str:
        """Return a chat as text; empty when the template refuses it."""
        try:
            return self._template.render(messages, tools)
        except TemplateError:
            return ""

    def _arguments(self) -> ArgumentForm:
        as_object = "platypus" in self._text([_USER, _call({"where": "platypus"})], _TOOLS)
        text = self._text([_USER, _call('{"where": "platypus"}')], _TOOLS)
        as_string = "platypus" in text and '\\"platypus' not in text
        if as_object and as_string:
            return "both"
        return "object" if as_object else "string" if as_string else "none"

    def _parallel(self) -> bool:
        for form in ({"where": "{}"}, '{{"where": "{}"}}'):
            first, second = (_call(_filled(form, word)) for word in ("ocelot", "caracal"))
            both = {**first, "tool_calls": [*first["tool_calls"], *second["tool_calls"]]}
            both["tool_calls"][1] = both["tool_calls"][1] | {"id": "bbbbbbbbb"}
            text = self._text([_USER, both], _TOOLS)
            if "ocelot" in text and "caracal" in text:
                return True
        return False

    def _injected(self, tools: Sequence[dict[str, Any]] | None) -> str | None:
        """Return what stands where a system message would: in the text without one, and not in that with one."""
        plain, with_system = self._text([_USER], tools), self._text([_system(), _USER], tools)
        start = _common(plain, with_system)
        end = len(plain) - _common(plain[start:][::-1], with_system[start:][::-1])
        text = plain[start:end]
        for token in self._template.special_tokens:
            text = text.replace(token, " ")
        return text.strip() if with_system and _WORD.search(text) else None

    def _is_dated(self) -> bool:
        day = timedelta(days=401)  # another year, month, day and weekday
        later = self._template.at(NOW + day)
        chats: list[tuple[Chat, Any]] = [([_USER], None), ([_USER], _TOOLS), ([_system(), _USER], None)]
        return any(self._text(*chat) != _Probes(later)._text(*chat) for chat in chats)

    def _is_exact(self) -> bool:
        try:
            return self._template.prompt_and_answer([_USER, _answer()], None).exact
        except TemplateError:
            return False

    def _marks(self) -> bool:
        try:
            return bool(self._template.render_marked([_USER, _answer()], None).spans)
        except TemplateError:
            return False


def _common(one: str, other: str) -> int:
    return len(commonprefix([one, other]))  # noqa: RUF071 - of characters


def _system() -> dict[str, Any]:
    return {"role": "system", "content": "wombat"}


def _answer(reasoning: str = "") -> dict[str, Any]:
    message = {"role": "assistant", "content": "Yes."}
    return message | {"reasoning_content": reasoning} if reasoning else message


def _call(arguments: Any, content: str = "", reasoning: str = "") -> dict[str, Any]:
    # Nine letters and figures: the one form of an id that every template takes.
    call = {"id": "aaaaaaaaa", "type": "function", "function": {"name": _TOOL, "arguments": arguments}}
    return _answer(reasoning) | {"content": content, "tool_calls": [call]}


def _answered(reasoning: str = "") -> Chat:
    result = {"role": "tool", "content": "okapi", "name": _TOOL, "tool_call_id": "aaaaaaaaa"}
    return [_USER, _call({"where": "A"}, reasoning=reasoning), result, _answer()]


def _filled(form: Any, word: str) -> Any:
    return form.format(word) if isinstance(form, str) else {key: text.format(word) for key, text in form.items()}


def _identity(text: str | None) -> str | None:
    found = _IDENTITY.search(text or "")
    return found[0].strip() if found else None


def _kept(text: str, word: str) -> Keeping:
    if not text:
        return "refused"
    return "kept" if word in text else "dropped"
