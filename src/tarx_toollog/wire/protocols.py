"""What a wire protocol is, and the registry of all of them.

A third party adds one through an entry point of the group ``tarx_toollog.wire_protocols`` that names an
object with the members of ``WireProtocol``. The first protocol that matches a request decodes it.
"""

from typing import Any, Protocol

from tarx_toollog.model import Request, Response
from tarx_toollog.registry import Registry
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_chat import OpenAIChat


class StreamDecoder(Protocol):
    """Assembles one streamed answer."""

    def receive_data(self, data: bytes, offset_ns: int) -> None:
        """Take the next piece of the body, cut anywhere."""

    def close(self) -> Response:
        """Return the response as far as it came; called once, at the end of the body."""


class WireProtocol(Protocol):
    """One way to talk to a model server."""

    @property
    def name(self) -> str:
        """The value of ``Exchange.protocol``."""

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request belongs to it; asked for every request, so it must be cheap."""

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        """Read a request body."""

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        """Read an answer that came as one JSON object, errors included."""

    def stream(self, context: DecodeContext) -> StreamDecoder:
        """Return a decoder for an answer that came as a stream."""


WIRE_PROTOCOLS: Registry[WireProtocol] = Registry(
    "tarx_toollog.wire_protocols", "wire protocol", {"openai_chat": OpenAIChat()}
)


def protocol_for(method: str, path: str) -> WireProtocol | None:
    """Return the protocol of a request; ``path`` may carry a query and a prefix."""
    route = route_of(path)
    return next((protocol for protocol in WIRE_PROTOCOLS if protocol.matches(method, route)), None)


def is_model_route(method: str, path: str) -> bool:
    """Say whether a tap should capture a request.

    Example:
        >>> is_model_route("POST", "/s/demo/v1/chat/completions?trace=1")
        True
        >>> is_model_route("GET", "/v1/models")
        False
    """
    return method == "POST" and protocol_for(method, path) is not None


def route_of(path: str) -> str:
    """Return the path without its query, which may hold secrets, and without slashes at its end."""
    return path.partition("?")[0].rstrip("/") or "/"
