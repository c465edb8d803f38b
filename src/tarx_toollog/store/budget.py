"""How the context of one exchange was spent, and whether something fell out of it. Pure functions.

*Theory.* A server counts the tokens of a whole prompt, never those of its parts. So the parts are measured in bytes
of UTF-8 (bytes, because a token holds about as many of them in any script), with a fixed allowance for what a chat
template writes around a message and around a list of tools. The total is the server's own count where there is
one, and the parts are their share of it; the sum is exact, the split goes by length. Without a count the total is
estimated: bytes by a ratio that is calibrated on the earlier exchanges of the same build. One ratio for JSON and
prose alike: two, fitted to each, were not better on the real model (``tests/real_model/test_builds.py`` holds the
error).

*Truncation* is ``reported`` when the server says so: it refuses the prompt as too long, or the answer stopped at the
end of the context. It is ``suspected`` when the server counted far fewer tokens than were sent, near a limit: Ollama
drops the front of a chat without a word and counts what is left. Two rules, both with the server's own count:

* the calibrated estimate reaches the limit, and the count is below ``FAR_BELOW`` of the estimate;
* the history grew by at least ``MIN_GROWTH`` tokens since the parent, and the count grew by less than
  ``GROWTH_SEEN`` of that, or shrank.

Neither speaks where the count is below ``NEAR_LIMIT`` of a known limit (nothing falls out of a context that is half
empty), where the prompt holds images or a history that only the server has, and the second only where system
prompt, tools and model are the parent's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.canonical import json_text, parse_arguments
from tarx_toollog.model import Exchange, Message, Request, ToolDefinition
from tarx_toollog.store.linker import split_leading
from tarx_toollog.wire.fields import count_or_none, dict_or_empty
from tarx_toollog.wire.openai_fields import RESULT_ROLES

Source = Literal["exact", "estimated"]
Truncation = Literal["none", "suspected", "reported"]

BYTES_PER_TOKEN = 3.3  # what the real model of the tests has over English, code and JSON; used until one is calibrated
MESSAGE_BYTES = 30  # a template's marks and role around one message: 7 to 10 tokens with the models of the tests
TOOLS_BYTES = 200  # its words around a list of tools
_PRIOR_BYTES = 2000.0  # weight of the default ratio: a first exchange of a few words must not decide alone
MIN_EXCHANGES = 3  # that many make a calibration
FAR_BELOW = 0.7  # the estimate of a calibrated build is off by less than that
NEAR_LIMIT = 0.5
MIN_GROWTH = 200
GROWTH_SEEN = 0.25

_TOO_LONG = frozenset({"exceed_context_size_error", "context_length_exceeded"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "tool_use", "tool_result", "thinking", "refusal"})


@dataclass(slots=True)
class Calibration:
    """Bytes and tokens of the exact exchanges of one build, summed. The only mutable object here."""

    n_bytes: int = 0
    n_tokens: int = 0
    n_exchanges: int = 0

    def learn(self, size: "Size", input_tokens: int) -> None:
        """Take in an exchange that the server counted; one that cannot be measured is left out."""
        if size.is_measurable and size.total and input_tokens:
            self.n_bytes += size.total
            self.n_tokens += input_tokens
            self.n_exchanges += 1

    @property
    def is_sound(self) -> bool:
        """Whether enough was seen to accuse a server."""
        return self.n_exchanges >= MIN_EXCHANGES

    def tokens(self, n_bytes: float) -> float:
        """Return the estimated tokens of so many bytes."""
        prior = _PRIOR_BYTES / BYTES_PER_TOKEN
        return n_bytes * (self.n_tokens + prior) / (self.n_bytes + _PRIOR_BYTES)


@dataclass(frozen=True, slots=True)
class Size:
    """The parts of a prompt in bytes."""

    tools: int
    system: int
    history: int
    new: int
    growth: int
    """What came since the parent's prompt: its answer and the new messages."""
    has_images: bool
    has_hidden_history: bool
    """Whether it continues a history that only the server has."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.tools + self.system + self.history + self.new

    @property
    def is_measurable(self) -> bool:
        """Whether bytes tell everything."""
        return not self.has_images and not self.has_hidden_history


@dataclass(frozen=True, slots=True)
class Budget:
    """How the prompt of one exchange was made up, in tokens. The four parts add up to ``input_tokens``."""

    tool_tokens: int
    system_tokens: int
    history_tokens: int
    new_tokens: int
    input_tokens: int
    source: Source
    """``exact``: the server counted ``input_tokens``; ``estimated``: the total is ours. The split always is."""
    limit: int | None
    """Tokens of the context, where they are known."""
    truncation: Truncation


def measure(request: Request, first_new: int) -> Size:
    """Measure the parts of a prompt.

    Args:
        request: The request.
        first_new: Index, in the history without the leading system messages, of the first message that no earlier
            exchange has seen.
    """
    leading, history = split_leading(request.messages)
    old, new = history[:first_new], history[first_new:]
    tools = [_json_size(tool.raw) for tool in request.tools]
    new_size = _size(new)
    return Size(
        tools=sum(tools) + TOOLS_BYTES if tools else 0,
        system=_size(leading),
        history=_size(old),
        new=new_size,
        growth=_size(old[-1:]) + new_size,
        has_images=not all(map(_is_text, request.messages)),
        has_hidden_history=request.previous_response_id is not None,
    )


def estimated_tokens(tool: ToolDefinition) -> int:
    """Return the tokens that one tool definition takes in a prompt, by the default ratio: the same for every build."""
    return round(_json_size(tool.raw) / BYTES_PER_TOKEN)


def budget(
    exchange: Exchange,
    size: Size,
    calibration: Calibration,
    *,
    limit: int | None = None,
    parent_input_tokens: int | None = None,
) -> Budget:
    """Return how the context of an exchange was spent.

    Args:
        exchange: The exchange, with its end.
        size: The parts of its prompt.
        calibration: That of the build or model, before this exchange.
        limit: Context of the server in tokens; what the server itself says in an error is better.
        parent_input_tokens: Tokens that the server counted in the prompt of the parent, where that had the same
            system prompt, tools and model, and its prompt and answer open this history.
    """
    counted, told_limit = _counts(exchange)
    limit = told_limit or limit
    estimate = calibration.tokens(size.total)
    total = round(estimate) if counted is None else counted
    tools, system, history, new = _shares(size, total, calibration)
    truncation: Truncation = "none"
    if _is_reported(exchange, limit):
        truncation = "reported"
    elif counted is not None and _is_suspect(size, counted, limit, calibration, parent_input_tokens):
        truncation = "suspected"
    source: Source = "estimated" if counted is None else "exact"
    return Budget(tools, system, history, new, total, source, limit, truncation)


def poisoned(request: Request) -> bool:
    """Say whether the history holds a call whose arguments are no JSON object.

    A model that reads its own malformed call repeats it, and llama.cpp refuses such a history. Calls of custom tools
    hold free text by right.
    """
    calls = (call for message in request.messages for call in message.tool_calls)
    return any(call.origin != "custom" and parse_arguments(call.arguments).value is None for call in calls)


def _counts(exchange: Exchange) -> tuple[int | None, int | None]:
    """Return the tokens that the server counted, and the limit that it named."""
    response = exchange.response
    if response is None:
        return None, None
    error = dict_or_empty(response.error)
    refused, limit = count_or_none(error.get("n_prompt_tokens")), count_or_none(error.get("n_ctx"))
    used = response.usage.input_tokens if response.usage is not None else None
    return (used or refused or None), (limit or None)


def _is_reported(exchange: Exchange, limit: int | None) -> bool:
    response = exchange.response
    if exchange.error_type in _TOO_LONG:
        return True
    if response is None:
        return False
    if response.extra.get("truncated") is True:
        return True
    usage = response.usage
    is_cut = any(choice.finish_reason == "length" for choice in response.choices)
    if not is_cut or limit is None or usage is None:
        return False
    return (usage.input_tokens or 0) + (usage.output_tokens or 0) >= limit


def _is_suspect(
    size: Size, counted: int, limit: int | None, calibration: Calibration, parent_input_tokens: int | None
) -> bool:
    if not size.is_measurable or (limit is not None and counted < NEAR_LIMIT * limit):
        return False
    estimate = calibration.tokens(size.total)
    if limit is not None and calibration.is_sound and estimate >= limit and counted < FAR_BELOW * estimate:
        return True
    growth = calibration.tokens(size.growth)
    return (
        parent_input_tokens is not None
        and growth >= MIN_GROWTH
        and counted < parent_input_tokens + GROWTH_SEEN * growth
    )


def _shares(size: Size, total: int, calibration: Calibration) -> tuple[int, int, int, int]:
    """Split ``total`` by length, to whole tokens that add up."""
    parts = [size.tools, size.system, size.history, size.new]
    if size.has_hidden_history:
        known = [round(calibration.tokens(part)) for part in parts]
        rest = total - known[0] - known[1] - known[3]
        if rest >= 0:
            return known[0], known[1], rest, known[3]
    scale = total / (sum(parts) or 1)
    whole = [int(part * scale) for part in parts]
    largest = max(range(len(parts)), key=parts.__getitem__)
    whole[largest] += total - sum(whole)
    return whole[0], whole[1], whole[2], whole[3]


def _size(messages: Iterable[Message]) -> int:
    """Return the bytes that a template makes of messages; reasoning is what templates leave out."""
    total = 0
    for message in messages:
        total += MESSAGE_BYTES + _bytes(message.text)
        total += sum(_bytes(call.name) + _bytes(call.arguments) for call in message.tool_calls)
        if message.role not in RESULT_ROLES:  # of those the text is the result
            total += sum(_bytes(result.text) for result in message.tool_results)
    return total


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", errors="surrogatepass"))


def _json_size(raw: Mapping[str, Any]) -> int:
    try:
        return _bytes(json_text(raw))
    except RecursionError:
        return 0  # nested as deep as the interpreter could just read; no template renders it


def _is_text(message: Message) -> bool:
    """Say whether text is all that a message holds."""
    if message.raw.get("images"):  # Ollama's own key
        return False
    content = message.raw.get("content")
    parts = content if isinstance(content, list) else []
    kinds = (part.get("type", "text") for part in parts if isinstance(part, dict))
    return all(isinstance(kind, str) and kind in _TEXT_PARTS for kind in kinds)
