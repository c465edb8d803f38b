"""What a wire protocol is, and the registry of all of them.

A third party adds one through an entry point of the group ``tarx_toollog.wire_protocols`` that names an
object with the members of ``WireProtocol`` (``docs/extending.md`` shows one). The first protocol that matches a
request decodes it.

Traffic on a route that no protocol claims is captured as well when its body looks like a chat: it is stored as
``unknown`` with its raw bytes, so that nothing is lost on the day when a client learns a new protocol.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from tarx_toollog.model import Message, Request, Response, ToolDefinition
from tarx_toollog.registry import Registry
from tarx_toollog.wire.anthropic_messages import AnthropicMessages
from tarx_toollog.wire.content_encoding import MIN_LIMIT, ContentDecoder
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
_NOT_CHATS = (
    *("/count_tokens", "/input_tokens", ":countTokens", ":computeTokens"),
    *("/apply-template", "/tokenize", "/embeddings", "/rerank"),
)
# Segments of routes on which a model gets an ``input`` and does not answer it in words.
_NO_TALK = frozenset(
    {"audio", "images", "videos", "moderations", "classify", "score", "pooling", "rerank", "reranking"}
    | {"embed", "embedding", "embeddings"}
)

_LOOK = 64 * 1024  # bytes of a body in which keys are looked for: a host waits while it lasts
_WORDS = (b'"messages"', b'"contents"', b'"input"')
_BLANK = b"\xef\xbb\xbf \t\r\n"
_KEY = re.compile(rb'"(messages|contents|input|model)"\s*+:\s*+(.?)', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


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


def looks_like_chat(path: str, body: bytes, content_encoding: str = "") -> bool:
    """Say whether a request body might be a chat with a model; it runs in the host's event loop, so nothing is parsed.

    A chat is a JSON object with ``messages``, which come with a ``model`` or have roles; with Gemini's ``contents``,
    which have parts; or with a ``model`` and an ``input`` for it. Keys count in the outermost object only: a saved
    chat inside another body is none. The first 64 KB are looked at, unpacked where ``content_encoding`` says so; what
    stands behind them in a body that is not packed is searched for the bytes of a key.

    Example:
        >>> looks_like_chat("/talk", b'{"model": "m", "messages": []}'), looks_like_chat("/talk", b'{"model": "m"}')
        (True, False)
    """
    route = route_of(path)
    head, is_cut = _beginning(body, content_encoding)
    searched = head if content_encoding else body
    if not head.lstrip(_BLANK).startswith(b"{") or not any(word in searched for word in _WORDS):
        return False
    keys = _outer_keys(head)
    is_shared = route.endswith(_SHARED_ROUTES)
    has_model = b"model" in keys or (is_cut and (bool(content_encoding) or b'"model"' in body))
    # Behind a long list of tools; what stands within something of the first 64 KB is none of the outermost object.
    may_be_behind = b"model" in keys or (not keys and b'"messages"' not in head)
    is_behind = is_cut and may_be_behind and b'"messages"' in searched
    if b"messages" in keys or is_behind:
        # A Workbench sends mails and saves drafts too, so without a model it takes more than the word.
        return has_model or (not is_shared and keys.get(b"messages") == b"[" and b'"role"' in head)
    if is_shared:
        return False
    if keys.get(b"contents") in (b"[", b"{"):
        return b'"parts"' in head
    return has_model and keys.get(b"input") in (b'"', b"[") and _NO_TALK.isdisjoint(route.split("/"))


class _Beginning(NamedTuple):
    data: bytes
    is_cut: bool
    """Whether there is more of the body."""


def _beginning(body: bytes, content_encoding: str) -> _Beginning:
    begin = body[:_LOOK]
    if not content_encoding:
        return _Beginning(begin, len(body) > _LOOK)
    decoder = ContentDecoder(content_encoding, 0)  # as if it had no size: it then gives the least that it is good for
    data = decoder.feed(begin)
    return _Beginning(data, len(body) > _LOOK or len(data) >= MIN_LIMIT)


def _outer_keys(head: bytes) -> dict[bytes, bytes]:
    """Return the keys of the outermost object that tell a chat, each with the first byte of its value.

    A quote inside a string is escaped, so the pattern finds keys alone; how deep one stands is the number of brackets
    that are open before it, strings left out.
    """
    keys: dict[bytes, bytes] = {}
    depth = seen = 0
    for key in _KEY.finditer(head):
        between = _STRING.sub(b"", head[seen : key.start()])
        depth += sum(map(between.count, (b"{", b"["))) - sum(map(between.count, (b"}", b"]")))
        seen = key.start()
        if depth == 1:
            keys.setdefault(key[1], key[2])
    return keys


def route_of(path: str) -> str:
    """Return the path without its query, which may hold secrets, and without slashes at its end."""
    return path.partition("?")[0].rstrip("/") or "/"
