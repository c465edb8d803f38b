"""Changes of whole calls, each with the failure code that it plants."""

import random
from collections.abc import Callable
from typing import Any

from tarx_toollog.replay.bfcl import BfclCase
from tarx_toollog.replay.matching import Call
from tests.bfcl.places import HARMLESS, is_accepted, plain

OnAnswer = Callable[[BfclCase, list[Call], random.Random], list[Call] | None]
"""Returns None where it cannot be made."""

UNASKED = {"string": ("nobody asked for it",), "integer": (987654,), "number": (987.5,), "boolean": (True, False)}


def _other_tool(case: BfclCase) -> str | None:
    used = {call.name for call in case.accepted}
    return next((name for name in case.schemas if name not in used), None)


def _replaced(calls: list[Call], chance: random.Random, name: str | None) -> list[Call] | None:
    if name is None:
        return None
    place = chance.randrange(len(calls))
    return [Call(name, call.arguments) if number == place else call for number, call in enumerate(calls)]


def _call_left_out(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    if len(calls) < 2:
        return None
    del calls[chance.randrange(len(calls))]
    return calls


def _other_tool_added(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    name = _other_tool(case)
    return None if name is None else [*calls, Call(name, {})]


def _changed_arguments(
    calls: list[Call], chance: random.Random, change: Callable[[Call], dict[str, Any] | None]
) -> list[Call] | None:
    """Change the arguments of one call, if there is one that can be changed."""
    for place in chance.sample(range(len(calls)), len(calls)):
        changed = change(calls[place])
        if changed is not None:
            return [*calls[:place], Call(calls[place].name, changed), *calls[place + 1 :]]
    return None


def _unknown_argument(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    return _changed_arguments(calls, chance, lambda call: {**(call.arguments or {}), "made_up_by_model": True})


def _misspelled(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    def change(call: Call) -> dict[str, Any] | None:
        arguments = dict(call.arguments or {})
        known = [name for name in case.schemas[call.name]["required"] if name in arguments]
        if not known:
            return None
        return {(name + "_" if name == known[0] else name): value for name, value in arguments.items()}

    return _changed_arguments(calls, chance, change)


def _unasked(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    """Give a parameter that no answer names a value that is not its default."""

    def change(call: Call) -> dict[str, Any] | None:
        named = {name for accepted in case.accepted if accepted.name == call.name for name in accepted.arguments}
        for name, schema in case.schemas[call.name]["properties"].items():
            values = [*schema.get("enum", ()), *UNASKED.get(schema.get("type", ""), ())]
            others = [value for value in values if value != schema.get("default")]
            if name not in named and others:
                return {**(call.arguments or {}), name: others[0]}
        return None

    return _changed_arguments(calls, chance, change)


def _default_given(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    def change(call: Call) -> dict[str, Any] | None:
        arguments = dict(call.arguments or {})
        for name, schema in case.schemas[call.name]["properties"].items():
            if name not in arguments and schema.get("default") is not None:
                return {**arguments, name: schema["default"]}
        return None

    return _changed_arguments(calls, chance, change)


def _swapped(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    """Exchange the values of one parameter between two calls of one tool that differ in another one as well."""
    for place, one in enumerate(calls):
        for number, other in enumerate(calls[place + 1 :], place + 1):
            mine, theirs = dict(one.arguments or {}), dict(other.arguments or {})
            unequal = [name for name in mine if name in theirs and plain(mine[name]) != plain(theirs[name])]
            if one.name != other.name or len(unequal) < 2 or mine.keys() != theirs.keys():
                continue
            mine[unequal[0]], theirs[unequal[0]] = theirs[unequal[0]], mine[unequal[0]]
            changed = {place: Call(one.name, mine), number: Call(one.name, theirs)}
            if _mean_the_same(case, list(changed.values())):
                continue
            return [changed.get(where, call) for where, call in enumerate(calls)]
    return None


def _mean_the_same(case: BfclCase, calls: list[Call]) -> bool:
    """Say whether each of the calls is one that some expected call accepts."""
    return all(
        any(
            expected.name == call.name
            and all(
                is_accepted(value, expected.arguments.get(name, ())) for name, value in (call.arguments or {}).items()
            )
            for expected in case.accepted
        )
        for call in calls
    )


def _reversed(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    return calls[::-1] if len(calls) > 1 else None


def _keys_reversed(case: BfclCase, calls: list[Call], chance: random.Random) -> list[Call] | None:
    return [Call(call.name, dict(reversed(list((call.arguments or {}).items())))) for call in calls]


ON_ANSWER: dict[str, tuple[str, OnAnswer]] = {
    "no calls": ("missing_call", lambda case, calls, chance: []),
    "call left out": ("missing_call", _call_left_out),
    "call made twice": ("extra_call", lambda case, calls, chance: [*calls, chance.choice(calls)]),
    "other tool as well": ("extra_call", _other_tool_added),
    "unknown tool as well": ("hallucinated_tool", lambda case, calls, chance: [*calls, Call("made_up_by_model", {})]),
    "other tool instead": ("wrong_tool", lambda case, calls, chance: _replaced(calls, chance, _other_tool(case))),
    "unknown tool instead": (
        "hallucinated_tool",
        lambda case, calls, chance: _replaced(calls, chance, f"{calls[0].name}_v2"),
    ),
    "unknown argument": ("unknown_arg", _unknown_argument),
    "name of argument misspelled": ("missing_required", _misspelled),
    "optional argument as well": ("arg_extra", _unasked),
    "values of two calls swapped": ("arg_value", _swapped),
    "calls in other order": (HARMLESS, _reversed),
    "keys in other order": (HARMLESS, _keys_reversed),
    "default given": (HARMLESS, _default_given),
}
"""What is done to whole answers."""
