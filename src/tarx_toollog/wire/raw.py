"""What a tap saw, before anything is parsed: the input of ``decode`` and the content of the journal.

A ``RawExchange`` is a ``Begin`` (written when the request body is complete), the response's chunks with
their times, and an ``End`` (written when the response is over). An exchange without an ``End`` was cut
off by the death of the process that captured it.
"""

from dataclasses import dataclass

from tarx_toollog.model import Leg

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """What is known when the request body is complete."""

    uid: str
    leg: Leg
    method: str
    path: str
    started_ns: int
    """Unix time in nanoseconds of the request's first byte."""
    headers: Headers = ()
    """Lower-case names, only those on the allow-list of ``capture``."""
    client_key: str | None = None
    upstream: str | None = None
    conversation_hint: str | None = None
    hint_source: str | None = None
    outer_uid: str | None = None
    run_uid: str | None = None
    body_size: int = 0
    """True size; larger than the captured body when that was capped."""


@dataclass(frozen=True, slots=True)
class ResponseStart:
    """Status and headers of the response."""

    status: int
    headers: Headers = ()
    offset_ns: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of the response body; ``offset_ns`` counts from the start of the exchange (monotonic)."""

    offset_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The facts from which the outcome is computed."""

    offset_ns: int
    final_seen: bool = False
    """The last byte of the response passed the tap."""
    disconnected: bool = False
    """The client hung up (or closed the response) before the last byte."""
    exception: str | None = None
    """``TypeName: text`` of what the application or the HTTP client raised."""
    exception_side: str | None = None
    """``app``, ``upstream``, ``proxy`` (answered in the server's place) or ``timeout``."""
    body_size: int = 0
    """True size; larger than the sum of the chunks when the capture was capped."""


@dataclass(frozen=True, slots=True)
class RawExchange:
    """One exchange as seen by a tap."""

    begin: Begin
    request_body: bytes = b""
    response: ResponseStart | None = None
    chunks: tuple[Chunk, ...] = ()
    end: End | None = None

    @property
    def response_body(self) -> bytes:
        """The response body as far as it was captured."""
        return b"".join(chunk.data for chunk in self.chunks)
