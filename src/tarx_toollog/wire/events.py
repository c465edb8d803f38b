"""The data of one server-sent event of a model server: its objects, or the error that it reports.

What the streamed OpenAI protocols share: an event that holds several objects because the server forgot the blank
lines between them, the closing ``[DONE]``, and errors that come as an object, a string or plain text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tarx_toollog.canonical import InvalidJsonError
from tarx_toollog.wire.fields import DecodeContext, read_json
from tarx_toollog.wire.openai_fields import error_from_text, error_of

_DONE = b"[DONE]"


def read_objects(data: bytes, context: DecodeContext) -> Iterator[dict[str, Any] | None]:
    """Yield the objects of an event, and None for ``[DONE]``; anything else is noted."""
    data = data.strip()
    if data == _DONE:
        yield None
        return
    if not data:
        return
    try:
        value = read_json(data, context)
    except InvalidJsonError as error:
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) < 2:
            context.note("event_unreadable", str(error))
            return
        for line in lines:  # a server that forgets the blank lines between its events: each line is one
            if line.strip() != _DONE:
                context.note("events_not_separated")
            yield from read_objects(line, context)
        return
    if isinstance(value, dict):
        yield value
    else:
        context.note("event_not_object")


def read_error(data: bytes, context: DecodeContext) -> Mapping[str, Any]:
    """Return the error object of an event that is named ``error``, whatever its data is."""
    try:
        value = read_json(data.strip(), context)
    except InvalidJsonError:
        value = data.strip().decode("utf-8", errors="replace")
    return (error_of(value) or value) if isinstance(value, dict) else error_from_text(str(value))
