"""Verdicts on calls at capture: do the arguments parse, and do they fit the schema as offered.

Pure: the input is decoded data, the output a small record that becomes columns. What a result says is judged in
``store.results``.

*Theory.* The schema is a stranger's, and it is checked in the thread that fills the database. So the check has a limit
to its work: a pattern runs only where that cannot take long (``store.patterns``), and the keywords that are looked at
are counted, because references to references double with each level. A long list in a keyword and a long message of an
error count for more, and no more errors are made than are kept. What was left out makes a verdict ``unchecked`` unless
something else is wrong: nothing is called ``ok`` that was not looked at. And whatever the check itself runs into, a
verdict never costs the row.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jsonschema
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from tarx_toollog.canonical import InvalidJsonError, canonical_json, parse_arguments, parse_json
from tarx_toollog.model import Request, Response, ToolCall, ToolDefinition
from tarx_toollog.store.patterns import max_length
from tarx_toollog.wire.repair import repair_arguments

REPAIRED = "repaired:"
"""Begins the quirks that ``judge_call`` adds: what was overlooked to read the arguments."""
MAX_SCHEMA_ERRORS = 8  # enough to see the pattern; one huge argument must not fill the row
MAX_KEYWORDS = 20_000  # keyword checks of one call: real ones need dozens; this many take about 0.3 s
_ENTRIES = 50  # entries of a keyword's list that take as long as one check
_CHARACTERS = 1000  # so do that many characters of an error's message, which repeats the value
_COMPILING = 10  # checks that it takes to read a pattern, which is forgotten where there are many
_SEARCH = 600  # checks that a search takes whose text is as long as its pattern allows
_MAX_UNIQUE = 10_000_000  # items times bytes: each may be compared with each
# Where one of these stands, a pattern that is taken to fit may turn a value that is right into a failure.
_CONDITIONS = (b'"if"', b'"not"', b'"oneOf"', b'"contains"')


class CallVerdict(NamedTuple):
    """What is wrong with a call, as columns of ``tool_call``."""

    arguments_json: dict[str, Any] | None
    argument_state: str
    schema_state: str
    schema_errors: list[str] | None
    offered: bool
    quirks: list[str]
    """Those of the call, and ``repaired:<code>`` for each thing that was overlooked in its arguments."""


CallPlace = tuple[int, int]
"""Choice and ordinal of a call within its exchange."""


class Complexity(NamedTuple):
    """How hard a tool is to call, as columns of ``tool_definition``."""

    n_parameters: int
    n_required: int
    max_depth: int
    n_enums: int


def judge_call(call: ToolCall, offered: Mapping[str, ToolDefinition]) -> CallVerdict:
    """Judge one call against the tools offered in its own request."""
    quirks = list(call.quirks)
    if call.origin == "custom":  # its input is free text: there is nothing to parse and no schema to break
        return CallVerdict(
            None, "ok" if call.complete else "incomplete", "unchecked", None, call.name in offered, quirks
        )
    value, state = parse_arguments(call.arguments, complete=call.complete)
    result_state: str = state
    if state == "invalid" and (repaired := repair_arguments(call.arguments)) is not None:
        value, codes = repaired
        result_state = "repaired"
        quirks += [f"{REPAIRED}{code}" for code in codes]
    definition = offered.get(call.name)
    schema_state, errors = "unchecked", None
    if value is not None and definition is not None and definition.parameters is not None:
        schema_state, errors = check_schema(value, definition.parameters)
    # A tool of the server's own is offered by the name of its service, if at all.
    is_offered = definition is not None or call.origin == "server_side"
    return CallVerdict(value, result_state, schema_state, errors, is_offered, quirks)


def judge_calls(request: Request | None, response: Response | None) -> dict[CallPlace, CallVerdict]:
    """Judge all calls of an exchange, leaked ones too, against the tools of its own request; by choice and ordinal."""
    offered: dict[str, ToolDefinition] = {}
    for tool in request.tools if request else ():
        offered.setdefault(tool.name, tool)
    answers = response.choices if response else ()
    calls = (call for answer in answers for call in (*answer.message.tool_calls, *answer.leaked_calls))
    return {(call.choice, call.ordinal): judge_call(call, offered) for call in calls}


def check_schema(value: dict[str, Any], schema: Mapping[str, Any]) -> tuple[str, list[str] | None]:
    """Return ``ok``; ``fail`` with the reasons; or ``unchecked``, with the reasons when only parts were left out.

    ``unchecked`` without a reason says that the schema itself is no JSON Schema.
    """
    try:
        text = canonical_json(schema)
        _work.begin(text)
        found = islice(_validator(text).iter_errors(value), MAX_SCHEMA_ERRORS)
        errors = sorted(found, key=lambda error: list(map(str, error.absolute_path)))
    except _TooMuchError:
        return "unchecked", [f"(root): the check was given up after {MAX_KEYWORDS} keywords"]
    except (SchemaError, Unresolvable, RecursionError, re.error, InvalidJsonError, TypeError, ValueError):
        return "unchecked", None
    except Exception as error:  # noqa: BLE001 - it computes with what strangers wrote; a verdict must not cost the row
        return "unchecked", [f"(root): the check broke off: {type(error).__name__}"]
    is_doubtful = bool(_work.skipped) and any(key in text for key in _CONDITIONS)
    if errors and not is_doubtful:
        return "fail", [_describe(error) for error in errors]
    return ("unchecked", _work.skipped[:MAX_SCHEMA_ERRORS]) if _work.skipped else ("ok", None)


def complexity(parameters: Mapping[str, Any] | None) -> Complexity:
    """Measure the schema of a tool's arguments."""
    properties = _mapping(_mapping(parameters).get("properties"))
    required = _mapping(parameters).get("required")
    n_enums = sum(1 for value in properties.values() if "enum" in _mapping(value))
    return Complexity(
        len(properties), len(required) if isinstance(required, list) else 0, _depth(parameters, 0), n_enums
    )


