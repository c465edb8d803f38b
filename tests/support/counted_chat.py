"""A client whose server counts as a test wants it."""

import json
from typing import Any

from tarx_toollog.model import Exchange
from tests.unit.cli.samples import Chat


class CountedChat(Chat):
    """A chat whose usage is that of the last ``counts``; None for a server that tells none."""

    usage: tuple[int, int] | None = (100, 10)

    def counts(self, prompt: int, answer: int) -> "CountedChat":
        """Let the next answers have these tokens."""
        self.usage = prompt, answer
        return self

    def counts_nothing(self) -> "CountedChat":
        """Let the next answers come without usage."""
        self.usage = None
        return self

    def _exchange(self, body: dict[str, Any], reply: bytes, *, cut: bool) -> Exchange:
        value = json.loads(reply)
        del value["usage"]
        if self.usage is not None:
            prompt, answer = self.usage
            value["usage"] = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        return super()._exchange(body, json.dumps(value).encode(), cut=cut)
