"""What a person reads of a tool's definition: its parameters, and what changed from one version to the next. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.canonical import Json

_TOLD = ("type", "description")  # have a column of their own


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter at the top level."""

    name: str
    type: str
    is_required: bool
    description: str
    rest: Mapping[str, Json]
    """What else the schema says of it: values that it may have, bounds, what is inside."""


@dataclass(frozen=True, slots=True)
class Change:
    """One place of a definition that is not what it was."""

    path: str
    """JSON pointer within the function."""
    was_there: bool
    is_there: bool
    before: Json
    after: Json


def parameters(schema: Json) -> list[Parameter]:
    """Return the parameters of a JSON Schema, in its order; none where it is no schema of an object.

    Example:
        >>> [one.name for one in parameters({"properties": {"a": {"type": "string"}}})]
        ['a']
    """
    described = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(schema, dict) or not isinstance(described, dict):
        return []
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return [
        _parameter(name, value if isinstance(value, dict) else {}, name in names) for name, value in described.items()
    ]


def changes(before: Json, after: Json) -> list[Change]:
    """Return where two versions of a definition differ, from the top to the bottom.

    Example:
        >>> [change.path for change in changes({"a": {"b": 1}}, {"a": {"b": 2}, "c": 3})]
        ['/a/b', '/c']
    """
    return list(_changes(_function(before), _function(after), ""))


def _parameter(name: str, schema: Mapping[str, Json], is_required: bool) -> Parameter:
    kind = schema.get("type")
    words = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "any")
    description = schema.get("description")
    return Parameter(
        name=name,
        type=words,
        is_required=is_required,
        description=description if isinstance(description, str) else "",
        rest={key: value for key, value in schema.items() if key not in _TOLD},
    )


def _function(raw: Json) -> Json:
    """Return the part of an entry of a tool list that says something; the rest is the same in all of them."""
    inner: Any = raw.get("function") if isinstance(raw, dict) else None
    return inner if isinstance(inner, dict) else raw


def _changes(before: Json, after: Json, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys: Sequence[str] = list({**before, **after})
        for key in keys:
            where = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in before and key in after:
                yield from _changes(before[key], after[key], where)
            else:
                yield Change(where, key in before, key in after, before.get(key), after.get(key))
    elif type(before) is not type(after) or before != after:
        yield Change(path, True, True, before, after)
