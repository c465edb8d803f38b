"""JSON files of scenarios as objects, each with the place where it stands; and back. Knows no shape."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tarx_toollog.canonical import json_text, parse_json
from tarx_toollog.errors import ConfigError, ToolLogError

Entry = dict[str, Any]
"""A scenario as an object of our own shape, see ``ours``."""
Placed = tuple[str, dict[str, Any]]
"""Where an object stands (file and line), and the object."""

HINT = "docs/replay-reference.md shows what a file may say"


def read_objects(path: Path) -> list[Placed]:
    """Return the objects of a file: one a line, or a list of them, or a single one.

    Raises:
        ConfigError: It cannot be read, or holds something else; the message names the line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="a file of JSON, or of JSON lines, in UTF-8") from None
    whole = _whole(text)
    if isinstance(whole, list):
        return [(where, _object(value, where)) for where, value in _numbered(path, "item", whole)]
    if isinstance(whole, dict):
        return [(f"{path}, line {_first_line(text)}", whole)]
    lines = ((f"{path}, line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    return [(where, _object(_parsed(line, where), where)) for where, line in lines]


def write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects as JSON lines, to a file that only its owner may read: what the log holds is private.

    Raises:
        ToolLogError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.writelines(f"{json_text(dict(one))}\n" for one in objects)
    except OSError as error:
        raise ToolLogError(f"cannot write {path}: {error.strerror}", hint="choose another place") from error


def is_objects(value: Any) -> bool:
    """Say whether a value is a list of objects."""
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _whole(text: str) -> Any:
    """Return what the whole text is as JSON; None when it is none, as a file of several lines."""
    try:
        return parse_json(text)
    except ValueError:
        return None


def _parsed(line: str, where: str) -> Any:
    try:
        return parse_json(line)
    except ValueError as error:
        raise ConfigError(f"{where} is no JSON: {error}", hint=HINT) from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is no JSON object", hint=HINT)
    return value


def _numbered(path: Path, kind: str, values: list[Any]) -> Iterator[tuple[str, Any]]:
    for number, value in enumerate(values, 1):
        yield f"{path}, {kind} {number}", value


def _first_line(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n") + 1
