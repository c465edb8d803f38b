"""Runs in the environment of ``bfcl-eval``: plays its multi-turn sessions on its own classes, as logged and changed.

    python oracle.py > played.json

Every played trajectory has its own instances, made here: the package's runner keeps them in module globals, where a
later run finds the state of an earlier one. Nothing of it but the classes, their descriptions and the data is used.
"""

import ast
import copy
import datetime
import importlib
import inspect
import json
import random
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

KINDS = ("none", "drop", "swap", "extra read", "wrong read", "wrong write", "other words", "other number")
CATEGORY = "BFCL_v4_multi_turn_base.json"
JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
Call = tuple[str, dict[str, Any]]


class Bench:
    """The classes, the descriptions of their functions, and the sessions."""

    def __init__(self) -> None:
        package = importlib.import_module("bfcl_eval")
        config: Any = importlib.import_module("bfcl_eval.constants.executable_backend_config")
        data = Path(next(iter(package.__path__))) / "data"
        self.paths, self.stateless = config.CLASS_FILE_PATH_MAPPING, config.STATELESS_CLASSES
        self.truths = read_lines(data / "possible_answer" / CATEGORY)
        self.entries = read_lines(data / CATEGORY)
        self.schemas = {
            name: {
                function["name"]: as_json_schema(function["parameters"])
                for function in read_lines(data / "multi_turn_func_doc" / file)
            }
            for name, file in config.MULTI_TURN_FUNC_DOC_FILE_MAPPING.items()
        }

    def calls(self, number: int) -> list[Call]:
        """Return the calls of a session in order; arguments given by place get their names."""
        methods = World(self, self.entries[number]).methods
        parsed = []
        for text in (text for turn in self.truths[number]["ground_truth"] for text in turn):
            node: Any = ast.parse(text, mode="eval").body
            names = list(inspect.signature(methods[node.func.id]).parameters)
            given = dict(zip(names, node.args, strict=False)) | {each.arg: each.value for each in node.keywords}
            parsed.append((node.func.id, {name: plain(ast.literal_eval(value)) for name, value in given.items()}))
        return parsed


class World:
    """Fresh instances of the classes of one session."""

    def __init__(self, bench: Bench, entry: dict[str, Any]) -> None:
        self.instances = []
        for name in entry["involved_classes"]:
            instance = getattr(importlib.import_module(bench.paths[name]), name)()
            if name not in bench.stateless:
                instance._load_scenario(copy.deepcopy(entry["initial_config"].get(name, {})), long_context=False)
            self.instances.append(instance)
        self.methods = {
            name: method
            for instance in self.instances
            for name, method in inspect.getmembers(instance, predicate=inspect.ismethod)
            if not name.startswith("_")
        }

    def call(self, call: Call) -> tuple[str, bool]:
        """Make a call; return its result as text, and whether it is an error."""
        try:
            result = self.methods[call[0]](**copy.deepcopy(call[1]))
        except Exception as error:
            return f"Error during execution: {error}", True
        if isinstance(result, dict):
            return json.dumps(result, default=str), "error" in result
        return str(result), False

    def state(self) -> list[Any]:
        """Return all that the instances hold, the state of their dice too."""
        return [frozen(instance, ()) for instance in self.instances]


