"""What is wrong with a call, in words that every list and page shares."""

from typing import Protocol

_ORIGINS = {
    "native": None,
    "legacy_function": "in the old form",
    "leaked_text": "leaked into the text",
    "custom": "of a custom tool",
    "server_side": "run by the server",
}
_STATES = {
    "ok": None,
    "empty": None,
    "repaired": "arguments are nearly JSON",
    "invalid": "arguments are no JSON",
    "incomplete": "arguments end too early",
}


class Judged(Protocol):
    """What of a call says whether it is right in itself."""

    @property
    def complete(self) -> bool:
        """Whether it came whole."""

    @property
    def argument_state(self) -> str:
        """How far its arguments can be read."""

    @property
    def offered(self) -> bool:
        """Whether a tool of its name was offered."""

    @property
    def schema_state(self) -> str:
        """What its schema says."""

    @property
    def origin(self) -> str:
        """Where it stood."""


def faults_of(call: Judged) -> list[str]:
    """Return what is wrong with a call, or strange; nothing where it is right in itself."""
    found = (
        None if call.complete else "cut off",
        _STATES.get(call.argument_state, call.argument_state),
        None if call.offered else "not offered",
        "against its schema" if call.schema_state == "fail" else None,
        _ORIGINS.get(call.origin, call.origin),
    )
    return [words for words in found if words is not None]
