"""The table of forms: which ones are known, how each looks, and who writes it."""

from typing import NamedTuple


class FormInfo(NamedTuple):
    """One way to write a call into a text. ``example`` calls a tool ``f`` with ``{"x": 1}``."""

    example: str
    writers: str
    is_marked: bool = True
    """A marker is evidence by itself; without one the tool must be offered."""


FORMS: dict[str, FormInfo] = {
    "tool_call_tag": FormInfo(
        '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>',
        "Hermes, Qwen 2.5 and 3, Granite, Phi-4, Nemotron (also with the tags `<tool_calls>`, `<function_call>`, "
        "`<tools>`, `<|tool_call|>`, `<TOOLCALL>`)",
    ),
    "function_tag": FormInfo(
        "<function=f><parameter=x>1</parameter></function>",
        "Qwen3-Coder and Qwen 3.5 on; with a JSON object between the tags Llama 3 and Functionary",
    ),
    "glm": FormInfo(
        "<tool_call>f<arg_key>x</arg_key><arg_value>1</arg_value></tool_call>",
        "GLM 4.5 on",
    ),
    "invoke": FormInfo(
        '<invoke name="f"><parameter name="x">1</parameter></invoke>',
        "MiniMax, and models that imitate Anthropic's old markup",
    ),
    "deepseek": FormInfo(
        '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"x": 1}<｜tool▁call▁end｜>',
        "DeepSeek V3 and V3.1; V3.2 on as `<｜DSML｜invoke name=…>` elements",
    ),
    "kimi": FormInfo(
        '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"x": 1}<|tool_call_end|>',
        "Kimi K2; K3 as `<|open|>call tool=…` elements",
    ),
    "mistral": FormInfo(
        '[TOOL_CALLS]f[ARGS]{"x": 1}',
        "Mistral, Magistral, Ministral, Devstral; before version 11 as a JSON list",
    ),
    "python_tag": FormInfo(
        '<|python_tag|>{"name": "f", "parameters": {"x": 1}}',
        "Llama 3 (also `f.call(x=1)`); Llama 4 with `<|python_start|>`",
    ),
    "gpt_oss": FormInfo(
        '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"x": 1}<|call|>',
        "gpt-oss (Harmony), also with its special tokens taken out",
    ),
    "gemma": FormInfo("<|tool_call>call:f{x:1}<tool_call|>", "Gemma 4"),
    "smolagents": FormInfo(
        "Calling tools:\n[{'id': 'call_1', 'type': 'function', 'function': {'name': 'f', 'arguments': {'x': 1}}}]",
        "models that saw the history of smolagents",
    ),
    "fenced_json": FormInfo(
        '```json\n{"name": "f", "arguments": {"x": 1}}\n```',
        "Qwen2.5-Coder and many small models",
        is_marked=False,
    ),
    "bare_json": FormInfo(
        '{"name": "f", "parameters": {"x": 1}}',
        "Llama 3 and many small models: lines that hold calls and nothing else",
        is_marked=False,
    ),
    "pythonic": FormInfo("[f(x=1)]", "Llama 3.2 and 4, ToolACE, Olmo 3", is_marked=False),
    "tool_code": FormInfo("```tool_code\nf(x=1)\n```", "Gemma 2 and 3", is_marked=False),
}
"""Every value of ``TextCall.form``."""