def frozen(value: Any, above: tuple[int, ...]) -> Any:
    """Return a value as something comparable. When a file was changed no tool can see, so moments are left out."""
    if id(value) in above:
        return "above"
    inside = (*above, id(value))
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, dict):
        return [(repr(key), frozen(inner, inside)) for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return [frozen(inner, inside) for inner in value]
    if isinstance(value, datetime.datetime):
        return "a moment"
    return frozen(vars(value), inside) if hasattr(value, "__dict__") else repr(value)


def changed(
    calls: list[Call], kind: str, alike: dict[str, list[Any]], reads: set[str]
) -> Iterator[tuple[int, list[Call]]]:
    """Yield every change of one kind: the place from which on the trajectory differs, and the trajectory."""
    dice = random.Random(f"{kind} {calls}")
    if kind == "none":
        yield 0, calls
    elif kind == "drop":
        yield from ((place, calls[:place] + calls[place + 1 :]) for place in range(len(calls)))
    elif kind == "swap":
        for one, other in combinations(range(len(calls)), 2):
            swapped = list(calls)
            swapped[one], swapped[other] = calls[other], calls[one]
            if swapped != calls:
                yield one, swapped
    elif kind == "extra read":
        known = [call for call in calls if call[0] in reads]
        for place in range(len(calls) + 1 if known else 0):
            yield place, [*calls[:place], dice.choice(known), *calls[place:]]
    else:
        for place, (name, arguments) in enumerate(calls):
            if kind in ("other words", "other number") or (name in reads) == (kind == "wrong read"):
                for given in other_arguments(name, arguments, kind, alike, dice):
                    yield place, [*calls[:place], (name, given), *calls[place + 1 :]]


def other_arguments(
    name: str, arguments: dict[str, Any], kind: str, alike: dict[str, list[Any]], dice: random.Random
) -> Iterator[dict[str, Any]]:
    """Yield the arguments with one of them changed: wrong, or only said or written in another way."""
    for key, value in arguments.items():
        if kind == "other words":
            others: list[Any] = [value.upper(), f"{value}."] if isinstance(value, str) else []
        elif kind == "other number":
            others = [type_of(value) for type_of in (int, float) if is_number(value) and type_of(value) == value]
        else:
            values = [other for other in alike[f"{name} {key}"] if other != value and type(other) is type(value)]
            others = [*([dice.choice(values)] if values else []), wrong(value)]
        yield from ({**arguments, key: other} for other in others if repr(other) != repr(value))


def is_number(value: Any) -> bool:
    """Say whether a value is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def wrong(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if is_number(value):
        return value + 1
    if isinstance(value, str):
        return f"{value}s"
    return value[:-1] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Return a literal as JSON gives it back: the text of a call knows tuples, a logged call does not."""
    return json.loads(json.dumps(value))


def as_json_schema(value: Any) -> Any:
    """Return a description with the type names of JSON Schema."""
    if isinstance(value, list):
        return [as_json_schema(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    schema = {key: as_json_schema(inner) for key, inner in value.items()}
    if isinstance(schema.get("type"), str):
        schema["type"] = JSON_TYPES.get(schema["type"], schema["type"])
        if schema["type"] == "any":
            del schema["type"]
    return schema


def read_lines(path: Path) -> list[Any]:
    """Return the values of a file with one JSON value a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def play(bench: Bench, entry: dict[str, Any], calls: list[Call]) -> list[Any]:
    """Make the calls in a fresh world; return each with its result."""
    world = World(bench, entry)
    return [[*call, *world.call(call)] for call in calls]


def writers(bench: Bench, sessions: list[list[Call]]) -> set[str]:
    """Return the tools that were seen to change something."""
    seen = set()
    for entry, calls in zip(bench.entries, sessions, strict=True):
        world = World(bench, entry)
        before = world.state()
        for call in calls:
            world.call(call)
            after = world.state()
            if after != before:
                seen.add(call[0])
            before = after
    return seen


def main() -> None:
    bench = Bench()
    sessions = [bench.calls(number) for number in range(len(bench.entries))]
    tools = {name for calls in sessions for name, _ in calls}
    writes = writers(bench, sessions)
    alike: dict[str, list[Any]] = {}
    for name, arguments in (call for calls in sessions for call in calls):
        for key, value in arguments.items():
            alike.setdefault(f"{name} {key}", []).append(value)
    played = []
    for entry, calls in zip(bench.entries, sessions, strict=True):
        trajectories = [
            {"kind": kind, "start": start, "calls": play(bench, entry, trajectory)}
            for kind in KINDS
            for start, trajectory in changed(calls, kind, alike, tools - writes)
        ]
        schemas = {name: schema for owner in entry["involved_classes"] for name, schema in bench.schemas[owner].items()}
        played.append({"schemas": schemas, "recorded": play(bench, entry, calls), "trajectories": trajectories})
    effects = {tool: "write" if tool in writes else "read" for tool in sorted(tools)}
    json.dump({"effects": effects, "sessions": played}, sys.stdout)


if __name__ == "__main__":
    main()
