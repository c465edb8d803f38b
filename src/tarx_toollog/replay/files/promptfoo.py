"""Configurations of promptfoo: prompts and tests, as JSON, which is YAML. Pure: an object in, entries out, and back.

A test is one decision. Its ``vars`` have the messages, which the one prompt sends as they are; its ``options`` go to
the provider, the tools and the parameters of the request among them; its ``metadata`` have the rest. promptfoo's own
assertions on calls look at names, or at the schema; ``JUDGE`` compares the arguments, too, as JSON.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tarx_toollog.canonical import json_text
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.files.cases import Case, cases_of, entries_of, losses_of
from tarx_toollog.replay.files.lines import HINT, Entry, Placed, is_objects
from tarx_toollog.replay.files.ours import steps_of

PROMPT = "{{ messages | dump }}"
"""Sends the chat of a test as it is. Were it text, promptfoo would fill in what looks like a template in it."""

PROVIDER = {
    "id": "openai:chat:local",
    "config": {"apiBaseUrl": "http://127.0.0.1:11435/v1", "apiKey": "none"},
}
"""Who is asked: the local server, which takes any name of a model. ``promptfoo eval -r`` names another one."""

JUDGE = """\
const right = [context.test.metadata.expected, ...(context.test.metadata.alternatives || [])];
const told = output && output.tool_calls ? output.tool_calls : output;
const calls = Array.isArray(told) ? told.map((call) => call.function) : [];
const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.keys(value).sort().map((key) => [key, sorted(value[key])]);
};
const key = (name, args) => JSON.stringify([name, sorted(args)]);
const made = calls.map((call) => key(call.name, JSON.parse(call.arguments || '{}'))).sort().join();
return right.some((answer) => answer.calls
  ? made === answer.calls.map((call) => key(call.name, call.arguments)).sort().join()
  : calls.length === 0 && typeof told === 'string' && told.trim() !== '');
"""
"""Whether an answer is right: the same calls in any order, with the same arguments, or a text where one is right."""

_JUDGED = frozenset({"alternatives", "params"})
_TEMPLATE = re.compile(r"\{[{%#]")
_OF_ENVIRONMENT = re.compile(r"\{\{\s*env\b")
_NOT_SENT = frozenset({"model", "temperature", "stream", "stream_options"})  # the provider chooses them, as a run does


def recognises(row: Mapping[str, Any]) -> bool:
    """Say whether an object looks like such a configuration, or like a test of one."""
    return "tests" in row or "vars" in row


def read(rows: Iterable[Placed]) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of a configuration, or of the tests of one.

    Raises:
        ConfigError: A test has no messages, or its metadata do not say what is right.
    """
    return entries_of((where, _case(test, where)) for where, test in _tests(rows))


def written(entries: list[Entry]) -> tuple[dict[str, Any], Counter[str]]:
    """Return the configuration of entries, and how many entries say what it does not act upon, by what it is."""
    tests = [_test(case) for entry in entries for case in cases_of(entry)]
    judge = {"assert": [{"type": "javascript", "value": JUDGE}]}
    lost = losses_of(entries, _JUDGED)
    lost["templates"] = sum(map(_has_template, entries))
    return {"prompts": [PROMPT], "providers": [PROVIDER], "defaultTest": judge, "tests": tests}, lost


def _test(case: Case) -> dict[str, Any]:
    params = {key: value for key, value in case.metadata.get("params", {}).items() if key not in _NOT_SENT}
    options: dict[str, Any] = {"disableVarExpansion": True}  # else a list of messages becomes as many tests
    if case.tools:
        options["tools"] = list(case.tools)
    if params:
        options["passthrough"] = params
    return {
        "description": case.id,
        "vars": {"messages": list(case.messages)},
        "options": options,
        "metadata": dict(case.metadata),
    }


def _has_template(entry: Entry) -> bool:
    """Say whether promptfoo fills something in: any template in tools, and in messages those of the environment."""
    return any(
        _TEMPLATE.search(json_text(step["tools"])) or _OF_ENVIRONMENT.search(json_text(step["messages"]))
        for step in steps_of(entry)
    )


def _tests(rows: Iterable[Placed]) -> Iterator[Placed]:
    for where, row in rows:
        if "tests" not in row:
            yield where, row
            continue
        if not is_objects(row["tests"]):
            raise ConfigError(
                f"{where}: `tests` must be a list of tests", hint="put them into the file itself, as JSON"
            )
        for number, test in enumerate(row["tests"], 1):
            yield f"{where}, test {number}", test


def _case(test: Mapping[str, Any], where: str) -> Case:
    told, metadata, options = (test.get(key, {}) for key in ("vars", "metadata", "options"))
    if not all(isinstance(one, Mapping) for one in (told, metadata, options)) or "expected" not in metadata:
        raise ConfigError(f"{where}: `metadata` must have `expected`, beside `vars` and `options`", hint=HINT)
    messages, tools = told.get("messages"), options.get("tools", [])
    if not is_objects(messages) or not is_objects(tools):
        raise ConfigError(f"{where}: `vars.messages` and `options.tools` must be lists of objects", hint=HINT)
    return Case(str(test.get("description", where)), tuple(messages), tuple(tools), metadata)
