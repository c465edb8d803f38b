"""What an earlier build decided: a build that continues it moves none of its examples."""

from collections.abc import Iterable

from tarx_toollog.export.example import Split
from tarx_toollog.store.datasets import PriorRow

_SPLITS: tuple[Split, ...] = ("train", "dev", "eval")


class Prior:
    """The assignments of one build; empty for a build without a parent.

    Args:
        rows: Where it has put its examples.
    """

    def __init__(self, rows: Iterable[PriorRow] = ()) -> None:
        self._examples: dict[bytes, int] = {}
        self._conversations: dict[str, int] = {}
        for row in rows:
            code = _SPLITS.index(row.split)
            self._examples[row.example_hash] = code
            if row.conversation_uid is not None:
                self._conversations[row.conversation_uid] = code

    def of_example(self, example_hash: bytes | None) -> Split | None:
        """Return the split of an example, None when it is new."""
        code = None if example_hash is None else self._examples.get(example_hash)
        return None if code is None else _SPLITS[code]

    def of_conversation(self, uid: str) -> Split | None:
        """Return the split of a conversation, None when it is new."""
        code = self._conversations.get(uid)
        return None if code is None else _SPLITS[code]