def _describe(error: jsonschema.ValidationError) -> str:
    path = "/".join(str(part) for part in error.absolute_path)
    return f"{'/' + path if path else '(root)'}: {error.message[:200]}"


# ---- a check with a limit --------------------------------------------------------------------------------------------


class _TooMuchError(Exception):
    """A check has used up its work."""


class _Work(threading.local):
    """What the check that runs in this thread has done, and left out."""

    done = 0
    has_pattern_properties = False

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def begin(self, schema: bytes) -> None:
        self.done = 0
        self.skipped = []
        self.has_pattern_properties = b'"patternProperties"' in schema

    def spend(self, keywords: int) -> None:
        self.done += keywords
        if self.done > MAX_KEYWORDS:
            raise _TooMuchError

    def search(self, pattern: str, length: int) -> bool:
        """Say whether a text of this length may be searched, and count it."""
        longest = max_length(pattern)
        if length > longest:
            self.skip(f"pattern {pattern[:60]!r}: not checked, it could take too long")
            return False
        self.spend(int(_SEARCH * (length / longest) ** 2) if longest else 0)
        return True

    def skip(self, reason: str) -> None:
        if reason not in self.skipped:
            self.skipped.append(reason)


_work = _Work()


def _counted(check: Any) -> Any:
    def keyword(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _work.spend(1 + (len(expected) // _ENTRIES if isinstance(expected, list | dict) else 0))
        for error in check(validator, expected, instance, schema) or ():
            _work.spend(1 + len(error.message) // _CHARACTERS)
            yield error

    return keyword


def _choice(name: str) -> Any:
    def check(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
        # Errors of the branches are kept. One of the branch ``false`` would pass no keyword, and not be counted.
        branches = [{"not": {}} if branch is False else branch for branch in expected]
        yield from _CHECKS[name](validator, branches, instance, schema) or ()

    return check


def _pattern(validator: Any, expected: str, instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and _work.search(expected, len(instance)):
        yield from _CHECKS["pattern"](validator, expected, instance, schema) or ()


def _pattern_properties(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    yield from _CHECKS["patternProperties"](validator, _runnable(expected, instance), instance, schema) or ()


def _additional_properties(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    # It looks for keys that no pattern of the same schema fits, and runs the patterns itself.
    patterns = _mapping(schema).get("patternProperties", {})
    runnable = _runnable(patterns, instance)
    if len(runnable) == len(patterns):
        yield from _CHECKS["additionalProperties"](validator, expected, instance, schema) or ()


def _runnable(patterns: Any, instance: Any) -> dict[str, Any]:
    lengths = [len(key) for key in _mapping(instance)]
    runnable = {}
    for pattern, value in _mapping(patterns).items():
        _work.spend(_COMPILING + len(lengths) // _ENTRIES)
        if _work.search(pattern, max(lengths, default=0)):
            runnable[pattern] = value
    return runnable


def _unevaluated_properties(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if _work.has_pattern_properties:  # it looks for them behind every reference, and runs the patterns itself
        _work.skip("unevaluatedProperties: not checked beside patternProperties")
        return
    yield from _CHECKS["unevaluatedProperties"](validator, expected, instance, schema) or ()


def _unique_items(validator: Any, expected: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, list) and len(instance) * len(canonical_json(instance)) > _MAX_UNIQUE:
        _work.skip(f"uniqueItems: not checked for {len(instance)} items")
        return
    yield from _CHECKS["uniqueItems"](validator, expected, instance, schema) or ()


_CHECKS: dict[str, Any] = dict(jsonschema.Draft202012Validator.VALIDATORS)
_OWN = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
    "uniqueItems": _unique_items,
    "anyOf": _choice("anyOf"),
    "oneOf": _choice("oneOf"),
}
_extend: Any = jsonschema.validators.extend
_LimitedValidator: Any = _extend(
    jsonschema.Draft202012Validator, {name: _counted(_OWN.get(name, check)) for name, check in _CHECKS.items()}
)


@lru_cache(maxsize=512)
def _validator(schema_json: bytes) -> Any:
    schema = parse_json(schema_json)
    jsonschema.Draft202012Validator.check_schema(schema)
    # An empty registry: a $ref to the network is an error here, never a download.
    return _LimitedValidator(schema, registry=Registry())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _depth(schema: Any, depth: int) -> int:
    if depth > 32:  # a schema deeper than this is broken or hostile, and as complex as it gets
        return depth
    children = list(_mapping(_mapping(schema).get("properties")).values())
    children.append(_mapping(schema).get("items"))
    return max((_depth(child, depth + 1) for child in children if isinstance(child, Mapping)), default=depth)
