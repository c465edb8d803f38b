"""Control tokens: the strings that a tokenizer reads as one token with a meaning, wherever they stand.

Owns which tokens a chat template has, and finding them in texts.

Theory: a text that holds ``<|im_end|>`` ends a turn, whoever wrote it, since trainers tokenize the finished chat as a
whole. So such a text must be found; and a text that only looks odd must not be. Three kinds of strings count:

* ``<|name|>``, ``<｜name｜>`` with the wide bars of DeepSeek, and ``<|name>`` or ``<name|>`` as Gemma 4 pairs them.
  Nobody writes these by chance: the pipes of F#, Elm and Haskell (``<|``, ``|>``, ``<|>``) stand beside spaces;
* names that only a list can tell, because they look like markup: ``<s>``, ``[INST]``, ``<start_of_turn>`` …;
* the special tokens that the template is given (``bos_token`` …), where they stand in brackets: servers report a comma
  as the ``bos_token`` of models that have none.

The first two count only where the template itself writes them. Tags such as ``<tool_call>`` and ``<think>`` are left
out, though some vocabularies have one token for each: models read and write them as text, and so do people.
"""

import json
import re
from collections.abc import Collection, Iterable
from typing import Any

from tarx_toollog.export.template.engine import compiled, literals
from tarx_toollog.export.template.errors import TemplateError

_FORM = re.compile(r"<\|[^\s<>|]{1,48}\|>|<｜[^\s<>｜]{1,48}｜>|<\|[a-z_]{1,32}>|<[a-z_]{1,32}\|>")
_BRACKETS = re.compile(r"<.+>|\[.+\]")
_NAMES = """
<s> </s> <bos> <eos> <pad> <unk> <start_of_turn> <end_of_turn> <start_of_image> <end_of_image> <end_of_utterance>
<sop> <eop> [gMASK] [sMASK] <<SYS>> <</SYS>> [INST] [/INST] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [AVAILABLE_TOOLS]
[/AVAILABLE_TOOLS] [TOOL_CALLS] [/TOOL_CALLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CONTENT] [CALL_ID] [ARGS]
[THINK] [/THINK] [IMG] [IMG_BREAK] [IMG_END]
"""
_KNOWN = """
<|im_start|> <|im_end|> <|endoftext|> <|begin_of_text|> <|end_of_text|> <|start_header_id|> <|end_header_id|>
<|eot_id|> <|eom_id|> <|python_tag|> <|start|> <|end|> <|message|> <|channel|> <|return|> <|call|> <|system|>
<|user|> <|assistant|> <|tool|> <|observation|> <|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <start_of_turn>
<end_of_turn> <｜User｜> <｜Assistant｜> <｜begin▁of▁sentence｜> <｜end▁of▁sentence｜>
"""

WELL_KNOWN = frozenset(_KNOWN.split())
"""Tokens to look for when no template is known. Only such as mean nothing else anywhere."""

_PROBE: list[dict[str, Any]] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def special_tokens(template_text: str, tokens: Iterable[str] = ()) -> frozenset[str]:
    """Return the control tokens that a chat template writes.

    Args:
        template_text: The template. Comments in it do not count, and neither do its variables.
        tokens: Values of the special tokens that it is given (``bos_token`` …).

    Raises:
        TemplateSyntaxError: The text is not a template.
    """
    given = {token for token in tokens if _BRACKETS.fullmatch(token)}
    texts = [*literals(template_text), _probe(template_text)]
    formed = {token for text in texts for token in _FORM.findall(text)}
    named = {name for name in _NAMES.split() if any(name in text for text in texts)}
    return frozenset(formed | named | given)


def _probe(text: str) -> str:
    """Return a short chat as text: some templates put their tokens together, ``'<|' + role + '|>'``."""
    try:
        return compiled(text).run({"messages": _PROBE, "tools": None, "add_generation_prompt": True})
    except TemplateError:
        return ""  # it wants more than a short chat; what stands in its literals has to do


def token_pattern(tokens: Collection[str]) -> re.Pattern[str]:
    """Return what finds any of ``tokens`` in a text; it finds nothing when there are none."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")


def find_token(text: str, tokens: Iterable[str]) -> str | None:
    """Return the first of ``tokens`` that stands in a text, or None. Faster than a pattern on texts without any."""
    if "<" not in text and "[" not in text:  # what all tokens begin with
        return None
    return next((token for token in tokens if token in text), None)


def in_json(tokens: Iterable[str]) -> tuple[str, ...]:
    """Return ``tokens`` as they stand in the strings of a JSON text, so that it need not be read."""
    return tuple(json.dumps(token, ensure_ascii=False)[1:-1] for token in sorted(tokens))
