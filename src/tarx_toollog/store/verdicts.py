"""Verdicts at capture: do the arguments parse, do they fit the schema as offered, did the result report a failure.

Pure: the input is decoded data, the output a small record that becomes columns.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jsonschema
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from tarx_toollog.canonical import InvalidJsonError, canonical_json, parse_arguments, parse_json
from tarx_toollog.model import ToolCall, ToolDefinition

MAX_SCHEMA_ERRORS = 8  # enough to see the pattern; one huge argument must not fill the row
_ERROR_START = re.compile(r"\s*(?:error\b|exception\b|traceback \(most recent call last\))", re.IGNORECASE)


class CallVerdict(NamedTuple):
    """What is wrong with a call, as columns of ``tool_call``."""

    arguments_json: dict[str, Any] | None
    argument_state: str
    schema_state: str
    schema_errors: list[str] | None
    offered: bool


class Complexity(NamedTuple):
    """How hard a tool is to call, as columns of ``tool_definition``."""

    n_parameters: int
    n_required: int
    max_depth: int
    n_enums: int


class ResultVerdict(NamedTuple):
    """Whether a tool result reports a failure, and what told so."""

    is_error: bool
    how: str | None


def judge_call(call: ToolCall, offered: Mapping[str, ToolDefinition]) -> CallVerdict:
    """Judge one call against the tools offered in its own request."""
    value, state = parse_arguments(call.arguments, complete=call.complete)
    definition = offered.get(call.name)
    schema_state, errors = "unchecked", None
    if value is not None and definition is not None and definition.parameters is not None:
        schema_state, errors = check_schema(value, definition.parameters)
    return CallVerdict(value, state, schema_state, errors, definition is not None)


def check_schema(value: dict[str, Any], schema: Mapping[str, Any]) -> tuple[str, list[str] | None]:
    """Return ``ok``, ``fail`` with the reasons, or ``unchecked`` when the schema itself is no JSON Schema."""
    try:
        validator = _validator(canonical_json(schema))
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    except (SchemaError, Unresolvable, RecursionError, re.error, InvalidJsonError, TypeError, ValueError):
        return "unchecked", None
    if not errors:
        return "ok", None
    return "fail", [_describe(error) for error in errors[:MAX_SCHEMA_ERRORS]]


def complexity(parameters: Mapping[str, Any] | None) -> Complexity:
    """Measure the schema of a tool's arguments."""
    properties = _mapping(_mapping(parameters).get("properties"))
    required = _mapping(parameters).get("required")
    n_enums = sum(1 for value in properties.values() if "enum" in _mapping(value))
    return Complexity(
        len(properties), len(required) if isinstance(required, list) else 0, _depth(parameters, 0), n_enums
    )


def judge_result(text: str, flag: bool | None = None) -> ResultVerdict:
    """Tell whether a tool result reports a failure.

    By the protocol's own flag, where it has one; else by a JSON key that says so, else by how the text begins.
    """
    if flag is not None:
        return ResultVerdict(flag, "flag" if flag else None)
    try:
        value = parse_json(text) if text.lstrip()[:1] in ("{", "[") else None
    except InvalidJsonError:
        value = None
    if isinstance(value, dict):
        return ResultVerdict(True, "json_key") if _says_error(value) else ResultVerdict(False, None)
    if _ERROR_START.match(text):
        return ResultVerdict(True, "pattern")
    return ResultVerdict(False, None)


def _says_error(value: Mapping[str, Any]) -> bool:
    if value.get("error") or value.get("isError") is True or value.get("is_error") is True:
        return True
    if value.get("success") is False or value.get("ok") is False:
        return True
    return str(value.get("status", "")).lower() in ("error", "failed", "failure")


def _describe(error: jsonschema.ValidationError) -> str:
    path = "/".join(str(part) for part in error.absolute_path)
    return f"{'/' + path if path else '(root)'}: {error.message[:200]}"


@lru_cache(maxsize=512)
def _validator(schema_json: bytes) -> jsonschema.Draft202012Validator:
    schema = parse_json(schema_json)
    jsonschema.Draft202012Validator.check_schema(schema)
    # An empty registry: a $ref to the network is an error here, never a download.
    return jsonschema.Draft202012Validator(schema, registry=Registry())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _depth(schema: Any, depth: int) -> int:
    if depth > 32:  # a schema deeper than this is broken or hostile, and as complex as it gets
        return depth
    children = list(_mapping(_mapping(schema).get("properties")).values())
    children.append(_mapping(schema).get("items"))
    return max((_depth(child, depth + 1) for child in children if isinstance(child, Mapping)), default=depth)
