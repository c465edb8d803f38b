"""Whether a model was shown the whole prompt. Pure but for the calibration, which learns with every answer.

*Theory.* Some servers drop the front of a chat that is too long for their context, and say nothing: Ollama does. The
model then answers a question that was not asked, and its answer says nothing about it. The server's own count gives it
away. It is held against

* the count of the logged server for the same request: with the same chat template both should be equal, and even
  another tokenizer does not halve a text;
* the estimate that the store makes of every exchange (``store.budget``), once enough answers have calibrated it. Alone
  that would not do: where every prompt is cut from the first on, the calibration learns to expect that.
"""

from collections.abc import Mapping
from typing import Any

from tarx_toollog.model import Exchange
from tarx_toollog.store.asked import LoggedRequest
from tarx_toollog.store.budget import FAR_BELOW, Calibration, budget, measure
from tarx_toollog.wire.fields import count_or_none, dict_or_empty

_OTHER_TOKENIZER = 0.5  # vocabularies of 30,000 and 200,000 entries differ by a third on English, code and JSON
_LEAST = 200  # tokens: below that a template's own words may be the difference
_TOO_LONG = frozenset({"exceed_context_size_error", "context_length_exceeded"})


class PromptCheck:
    """Looks at the prompts of one run on one build.

    Args:
        server: What is kept of the server: ``n_ctx`` and ``chat_template_hash`` are used.
    """

    def __init__(self, server: Mapping[str, Any]) -> None:
        self._limit = count_or_none(server.get("n_ctx"))
        self._template = server.get("chat_template_hash")
        self._calibration = Calibration()

    def fault(self, exchange: Exchange, logged: LoggedRequest | None) -> str | None:
        """Return what is wrong with the prompt of an answered exchange; None: nothing is known to be.

        Args:
            exchange: The exchange.
            logged: The same request in the log; None where it is not known, or was not the same.
        """
        error = dict_or_empty(exchange.response.error) if exchange.response is not None else {}
        if exchange.error_type in _TOO_LONG:
            sizes = [count_or_none(error.get(key)) for key in ("n_prompt_tokens", "n_ctx")]
            return "prompt too long" + (f": {sizes[0]:,} tokens, the context has {sizes[1]:,}" if all(sizes) else "")
        usage = exchange.response.usage if exchange.response is not None else None
        counted = usage.input_tokens if usage is not None else None
        if exchange.request is None or not counted:
            return None
        if exchange.response is not None and exchange.response.extra.get("truncated") is True:
            return f"prompt truncated: the server says so, and counted {counted:,} tokens"
        if logged is not None and (expected := logged.input_tokens or 0) >= _LEAST:
            is_same = self._template is not None and self._template == logged.chat_template_hash
            if counted < expected * (FAR_BELOW if is_same else _OTHER_TOKENIZER):
                return f"prompt truncated: the server counted {counted:,} tokens, that of the log {expected:,}"
        return self._suspicion(exchange, counted)

    def _suspicion(self, exchange: Exchange, counted: int) -> str | None:
        assert exchange.request is not None
        size = measure(exchange.request, first_new=0)
        spent = budget(exchange, size, self._calibration, limit=self._limit)
        if spent.truncation == "suspected":
            expected = round(self._calibration.tokens(size.total))
            return f"prompt truncated: the server counted {counted:,} tokens of about {expected:,}"
        self._calibration.learn(size, counted)
        return None
