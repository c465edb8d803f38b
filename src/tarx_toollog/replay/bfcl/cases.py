"""BFCL's rows as cases: the messages and tools to send, and the calls that are right.

A row is one line of ``BFCL_v4_<category>.json``; the calls that are right stand in the file of the same name below
``possible_answer``. Two things in a row cannot be sent as they are. Tool names may have dots, which servers refuse. And
the types are Python's (``dict``, ``float``, ``tuple``, ``any``), which are not those of JSON Schema.

Not read are the categories of Java and JavaScript, whose values are source code of these languages, and those of more
than one turn, which have no calls to compare but a state to reach.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from tarx_toollog.canonical import Json
from tarx_toollog.errors import ConfigError

_Kind = TypeVar("_Kind", str, list[Any], dict[str, Any])


class Expects(StrEnum):
    """What the right answer to a case is."""

    CALLS = "calls"
    NO_CALL = "no_call"
    ANY_CALL = "any_call"


CATEGORIES: Mapping[str, Expects] = {
    "simple_python": Expects.CALLS,
    "multiple": Expects.CALLS,
    "parallel": Expects.CALLS,
    "parallel_multiple": Expects.CALLS,
    "live_simple": Expects.CALLS,
    "live_multiple": Expects.CALLS,
    "live_parallel": Expects.CALLS,
    "live_parallel_multiple": Expects.CALLS,
    "irrelevance": Expects.NO_CALL,
    "live_irrelevance": Expects.NO_CALL,
    "live_relevance": Expects.ANY_CALL,
}
"""The categories that can be read."""

OMITTED = ""
"""Among the accepted values of a parameter: it may be left out."""

_TYPES = {
    "string": "string",
    "integer": "integer",
    "float": "number",
    "boolean": "boolean",
    "array": "array",
    "tuple": "array",
    "dict": "object",
    "any": None,  # JSON Schema says that by saying nothing
}
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64  # what OpenAI's interface allows
_HINT = "give a line of BFCL_v4_<category>.json, and the line of possible_answer with the same id"


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """A call that has to be made, with the values that are right for each parameter."""

    name: str
    arguments: Mapping[str, tuple[Json, ...]]
    """Accepted values by parameter. Within an object, each key has a list of accepted values in turn."""


@dataclass(frozen=True, slots=True)
class BfclCase:
    """One question, as a server is asked, and what the right answer to it is."""

    id: str
    category: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    """In the shape of OpenAI's interface."""
    expects: Expects
    accepted: tuple[AcceptedCall, ...] = ()
    """The calls to make, in any order."""

    @property
    def schemas(self) -> dict[str, Mapping[str, Any]]:
        """The JSON Schema of the arguments by tool name."""
        return {tool["function"]["name"]: tool["function"]["parameters"] for tool in self.tools}


def read_case(category: str, row: Mapping[str, Any], answer: Mapping[str, Any] | None = None) -> BfclCase:
    """Return the case of a row.

    Args:
        category: One of ``CATEGORIES``.
        row: A line of the category's file.
        answer: The line with the same id below ``possible_answer``; None in a category without calls to compare.

    Raises:
        ConfigError: The category is none of ours, or a line is none of BFCL's.
    """
    expects = CATEGORIES.get(category)
    if expects is None:
        raise ConfigError(f"{category!r} is not a category that can be read", hint=f"one of {', '.join(CATEGORIES)}")
    identity = _entry(row, "id", str, f"a row of {category}")
    where = f"{category}: {identity}"
    turns = _entry(row, "question", list, where)
    if len(turns) != 1 or not isinstance(turns[0], list) or not all(isinstance(said, dict) for said in turns[0]):
        raise _not_bfcl(where, "'question' is not one turn of messages")
    tools = tuple(_tool(definition, where) for definition in _entry(row, "function", list, where))
    case = BfclCase(identity, category, tuple(turns[0]), tools, expects)
    schemas = case.schemas
    if len(schemas) < len(tools):
        raise _not_bfcl(where, "two tools have the same name")
    if expects is not Expects.CALLS:
        return case
    if answer is None or answer.get("id") != identity:
        raise _not_bfcl(where, "the accepted answers are missing, or of another row")
    return replace(case, accepted=_accepted(answer, schemas, where))


def tool_name(name: str) -> str:
    """Return a tool's name as servers take it.

    Example:
        >>> tool_name("math.factorial")
        'math_factorial'
    """
    return _NOT_IN_A_NAME.sub("_", name)[:_LONGEST_NAME]


def _tool(definition: Json, where: str) -> dict[str, Any]:
    parameters = _entry(definition, "parameters", dict, where)
    function = {
        "name": tool_name(_entry(definition, "name", str, where)),
        "description": _entry(definition, "description", str, where),
        "parameters": _schema(parameters, where),
    }
    return {"type": "function", "function": function}


def _schema(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind = _entry(schema, "type", str, where)
    if kind not in _TYPES:
        raise _not_bfcl(where, f"{kind!r} is not a type of its Python cases")
    mapped = _TYPES[kind]
    converted = {key: value for key, value in schema.items() if key != "type"}
    if "properties" in schema:
        properties = _entry(schema, "properties", dict, where)
        converted["properties"] = {name: _schema(inner, where) for name, inner in properties.items()}
    if "required" in schema:
        _entry(schema, "required", list, where)
    if "items" in schema:
        converted["items"] = _schema(_entry(schema, "items", dict, where), where)
    return {"type": mapped, **converted} if mapped else converted


def _accepted(
    answer: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], where: str
) -> tuple[AcceptedCall, ...]:
    calls = []
    for entry in _entry(answer, "ground_truth", list, where):
        if not isinstance(entry, dict) or len(entry) != 1:
            raise _not_bfcl(where, "an accepted call is not an object with one tool")
        name = next(iter(entry))
        schema = schemas.get(tool_name(name))
        if schema is None:
            raise _not_bfcl(where, f"the accepted call names {name!r}, which is not offered")
        values = _entry(entry, name, dict, where)
        arguments = {parameter: tuple(_entry(values, parameter, list, where)) for parameter in values}
        for parameter, accepted in arguments.items():
            _check_objects(accepted, schema.get("properties", {}).get(parameter, {}), where)
        calls.append(AcceptedCall(tool_name(name), arguments))
    if not calls:
        raise _not_bfcl(where, "no call is accepted")
    return tuple(calls)


def _check_objects(accepted: Sequence[Json], schema: Mapping[str, Any], where: str) -> None:
    """See that accepted objects list the accepted values of each key."""
    if schema.get("type") == "array":
        for items in accepted:
            _check_objects(items if isinstance(items, list) else (), schema.get("items", {}), where)
    elif schema.get("type") == "object":
        for value in accepted:
            for key in value if isinstance(value, dict) else ():
                _entry(value, key, list, where)


def _entry(holder: Json, key: str, kind: type[_Kind], where: str) -> _Kind:
    value = holder.get(key) if isinstance(holder, Mapping) else None
    if not isinstance(value, kind):
        raise _not_bfcl(where, f"{key!r} is missing or not a {kind.__name__}")
    return value


def _not_bfcl(where: str, what: str) -> ConfigError:
    return ConfigError(f"{where}: {what}", hint=_HINT)
