"""Calls that a model wrote into the text of its answer, as ``ToolCall`` s beside the native ones.

The forms are read by ``text_calls``; here they get what a call of a response has: a place, an id, an origin. A server
that hands over a call and leaves its text in the answer as well (LocalAI) has made one call, not two.
"""

from dataclasses import replace

from tarx_toollog.canonical import parse_arguments
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
    found = [call for call in find_calls(choice.message.text, context.offered) if not _is_made(call, made)]
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


def _is_made(leaked: TextCall, made: tuple[ToolCall, ...]) -> bool:
    meant = parse_arguments(leaked.arguments).value
    return any(call.name == leaked.name and parse_arguments(call.arguments).value == meant for call in made)
