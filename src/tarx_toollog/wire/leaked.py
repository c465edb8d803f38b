"""Calls that a model wrote into the text of its answer, as ``ToolCall`` s beside the native ones.

The forms are read by ``text_calls``; here they get what a call of a response has: a place, an id, an origin. A server
that hands over a call and leaves its text in the answer as well (LocalAI) has made one call, not two: two calls are the
same when they have the same name and arguments of the same value. Each is read once, for there may be a thousand.
"""

from collections.abc import Hashable
from dataclasses import replace

from tarx_toollog.canonical import Json, parse_arguments
from tarx_toollog.model import Choice, Response, ToolCall
from tarx_toollog.wire.calls import minted_id
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.text_calls import TextCall, find_calls


def with_leaked_calls(response: Response, context: DecodeContext) -> Response:
    """Return the response with the calls that stand in the text of its answers."""
    choices = tuple(_choice(choice, context) for choice in response.choices)
    return response if choices == response.choices else replace(response, choices=choices)


def _choice(choice: Choice, context: DecodeContext) -> Choice:
    made = choice.message.tool_calls
    found = find_calls(choice.message.text, context.offered)
    if found and made:
        known = {_meaning(call) for call in made}
        found = tuple(call for call in found if _meaning(call) not in known)
    if not found:
        return choice
    leaked = (_leaked(call, choice.index, len(made) + n, context) for n, call in enumerate(found))
    return replace(choice, leaked_calls=tuple(leaked))


def _leaked(call: TextCall, choice: int, ordinal: int, context: DecodeContext) -> ToolCall:
    return ToolCall(
        name=call.name,
        arguments=call.arguments,
        call_id=call.call_id or minted_id(context.uid, choice, ordinal),
        id_state="ok" if call.call_id else "missing",
        choice=choice,
        ordinal=ordinal,
        origin="leaked_text",
        complete=call.complete,
        quirks=(call.form,),
    )


def _meaning(call: TextCall | ToolCall) -> tuple[str, Hashable]:
    return call.name, _hashable(parse_arguments(call.arguments).value)


def _hashable(value: Json) -> Hashable:
    """Return what is equal for equal values: 5 and 5.0 are, and the order of keys says nothing."""
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
