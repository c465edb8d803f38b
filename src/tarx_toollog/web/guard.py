"""Who may speak to the pages: checked before anything is routed, on every request.

*Theory.* The pages show every conversation, and their forms change what models are trained on. They listen on the
machine itself, but any web page in the user's browser can send requests there, too:

- by a name of its own that it lets point here (DNS rebinding): the ``Host`` must be one of ours;
- across origins: only a person who follows a link may come from elsewhere, forms only from our own pages;
- inside a frame, or as an image or a script: refused by what the browser says the request is for.

A program that is no browser names no origin. It may post to the part that is for programs, whose bodies are JSON: a
browser says for whom it posts, and asks first before it posts JSON to another site.

On any address but the machine's own, a token is needed. It comes once in a link and is then kept in a cookie; programs
send it as a bearer token. Where the pages are mounted in an application that listens elsewhere, too, and nobody chose a
token, only what comes from this machine is answered.
"""

import hmac
import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tarx_toollog.web.addresses import BASE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PARAMETER = "token"
"""Name of the parameter that brings the token."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_COOKIE = "toollog_ui"
_API = "/api/"
_READING = frozenset({"GET", "HEAD"})
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
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

    def link(self, address: str) -> str:
        """Return an address of ours with the token that opens it, where one is needed."""
        return address if self.token is None else f"{address}?{PARAMETER}={quote(self.token)}"

    def knows(self, host: str) -> bool:
        """Say whether a ``Host`` header names this server; the port does not matter."""
        name = _name_of(host)
        return name in self.hosts or (self.any_address and _is_address(name))


def is_loopback(host: str) -> bool:
    """Say whether only programs of this machine can reach an address."""
    if host in LOOPBACK or not _is_address(host):
        return host in LOOPBACK
    address = ipaddress.ip_address(host)
    # A socket for both families says the address of an IPv4 client like this: ::ffff:127.0.0.1
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


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
        else:
            await self._serve(_within(scope), receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        base = scope["root_path"]
        BASE.set(quote(base))
        is_api = scope["path"].startswith(f"{base}{_API}")
        if refused := self._refusal(scope, is_api):
            await _answer(send, *refused, is_json=is_api)
        elif self._access.token is not None and not _has(_brought(scope), self._access.token):
            await self._ask_for_token(scope, send, self._access.token, is_api)
        elif scope["path"] == base:  # the place itself, without the slash that our addresses go on behind
            await _answer(send, 307, "", [(b"location", f"{quote(base)}/".encode("ascii"))])
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, is_api: bool) -> tuple[int, str] | None:
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or not self._access.knows(hosts[0]):
            return 421, "This server does not go by that name. Open the address that was printed when it started."
        client = scope.get("client")
        if self._access.token is None and client and not is_loopback(client[0]):
            return 403, "These pages are for this machine alone."
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
        if is_ours and (site == "same-origin" or (not site and (origin or is_api))):
            return None
        return 403, "Forms are taken from the pages of this server alone."

    async def _ask_for_token(self, scope: Scope, send: Send, token: str, is_api: bool) -> None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == PARAMETER]
        if is_api or scope["method"] not in _READING or not _has(given, token):
            text = "A token is needed. Open the link that was printed when the server started."
            await _answer(send, 401, text, is_json=is_api)
            return
        rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
        path = "/" + scope["raw_path"].decode("latin-1").lstrip("/")  # `//host` would lead elsewhere
        location = path + (f"?{rest}" if rest else "")
        cookie = f"{_COOKIE}={token}; Path={BASE.get() or '/'}; HttpOnly; SameSite=Lax"
        headers = [(b"location", location.encode("latin-1")), (b"set-cookie", cookie.encode("latin-1"))]
        await _answer(send, 303, "", headers)


def _within(scope: Scope) -> Scope:
    """Return a scope whose paths begin with the place where the pages are mounted, as not every outer server has it."""
    base, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    raw: bytes = scope.get("raw_path") or quote(path).encode("ascii")
    if path != base and not path.startswith(f"{base}/"):
        path, raw = base + path, quote(base).encode("ascii") + raw
    return {**scope, "root_path": base, "path": path, "raw_path": raw}


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _brought(scope: Scope) -> list[str]:
    """Return what a request brings as its token: in our cookie, or as a program does."""
    pairs = (pair.strip().partition("=") for line in _header(scope, b"cookie") for pair in line.split(";"))
    schemes = (line.partition(" ") for line in _header(scope, b"authorization"))
    bearers = [value.strip() for scheme, _, value in schemes if scheme.lower() == "bearer"]
    return [value for name, _, value in pairs if name == _COOKIE] + bearers


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


async def _answer(
    send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = (), *, is_json: bool = False
) -> None:
    sending = _with_headers(send)
    body = json.dumps({"error": {"message": text, "hint": ""}}) if is_json else text
    kind = (b"content-type", b"application/json" if is_json else b"text/plain; charset=utf-8")
    await sending({"type": "http.response.start", "status": status, "headers": [kind, *headers]})
    await sending({"type": "http.response.body", "body": body.encode()})
