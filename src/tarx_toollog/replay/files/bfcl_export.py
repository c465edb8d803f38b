"""Entries of our own shape as rows of BFCL, with the accepted answers. Pure: entries in, rows out.

What comes out is held against what went in: each row is read again by the reader of rows, and what then differs is
counted as lost. A case of which even the expected calls do not come back is not written.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import Json, canonical_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.bfcl import OMITTED
from tarx_toollog.replay.files.bfcl import pointer, read, wrapped
from tarx_toollog.replay.files.lines import Entry
from tarx_toollog.replay.files.ours import TURN_KEYS, steps_of

_TYPES = {
    "string": "string",
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
    "array": "array",
    "object": "dict",
}
Arguments = Mapping[str, Any]


@dataclass(slots=True)
class BfclRows:
    """Rows by category, and what they do not say."""

    questions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    """Cases that are not written, by reason."""
    lost: Counter[str] = field(default_factory=Counter)
    """Scenarios of which the rows say less than they do, by what it is."""

    def add(self, step: Entry, group: Any) -> set[str]:
        """Add a case, or count why it cannot be; return what its row does not say."""
        category = _category(step)
        name = f"{category}_{len(self.questions.get(category, ()))}"
        try:
            question = _question(name, group, step)
            answer = {"id": name, "ground_truth": _ground_truth(step)}
            ((_, again),) = read([("", question)], [("", answer)])
        except ConfigError:
            self.left_out["not_bfcl"] += 1
            return set()
        was, now = _meaning(step), _meaning(again)
        if was["expected"] != now["expected"]:
            self.left_out["not_bfcl"] += 1
            return set()
        self.questions.setdefault(category, []).append(question)
        if category != "irrelevance":
            self.answers.setdefault(category, []).append(answer)
        return {key for key in was if was[key] != now[key]}


def written(entries: Sequence[Entry]) -> BfclRows:
    """Return the rows of entries; a turn of several steps gives one for each."""
    rows = BfclRows()
    for entry in entries:
        steps = steps_of(entry)
        lost = entry.keys() & TURN_KEYS
        for step in steps:
            lost |= rows.add(step, entry["group"])
        rows.lost.update(lost | ({"steps"} if len(steps) > 1 else set()))
    return rows


def _category(step: Entry) -> str:
    calls = step["expected"].get("calls", ())
    if not calls:
        return "irrelevance"
    if len(calls) == 1:
        return "simple_python" if len(step["tools"]) == 1 else "multiple"
    return "parallel" if len(step["tools"]) == 1 else "parallel_multiple"


def _question(name: str, group: Any, step: Entry) -> dict[str, Any]:
    tools = [_function(tool) for tool in step["tools"]]
    return {"id": name, "question": [step["messages"]], "function": tools, "group": group}


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    told = function if isinstance(function, Mapping) else {}
    parameters = told.get("parameters") or {"type": "object", "properties": {}}
    return {
        "name": told.get("name"),
        "description": told.get("description", ""),
        "parameters": _schema(parameters),
    }


def _schema(schema: Json) -> Json:
    """Return a JSON Schema with BFCL's names of types; the reader refuses what has none."""
    if not isinstance(schema, Mapping):
        return schema
    kind = schema.get("type", "any")
    told = {**schema, "type": _TYPES.get(kind, kind) if isinstance(kind, str) else kind}
    if isinstance(schema.get("properties"), Mapping):
        told["properties"] = {name: _schema(inner) for name, inner in schema["properties"].items()}
    if "items" in schema:
        told["items"] = _schema(schema["items"])
    return told


def _ground_truth(step: Entry) -> list[dict[str, dict[str, list[Json]]]]:
    """Return the accepted values of each expected call."""
    schemas = {
        tool["function"].get("name"): tool["function"].get("parameters")
        for tool in step["tools"]
        if isinstance(tool.get("function"), Mapping)
    }
    rules = step.get("rules", {})
    accepted = []
    for name, made in _factors(step):
        schema = schemas.get(name)
        declared = schema.get("properties") if isinstance(schema, Mapping) else None
        properties = declared if isinstance(declared, Mapping) else {}
        values = made | dict(_by_rules(rules.get(name, {}), made))
        told = {
            key: [one if one is OMITTED else wrapped(one, properties.get(key, {})) for one in of]
            for key, of in values.items()
        }
        accepted.append({name: told})
    return accepted


def _by_rules(rules: Mapping[str, Mapping[str, Any]], made: Arguments) -> Iterator[tuple[str, list[Json]]]:
    """Yield the arguments of which a rule lists the values."""
    for path, rule in rules.items():
        name = path[1:].replace("~1", "/").replace("~0", "~")
        may_omit = bool(rule.get("omit"))
        if rule["rule"] == "oneof" and pointer(name) == path and (name in made or may_omit):
            yield name, [*rule["values"], *([OMITTED] if may_omit else ())]


def _factors(step: Entry) -> list[tuple[str, dict[str, list[Json]]]]:
    """Return each expected call with the values of its arguments in all right answers.

    Only where these answers are all combinations of the values; else only the expected one counts.
    """
    expected = step["expected"].get("calls", [])
    names = [call["name"] for call in expected]
    answers = [one.get("calls", []) for one in [step["expected"], *step.get("alternatives", ())]]
    if all([call["name"] for call in answer] == names for answer in answers):
        found = [_values([answer[place]["arguments"] for answer in answers]) for place in range(len(names))]
        count = 1
        for of in found:
            for values in of.values():
                count *= len(values)
        if count == len({canonical_json(answer) for answer in answers}):
            return list(zip(names, found, strict=True))
    return [(call["name"], {key: [value] for key, value in call["arguments"].items()}) for call in expected]


def _values(made: Sequence[Arguments]) -> dict[str, list[Json]]:
    """Return the different values of each argument; one that some lack may be left out."""
    found: dict[str, dict[bytes, Json]] = {}
    for arguments in made:
        for key, value in arguments.items():
            found.setdefault(key, {})[canonical_json(value)] = value
    return {
        key: [*values.values(), *([OMITTED] if any(key not in arguments for arguments in made) else ())]
        for key, values in found.items()
    }


def _meaning(step: Entry) -> dict[str, Any]:
    """Return what is asked and right in a form in which the same means the same."""
    rules = {
        tool: {path: _rule(rule) for path, rule in of.items()}
        for tool, of in step.get("rules", {}).items()
        if tool in _called(step)
    }
    answers = [_answer(one, rules) for one in [step["expected"], *step.get("alternatives", ())]]
    return {
        "messages": step["messages"],
        "tools": step["tools"],
        "params": step.get("params", {}),
        "expected": answers[0],
        "alternatives": set(answers),
        "rules": {tool: of for tool, of in rules.items() if of},
        "text_check": step.get("text_check", {}),
        "ask": "ask" in step["expected"],
    }


def _called(step: Entry) -> set[str]:
    answers = [step["expected"], *step.get("alternatives", ())]
    return {call["name"] for answer in answers for call in answer.get("calls", ())}


def _rule(rule: Mapping[str, Any]) -> bytes:
    values = sorted(map(canonical_json, rule.get("values", ())))
    return canonical_json({**rule, "values": [value.decode() for value in values]})


def _answer(answer: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the calls of an answer without the arguments that rules decide alone."""
    calls = []
    for call in answer.get("calls", ()):
        decided = {path for path, rule in rules.get(call["name"], {}).items() if b'"oneof"' in rule}
        left = {key: value for key, value in call["arguments"].items() if pointer(key) not in decided}
        calls.append(canonical_json([call["name"], left]).decode())
    return canonical_json(sorted(calls))
