"""Headers: an allow-list. Authorization, cookies and keys are never kept, in no form but a keyed hash."""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from urllib.parse import unquote

KEPT_REQUEST_HEADERS = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"accept",
        b"user-agent",
        b"x-request-id",
        b"traceparent",
        b"origin",
        b"sec-fetch-site",
    }
)
KEPT_RESPONSE_HEADERS = frozenset(
    {b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"x-request-id", b"server"}
)
_IDENTITY_HEADERS = (b"authorization", b"x-api-key", b"user-agent")
_SESSION_PATH = re.compile(r"/s/([^/]{1,128})(?=/(?:v1|api)/)")
_MAX_HEADER_ID = 256
_NO_ID = frozenset({"", "null", "undefined", "none", "nil"})  # the last four: an id that was not set, made into text

RawHeaders = Iterable[tuple[bytes, bytes]]


def kept(headers: RawHeaders, names: frozenset[bytes]) -> tuple[tuple[str, str], ...]:
    """Return the headers on an allow-list, names in lower case."""
    return tuple(
        (name.lower().decode("latin-1"), value.decode("latin-1")) for name, value in headers if name.lower() in names
    )


def first(headers: RawHeaders, name: bytes) -> str | None:
    """Return the first value of a header."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), None)


def client_key(headers: RawHeaders, host: str, secret: bytes) -> str:
    """Return a keyed hash that tells clients apart without naming them.

    Clients on one address differ by their credentials or at least by their program. The secret stays in a
    file beside the journal, so the key cannot be computed from a guess.
    """
    found = {name.lower(): value for name, value in headers}
    identity = b"\0".join([host.encode(), *(found.get(name, b"") for name in _IDENTITY_HEADERS)])
    return blake2b(identity, key=secret, digest_size=8).hexdigest()


def conversation_hint(path: str, headers: RawHeaders, names: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the conversation id that the client gave, and whether a header or the path holds it.

    In the path it is the segment after ``/s/`` and before ``/v1/`` or ``/api/``, at most 128 characters long, behind
    any prefix: a Workbench may be mounted below one. What programs send when they have no id is none.
    """
    values = {name.lower(): value for name, value in reversed(list(headers))}  # of a header sent twice the first
    for name in names:
        if given := _id_or_none(values.get(name.lower().encode("latin-1"), b"").decode("latin-1")):
            return given[:_MAX_HEADER_ID], "header"
    match = _SESSION_PATH.search(path)
    given = _id_or_none(unquote(match[1])) if match else None
    return (given, "path") if given else (None, None)


def _id_or_none(text: str) -> str | None:
    text = text.strip()
    return None if text.lower() in _NO_ID else text


def without_session(target: bytes) -> bytes:
    """Return a request target without the ``/s/{conversation}`` in front of it, which only we understand.

    Behind a prefix it stays: whoever owns the prefix, it is not our proxy.
    """
    match = _SESSION_PATH.match(target.decode("latin-1"))
    return target[match.end() :] if match else target
