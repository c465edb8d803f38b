"""What linking asks the store, and what it gets.

The seam between ``linker``, which is pure, and ``lookup``, which is SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from tarx_toollog.model import ToolCall


@dataclass(frozen=True, slots=True)
class Parent:
    """An earlier exchange that this one may continue."""

    exchange_id: int
    conversation_id: int
    turn_no: int
    step_no: int
    started_at: datetime
    confidence: float = 1.0
    """How sure it is that the exchange belongs to its conversation."""
    output_hash: bytes | None = None
    """Content hash of its answer's exact message."""
    output_sem: bytes | None = None
    is_first: bool = True
    """Whether it continues no other exchange itself."""


class Answer(NamedTuple):
    """An earlier answer and what came right before it, each as the hash of its meaning."""

    parent: Parent
    asked: bytes | None
    answered: bytes


class Scope(NamedTuple):
    """Where to look: among the exchanges of one client, or of one conversation whoever made them."""

    client_key: str | None
    conversation_id: int | None = None


class Outer(NamedTuple):
    """The inbound exchange during which this one was made."""

    exchange_id: int
    conversation_id: int | None


class Lookup(Protocol):
    """The questions that linking asks the store. All are about live exchanges that began earlier; latest first."""

    def conversation_by_external_id(self, source: str, external_id: str) -> int | None:
        """Return the conversation that a client named so."""

    def outer(self, uid: str) -> Outer | None:
        """Return the inbound exchange with this uid."""

    def by_response_id(self, response_id: str, client_key: str | None, upstream: str | None) -> Parent | None:
        """Return the exchange that gave this response, to this client or from this server."""

    def by_output(self, sems: Sequence[bytes], scope: Scope) -> tuple[bytes, list[Parent]] | None:
        """Return the exchanges whose answer completes one of these histories; earlier entries are preferred."""

    def by_input(self, sem: bytes, scope: Scope) -> list[Parent]:
        """Return the exchanges that asked exactly this."""

    def by_call(self, call_id: str, scope: Scope) -> list[tuple[Parent, ToolCall]]:
        """Return the exchanges that emitted a call with this id; none when the id is too common to tell anything."""

    def answers(self, scope: Scope) -> list[Answer]:
        """Return the latest answers."""

    def continued(self, exchange_ids: Sequence[int]) -> frozenset[int]:
        """Return those of these exchanges that another one continues."""

    def failed_with_input(self, sem: bytes, client_key: str | None) -> Parent | None:
        """Return the latest exchange with this input, if it brought no answer."""

    def answered_with_input(self, sem: bytes, client_key: str | None) -> Parent | None:
        """Return the latest exchange with this input, if its answer was there before this one began, and was left."""
