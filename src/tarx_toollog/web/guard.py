"""Who may speak to the pages: checked before anything is routed, on every request.

*Theory.* The pages show every conversation, and their forms change what models are trained on. They listen on the
machine itself, but any web page in the user's browser can send requests there, too:

- by a name of its own that it lets point here (DNS rebinding): the ``Host`` must be one of ours;
- across origins: only a person who follows a link may come from elsewhere, forms only from our own pages;
- inside a frame, or as an image or a script: refused by what the browser says the request is for.

On any address but the machine's own, a token is needed. It comes once in a link and is then kept in a cookie.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PARAMETER = "token"
"""Name of the parameter that brings the token."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_COOKIE = "toollog_ui"
_READING = frozenset({"GET", "HEAD"})
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    # To others not even the address, which has names in it; to ourselves the origin, which forms are checked by.
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What is let in."""

    hosts: frozenset[str] = LOOPBACK
    """Names that this server goes by."""
    any_address: bool = False
    """Whether every numeric address is one of them, too: a name can be made to point here, a number cannot."""
    token: str | None = None
    """What everybody has to bring; None: nothing."""

    @classmethod
    def on(cls, host: str) -> "Access":
        """Return what is let in by a server that listens on ``host``."""
        name = host.lower()
        if is_loopback(name):
            return cls(LOOPBACK | {name})
        any_address = name in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound
        return cls(LOOPBACK | {name, socket.gethostname().lower()}, any_address, secrets.token_urlsafe(24))

    def knows(self, host: str) -> bool:
        """Say whether a ``Host`` header names this server; the port does not matter."""
        name = _name_of(host)
        return name in self.hosts or (self.any_address and _is_address(name))


def is_loopback(host: str) -> bool:
    """Say whether only programs of this machine can reach an address."""
    return host in LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


class Guard:
    """An ASGI application that lets only those requests through to another that may come."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif refused := self._refusal(scope):
            await _answer(send, *refused)
        elif self._access.token is not None and not _has(_cookies(scope), self._access.token):
            await self._ask_for_token(scope, send, self._access.token)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or not self._access.knows(hosts[0]):
            return 421, "This server does not go by that name. Open the address that `toollog ui` printed."
        if b"%00" in scope["query_string"] or "\0" in scope["path"]:
            return 400, "Something in that address cannot be read."  # PostgreSQL takes no NUL
        site = (_header(scope, b"sec-fetch-site") or [""])[0]
        origin = _header(scope, b"origin")
        if scope["method"] in _READING:
            is_visit = (_header(scope, b"sec-fetch-mode"), _header(scope, b"sec-fetch-dest")) == (
                ["navigate"],
                ["document"],
            )
            is_ours = site in ("", "none", "same-origin") or is_visit
            return None if is_ours else (403, "Another site may link here, and nothing else.")
        is_ours = all(urlsplit(each).netloc.lower() == hosts[0].lower() for each in origin)
        if is_ours and (site == "same-origin" or (not site and origin)):
            return None
        return 403, "Forms are taken from the pages of this server alone."

    async def _ask_for_token(self, scope: Scope, send: Send, token: str) -> None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == PARAMETER]
        if scope["method"] not in _READING or not _has(given, token):
            await _answer(send, 401, "A token is needed. Open the link that `toollog ui` printed.")
            return
        rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
        path = "/" + scope.get("raw_path", b"/").decode("latin-1").lstrip("/")  # `//host` would lead elsewhere
        location = path + (f"?{rest}" if rest else "")
        cookie = f"{_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax"
        headers = [(b"location", location.encode("latin-1")), (b"set-cookie", cookie.encode("latin-1"))]
        await _answer(send, 303, "", headers)


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _cookies(scope: Scope) -> list[str]:
    pairs = (pair.strip().partition("=") for line in _header(scope, b"cookie") for pair in line.split(";"))
    return [value for name, _, value in pairs if name == _COOKIE]


def _has(given: list[str], token: str) -> bool:
    return any(hmac.compare_digest(each.encode(), token.encode()) for each in given)


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:  # brackets that do not match
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in _HEADERS}
            kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in own]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    sending = _with_headers(send)
    kind = (b"content-type", b"text/plain; charset=utf-8")
    await sending({"type": "http.response.start", "status": status, "headers": [kind, *(headers or ())]})
    await sending({"type": "http.response.body", "body": text.encode()})
