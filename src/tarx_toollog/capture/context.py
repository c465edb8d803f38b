"""What an inbound request tells the model calls that are made while it is served."""

from contextvars import ContextVar
from dataclasses import dataclass

from tarx_toollog.capture.capture import Capture


@dataclass(frozen=True, slots=True)
class Inbound:
    """The inbound request that is being served."""

    capture: Capture | None
    """Its exchange; None when its route is not a model route.

    An object that is filled while the body arrives, rather than the body itself: an application may read its request
    in another task, and what that task sets in its context is not seen here.
    """
    client_key: str | None
    conversation_hint: str | None
    hint_source: str | None


inbound: ContextVar[Inbound | None] = ContextVar("tarx_toollog_inbound", default=None)
