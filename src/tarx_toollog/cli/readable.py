"""Exchanges and conversations as text that a person reads in a terminal. ``tree`` has their branches."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.cli.output import cell_text
from tarx_toollog.store.answers.call_words import faults_of
from tarx_toollog.store.answers.queries import ExchangeDetail, TurnDetail

MAX_TEXT = 4000  # a tool result may be a whole file; `--json` gives all of it
LINE = 78  # facts and short arguments fit a terminal of 80
INDENT = "    "
EMPTY = "(empty)"

_FACTS = ("conversation_uid", "turn_no", "step_no", "leg", "route", "request_model", "response_model", "user_agent")
_ENDING = ("outcome", "finish_reason", "http_status", "error_type", "error_text")
_FIGURES = ("n_messages", "n_tools", "input_tokens", "output_tokens", "cached_tokens", "first_byte_ms", "total_ms")


def exchange_text(detail: ExchangeDetail) -> str:
    """Return one exchange: facts, messages, answer, calls with verdicts, results, latencies."""
    facts = detail.facts
    lines = [f"exchange {facts['uid']}  {cell_text(facts['started_at'])}"]
    for names in (_FACTS, _ENDING, _FIGURES):
        lines += _filled([f"{name} {cell_text(facts[name])}" for name in names if facts[name] not in (None, "")])
    if facts["notes"]:
        lines.append(f"{INDENT}notes {', '.join(facts['notes'])}")
    tools: dict[str, str] = {}
    for message in detail.messages:
        lines += ["", *_message(message, tools)]
    if detail.answer is None:
        lines += ["", f"no answer: {facts['outcome']}"]
    else:
        lines += ["", "answer:"]
        # An answer that calls has no text as a rule.
        lines += _block(detail.answer["content"] or ("" if detail.calls else EMPTY))
    for number, call in enumerate(detail.calls):
        lines += [""] * (number > 0 or bool(detail.answer and detail.answer["content"]))
        lines += _call(call)
    return "\n".join(lines)


def conversation_text(facts: dict[str, Any], turns: list[TurnDetail]) -> str:
    """Return a conversation as a chat."""
    own = f" ({facts['external_id']})" if facts["external_id"] else ""
    lines = [f"conversation {facts['conversation_uid']}{own}  {cell_text(facts['first_at'])}"]
    for turn in turns:
        lines += ["", f"user, turn {turn.facts['turn_no']}:", *_block(turn.facts["user_text"] or "")]
        for step in turn.steps:
            lines += _step(step)
    return "\n".join(lines)


def pretty_arguments(text: str) -> str:
    """Return an argument string as JSON, indented when it is long, or as it is when it is no JSON."""
    try:
        value = parse_json(text)
        line = json.dumps(value, ensure_ascii=False)
        return line if len(INDENT) + len(line) <= LINE else json.dumps(value, indent=2, ensure_ascii=False)
    except (InvalidJsonError, RecursionError):
        return text


def verdict(call: dict[str, Any]) -> str:
    """Return what is wrong with a call, or ``ok``."""
    return ", ".join(faults_of(_Judged(*(call[name] for name in _Judged._fields)))) or "ok"


class _Judged(NamedTuple):
    complete: bool
    argument_state: str
    offered: bool
    schema_state: str
    origin: str


def _step(step: dict[str, Any]) -> Iterator[str]:
    ending = "" if step["outcome"] == "completed" else f", {step['outcome']}"
    yield ""
    yield f"assistant, step {step['step_no']}{ending}  [{step['exchange_uid']}]:"
    if step["answer"]:
        yield from _block(step["answer"])
    if step["error_text"]:
        yield f"{INDENT}error: {step['error_text']}"
    for call in step["calls"]:
        yield from _call(call)


def _message(message: dict[str, Any], tools: dict[str, str]) -> Iterator[str]:
    """Yield one message of a request; ``tools`` keeps the tool of each call id, for the results that follow."""
    call_id = message["tool_call_id"]
    name = message["name"] or tools.get(call_id or "")
    answers = f" for {call_id}" if call_id and not name else ""
    yield f"{message['role']}{f' {name}' if name else ''}{answers}:"
    extra = message["extra"].get("tool_calls") if isinstance(message["extra"], dict) else None
    calls = [call for call in extra if isinstance(call, dict)] if isinstance(extra, list) else []
    yield from _block(message["content"] or ("" if calls else EMPTY))
    for call in calls:
        function = call.get("function")
        if isinstance(function, dict):
            tools[str(call.get("id"))] = str(function.get("name"))
            yield f"{INDENT}call {function.get('name')} {function.get('arguments')}"


def _call(call: dict[str, Any]) -> Iterator[str]:
    yield f"call {call['name']}  [{call['call_id']}]  {verdict(call)}"
    yield from _block(pretty_arguments(call["arguments"]))
    for objection in call["schema_errors"] or ():
        yield f"{INDENT}schema: {objection if isinstance(objection, str) else json.dumps(objection)}"
    if call["match_how"] is None:
        yield "result: none seen"
        return
    kind = "result, an error" if call["result_is_error"] else "result"
    after = f" after {cell_text(call['latency_ms'])} ms" if call["latency_ms"] is not None else ""
    yield f"{kind}{after}:"
    yield from _block(call["result"] or EMPTY)


def _block(text: str) -> Iterator[str]:
    cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"
    for line in cut.split("\n") if text else ():
        yield INDENT + line


def _filled(facts: list[str]) -> Iterator[str]:
    """Yield facts, as many on a line as fit."""
    line = ""
    for fact in facts:
        if line and len(INDENT + line + " · " + fact) > LINE:
            yield INDENT + line
            line = ""
        line += f" · {fact}" if line else fact
    if line:
        yield INDENT + line
