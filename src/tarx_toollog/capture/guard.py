"""Who may speak to the proxy: checked before anything is routed or logged, on every request.

*Theory.* The proxy listens on the machine itself, but any web page in the user's browser can send requests there, too.
It could use the model, and what it says would be logged as a chat of the user's and learned from. So:

- by a name of its own that a page lets point here (DNS rebinding) nothing is answered: ``Host`` must be one of ours;
- what a browser sends for another site is refused, whatever the method, unless the setting ``allowed_origins`` names
  that site. Then the answers about CORS are ours; what the model server says about it goes to nobody;
- a chat that a browser sends has to be JSON by its content type: other types are sent to strangers without asking.

A program that is no browser says neither ``Origin`` nor ``Sec-Fetch-Site``; for it nothing of this changes anything.

On any address but the machine's own, everybody needs a token. It comes in a header of its own, or where clients send
their API key: that is all that most of them let one set. Then the key goes no further, since it is ours.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

from tarx_toollog.capture.access import Access, has_token, is_loopback, is_origin_of
from tarx_toollog.wire.protocols import is_model_route

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TOKEN_HEADER = b"x-toollog-token"
CORS_PREFIX = b"access-control-"
"""How the headers begin by which a server tells a browser who may use it."""
_KEYS = frozenset({TOKEN_HEADER, b"authorization", b"x-api-key"})
_LOOKED_AT = _KEYS | {
    b"host",
    b"origin",
    b"sec-fetch-site",
    b"content-type",
    b"content-length",
    b"transfer-encoding",
    b"access-control-request-method",
    b"access-control-request-headers",
}
_READING = frozenset({"GET", "HEAD"})
_MAX_KNOWN = 64  # a client that invents names must not fill the memory with them
_NAMES = re.compile(r"[\w, -]{0,2000}", re.ASCII)
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class Refusal(NamedTuple):
    """Why a request goes no further."""

    status: int
    text: str
    kind: str = "forbidden"


class ProxyGuard:
    """An ASGI application that lets only those requests through to another that may come.

    Args:
        app: Gets the requests; a key that was our token is taken off them.
        access: What is let in.
        origins: Origins whose pages may use it.
    """

    def __init__(self, app: App, access: Access, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._access = access
        self._origins = frozenset(origins)
        self._known: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        found = _found(scope["headers"])
        origins = found.get(b"origin", [])
        is_allowed = len(origins) == 1 and origins[0].lower() in self._origins
        refusal = self._unknown_host(found.get(b"host", []))
        if refusal is None and is_allowed:
            send = _with_cors(send, origins[0])  # its pages may see why they were refused, too
        refusal = refusal or self._refusal(scope, found, is_allowed)
        if refusal is None and is_allowed and _is_preflight(scope, found):
            await _preflight(send, found)  # it brings no token: a browser asks before it sends one
            return
        if refusal is None and self._access.token is not None:
            if _has_key(found, self._access.token):
                scope = {**scope, "headers": _without_token(scope["headers"], self._access.token)}
            else:
                refusal = Refusal(401, _HOW_TO_GET_IN, "authentication_error")
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refuse(send, refusal)

    def unknown_host(self, scope: Scope) -> Refusal | None:
        """Return why a request does not mean this server, None when it does."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        return self._unknown_host(hosts)

    def _unknown_host(self, hosts: list[str]) -> Refusal | None:
        if len(hosts) == 1 and (hosts[0] in self._known or self._access.knows(hosts[0])):
            if len(self._known) < _MAX_KNOWN:
                self._known.add(hosts[0])
            return None
        named = f"{hosts[0][:100]!r}" if len(hosts) == 1 else "no single name"
        text = f"this server does not go by the host {named}: add it to the setting allowed_hosts if it should"
        return Refusal(421, text, "misdirected_request")

    def _refusal(self, scope: Scope, found: dict[bytes, list[str]], is_allowed: bool) -> Refusal | None:
        client = scope.get("client")
        if self._access.token is None and client and not is_loopback(client[0]):
            return Refusal(403, "this server is for its own machine alone: see the setting require_token")
        if b"transfer-encoding" in found and b"content-length" in found:
            # Two servers that believe one each would see two requests where there is one.
            return Refusal(400, "a request has a length or comes in chunks, not both", "invalid_request_error")
        if b"origin" not in found and b"sec-fetch-site" not in found:
            return None  # no browser
        if not is_allowed and not _is_of_ours(scope["method"], found):
            origin = ", ".join(found.get(b"origin", []))[:100] or "another site"
            return Refusal(403, f"pages of {origin} may not use this server: see the setting allowed_origins")
        return _not_json(scope, found)


def _found(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[str]]:
    """Return the values of the headers that are looked at, by name."""
    found: dict[bytes, list[str]] = {}
    for name, value in headers:
        if name in _LOOKED_AT:
            found.setdefault(name, []).append(value.decode("latin-1"))
    return found


def _is_preflight(scope: Scope, found: dict[bytes, list[str]]) -> bool:
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in found


def _is_of_ours(method: str, found: dict[bytes, list[str]]) -> bool:
    """Say whether a browser sends it for a page of this very server, or because somebody typed the address."""
    if not all(is_origin_of(origin, found[b"host"][0]) for origin in found.get(b"origin", [])):
        return False
    sites = found.get(b"sec-fetch-site", ["same-origin"])
    return sites == ["same-origin"] or (sites == ["none"] and method in _READING)


def _not_json(scope: Scope, found: dict[bytes, list[str]]) -> Refusal | None:
    if scope["method"] in _READING or scope["method"] == "OPTIONS":
        return None
    kinds = [kind.partition(";")[0].strip().lower() for kind in found.get(b"content-type", [])]
    if kinds == ["application/json"]:
        return None
    try:
        is_chat = is_model_route(scope["method"], scope["path"])
    except Exception:  # noqa: BLE001 - a protocol of somebody else's, which must not open a door by failing
        is_chat = True
    if not is_chat:
        return None
    text = "a browser has to send this with the content type application/json"
    return Refusal(415, text, "invalid_request_error")


_HOW_TO_GET_IN = (
    "a token is needed: send what chat.token in the folder of the journal holds as the API key, "
    "or in the header x-toollog-token where the model server wants a key of its own"
)


def _has_key(found: dict[bytes, list[str]], token: str) -> bool:
    return has_token([_key_in(value) for name in _KEYS for value in found.get(name, [])], token)


def _key_in(value: str) -> str:
    scheme, _, key = value.strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else value.strip()


def _without_token(headers: Iterable[tuple[bytes, bytes]], token: str) -> Headers:
    return [
        (name, value)
        for name, value in headers
        if not (name in _KEYS and has_token([_key_in(value.decode("latin-1"))], token))
    ]


def _with_cors(send: Send, origin: str) -> Send:
    own = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"Origin"),
    ]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return sending


async def _preflight(send: Send, found: dict[bytes, list[str]]) -> None:
    wanted = ", ".join(found.get(b"access-control-request-headers", []))
    headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-private-network", b"true"),
        (b"access-control-max-age", b"600"),
    ]
    if wanted and _NAMES.fullmatch(wanted):
        headers.append((b"access-control-allow-headers", wanted.encode("latin-1")))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer with a refusal, as model servers put their errors."""
    error = {"message": refusal.text, "type": refusal.kind, "code": refusal.status, "param": None}
    data = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    headers.append((b"x-content-type-options", b"nosniff"))
    headers.append((b"connection", b"close"))  # what follows on it may be the rest of what was refused
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": data, "more_body": False})
