"""What a wire protocol is, and the registry of all of them.

A third party adds one through an entry point of the group ``tarx_toollog.wire_protocols`` that names an
object with the members of ``WireProtocol`` (``docs/extending.md`` shows one). The first protocol that matches a
request decodes it.

Traffic on a route that no protocol claims is captured as well when its body looks like a chat: it is stored as
``unknown`` with its raw bytes, so that nothing is lost on the day when a client learns a new protocol.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from tarx_toollog.model import Message, Request, Response, ToolDefinition
from tarx_toollog.registry import Registry
from tarx_toollog.wire.anthropic_messages import AnthropicMessages
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.ollama_chat import OllamaChat
from tarx_toollog.wire.openai_chat import OpenAIChat
from tarx_toollog.wire.openai_responses import OpenAIResponses

UNKNOWN_PROTOCOL = "unknown"


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

    @property
    def stream_format(self) -> Literal["sse", "ndjson"]:
        """How streamed answers are framed: server-sent events, or a line of JSON each."""

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request belongs to it; asked for every request, so it must be cheap.

        ``path`` comes without query and without slashes at its end, and may begin with a prefix.
        """

    def accepts(self, body: dict[str, Any]) -> bool:
        """Say whether a body on such a route is really one of this protocol; else it is ``unknown``."""

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        """Read a request body."""

    def request_body(self, request: Request) -> dict[str, Any]:
        """Make the body again: the exact inverse of ``decode_request``."""

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        """Read an answer that came as one JSON object, errors included."""

    def stream(self, context: DecodeContext) -> StreamDecoder:
        """Return a decoder for an answer that came as a stream."""

    def read_message(self, raw: Mapping[str, Any]) -> Message:
        """Read ``Message.raw`` again, as it comes back from the store; equals what ``decode_request`` made of it."""

    def read_tool(self, raw: Mapping[str, Any]) -> ToolDefinition:
        """Read ``ToolDefinition.raw`` again."""


_OPENAI_CHAT = OpenAIChat()
WIRE_PROTOCOLS: Registry[WireProtocol] = Registry(
    "tarx_toollog.wire_protocols",
    "wire protocol",
    {
        "openai_chat": _OPENAI_CHAT,
        "openai_responses": OpenAIResponses(),
        "anthropic_messages": AnthropicMessages(),
        "ollama_chat": OllamaChat(),
    },
)

# Routes beside the chat ones: they carry messages, but nobody answers them.
_NOT_CHATS = ("/count_tokens", "/input_tokens", "/apply-template", "/tokenize", "/embeddings", "/rerank")


def protocol_for(method: str, path: str) -> WireProtocol | None:
    """Return the protocol of a request; ``path`` may carry a query and a prefix."""
    route = route_of(path)
    return next((protocol for protocol in WIRE_PROTOCOLS if protocol.matches(method, route)), None)


def protocol_named(name: str) -> WireProtocol:
    """Return the protocol that wrote ``Exchange.protocol``.

    A plug-in that is gone, and ``unknown``, are read as chat completions: the form that most servers imitate.
    """
    return WIRE_PROTOCOLS.get(name) if name in WIRE_PROTOCOLS.names() else _OPENAI_CHAT


_SHARED_ROUTES = ("/api/chat",)  # Ollama's, and the first name that comes to mind for a chat route of one's own


def is_model_route(method: str, path: str) -> bool:
    """Say whether a route is a protocol's alone, so that a tap captures it whatever its body is.

    Example:
        >>> is_model_route("POST", "/s/demo/v1/chat/completions?trace=1")
        True
        >>> is_model_route("GET", "/v1/models")
        False
    """
    is_shared = route_of(path).endswith(_SHARED_ROUTES)
    return method == "POST" and not is_shared and protocol_for(method, path) is not None


def may_be_chat(method: str, path: str) -> bool:
    """Say whether the body on a route that is no protocol's alone should be looked at with ``looks_like_chat``."""
    return method == "POST" and not route_of(path).endswith(_NOT_CHATS)


def looks_like_chat(body: bytes) -> bool:
    """Say whether a request body might be a chat with a model: a look at the bytes, nothing is parsed.

    Example:
        >>> looks_like_chat(b'{"model": "m", "messages": []}'), looks_like_chat(b'{"model": "m", "input": "text"}')
        (True, False)
    """
    return b'"messages"' in body and b'"model"' in body


def route_of(path: str) -> str:
    """Return the path without its query, which may hold secrets, and without slashes at its end."""
    return path.partition("?")[0].rstrip("/") or "/"
