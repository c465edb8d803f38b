"""``Redactor``: the whole of this package as one object. Pure; used by one thread."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from tarx_toollog.canonical import Json
from tarx_toollog.model import Exchange
from tarx_toollog.redaction.bodies import redact_body
from tarx_toollog.redaction.engine import Engine, Found, TreeFound, where
from tarx_toollog.redaction.exchanges import Mark, count_marks, redact_exchange
from tarx_toollog.redaction.jsontree import Path
from tarx_toollog.redaction.policy import Policy


class Redactor:
    """Takes secrets and personal data out of texts, JSON, exchanges and raw bodies.

    Args:
        policy: The rules in force.
        key: Key of the marks, at least 16 bytes: equal values have equal marks as long as it stays the same.

    Example:
        >>> redactor = Redactor(Policy.load("secrets"), key=bytes(32))
        >>> redactor.text("DB_PASSWORD=hunter2")[0]
        'DB_PASSWORD=⟦SECRET:aa71366859⟧'
    """

    def __init__(self, policy: Policy, key: bytes) -> None:
        self.policy_id = policy.policy_id
        """Short stable hash of the rules in force."""
        self.is_off = policy.is_off
        """Whether nothing is ever taken out."""
        self._engine = Engine(policy, key)

    def remembering(self) -> AbstractContextManager[set[str]]:
        """Note the values that are taken out meanwhile: who searches for what is left of them needs them."""
        return self._engine.remembering()

    def text(self, text: str) -> tuple[str, list[Found]]:
        """Return a text without the values, and what was found in it.

        The same object when nothing was. JSON stays JSON, with the same keys. Doing it twice changes nothing.
        """
        new, found = self._engine.text(text)
        return new, list(found)

    def value(self, value: Json, path: str = "") -> tuple[Json, tuple[Mark, ...]]:
        """Return a JSON value without the values, and their marks; the same object when there are none.

        Only strings change, and whole numbers that are the numbers of cards; keys never do.

        Args:
            value: Anything that ``json.loads`` returns.
            path: What the paths of the marks begin with.
        """
        new, founds = self._engine.tree(value)
        return new, count_marks([(where(found.path, path), found.found) for found in founds])

    def tree(self, value: Json, is_structural: Callable[[Path], bool]) -> tuple[Json, list[TreeFound]]:
        """Return a JSON value as ``value`` does, but leave the leaves alone that are structure."""
        return self._engine.tree(value, is_structural)

    def exchange(self, exchange: Exchange) -> tuple[Exchange, tuple[Mark, ...]]:
        """Return an exchange without the values, and their marks; the same object when there are none."""
        return redact_exchange(self._engine, exchange)

    def body(self, data: bytes) -> bytes:
        """Return a raw body without the values; the same bytes when there are none."""
        return redact_body(self._engine, data)[0]

    def body_found(self, data: bytes) -> tuple[bytes, list[Found]]:
        """Return what ``body`` does, and what was found."""
        return redact_body(self._engine, data)
