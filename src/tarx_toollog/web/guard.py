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

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tarx_toollog.capture.access import PARAMETER, Access, has_token, is_loopback, is_origin_of
from tarx_toollog.web.addresses import BASE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Access", "Guard"]

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
        elif self._access.token is not None and not has_token(_brought(scope), self._access.token):
            await self._ask_for_token(scope, send, self._access.token, is_api)
        elif scope["path"] == base:  # the place itself, without the slash that our addresses go on behind
            await _answer(send, 307, "", [(b"location", f"{quote(base)}/".encode("ascii"))])
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, is_api: bool) -> tuple[int, str] | None:
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or not self._access.knows(hosts[0]):
            return 421, (
                "This server does not go by that name. Open the address that was printed when it started, "
                "or put the name into the setting allowed_hosts."
            )
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
        is_ours = all(is_origin_of(each, hosts[0]) for each in origin)
        if is_ours and (site == "same-origin" or (not site and (origin or is_api))):
            return None
        return 403, "Forms are taken from the pages of this server alone."

    async def _ask_for_token(self, scope: Scope, send: Send, token: str, is_api: bool) -> None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == PARAMETER]
        if is_api or scope["method"] not in _READING or not has_token(given, token):
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
