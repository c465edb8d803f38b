"""What is wrong with the tools that a row offers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tarx_toollog.canonical import InvalidJsonError, json_text, parse_json
from tarx_toollog.export.template.findings import Finding, short
from tarx_toollog.export.template.shapes import ABSENT

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Tools(NamedTuple):
    """The tools of a row, read."""

    listed: list[Any] | None
    """The list, also when it stood there as a string; None when there is none."""
    by_name: dict[str, Mapping[str, Any]]
    """Name → the inner object of the definition."""
    text: str
    """JSON of the list; empty when there is none."""
    findings: tuple[Finding, ...]


def read_tools(tools: Any, *, text_is_meant: bool = False, bare_is_meant: bool = False) -> Tools:
    """Read what a row has under ``tools``, and say what is wrong with it.

    Args:
        tools: The value, or ``ABSENT``.
        text_is_meant: Whether the readers of this kind of rows take tools as a JSON string.
        bare_is_meant: Whether they take a definition without ``{"type": "function", "function": …}`` around it.
    """
    findings: list[Finding] = []
    if isinstance(tools, str):
        if not text_is_meant:
            findings.append(Finding("tools_string", "tools"))
        tools = _parsed(tools)
    if tools is ABSENT:
        return Tools(None, {}, "", tuple(findings))
    if tools is None:
        return Tools(None, {}, "", (*findings, Finding("null_key", "tools")))
    if not isinstance(tools, list):
        return Tools(None, {}, "", (*findings, Finding("tools_invalid", "tools", short(tools))))
    if not tools:
        findings.append(Finding("tools_empty", "tools"))
    by_name = {}
    for number, tool in enumerate(tools):
        function = _function(tool, bare_is_meant=bare_is_meant)
        if function is None:
            findings.append(Finding("tool_invalid", f"tools[{number}]", short(tool)))
            continue
        by_name[function["name"]] = function
        findings += _function_rules(function, f"tools[{number}].function")
    return Tools(tools, by_name, json_text(tools) if tools else "", tuple(findings))


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except InvalidJsonError:
        return text


def _function(tool: Any, *, bare_is_meant: bool) -> Mapping[str, Any] | None:
    """Return the inner object of a definition; LLaMA-Factory's rows may have it bare."""
    if not isinstance(tool, Mapping):
        return None
    function = tool.get("function", tool if bare_is_meant else None)
    if not isinstance(function, Mapping) or not (bare_is_meant or tool.get("type") == "function"):
        return None
    return function if isinstance(function.get("name"), str) and function["name"] else None


def _function_rules(function: Mapping[str, Any], place: str) -> Iterator[Finding]:
    if not _NAME.fullmatch(function["name"]):
        yield Finding("tool_name_form", f"{place}.name", short(function["name"]))
    parameters = function.get("parameters")
    if parameters in (None, {}):
        return  # a tool without arguments
    properties = parameters.get("properties", {}) if isinstance(parameters, Mapping) else None
    if not isinstance(properties, Mapping) or parameters.get("type") != "object":
        yield Finding("parameters_invalid", f"{place}.parameters", short(parameters))
        return
    for path, schema in _schemas(parameters, f"{place}.parameters"):
        if schema is None:
            yield Finding("tool_null_filled", path)
            continue
        enum = schema.get("enum")
        if isinstance(enum, list) and not all(isinstance(choice, str) for choice in enum):
            yield Finding("enum_not_text", f"{path}.enum", short(enum))
        if isinstance(enum, list) and not isinstance(schema.get("default", ""), str):
            yield Finding("enum_default_not_text", f"{path}.default", short(schema["default"]))


def _schemas(schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield a schema and those inside of it, with their places; None where there is a null in the place of one."""
    waiting: list[tuple[str, Any]] = [(place, schema)]
    while waiting:
        path, each = waiting.pop()
        if each is None:
            yield path, None
        elif isinstance(each, Mapping):
            yield path, each
            properties = each.get("properties")
            if isinstance(properties, Mapping):
                waiting += [(f"{path}.properties.{short(name)}", inner) for name, inner in properties.items()]
            if "items" in each:
                waiting.append((f"{path}.items", each["items"]))
