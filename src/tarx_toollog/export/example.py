"""What the stages of an export hand to each other: examples on the way in, rows on the way out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from tarx_toollog.canonical import bytes_hash

Message = dict[str, Any]
"""A message in the one form that chat templates agree on (``export.normalise``)."""

Split = Literal["train", "dev", "eval"]
Task = Literal["sft", "dpo", "kto"]
Unit = Literal["step", "trajectory"]
Source = Literal["tool", "chat", "summary", "identity", "synthetic"]
TokensFrom = Literal["usage", "server", "estimate"]


REASONING_LEFT_OUT = "reasoning_left_out"
"""Note on an example whose answer is shorter than what the model generated, and the server counted."""


class Dropped(Exception):
    """This example is left out; ``reason`` is a key of ``export.reasons.REASONS``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class Piece:
    """A JSON value and its text. Made once, and shared by all the examples that hold it.

    The steps of a dialogue repeat its history, so that most of what is written has been written before.

    Raises:
        UnicodeEncodeError: It holds half a character.
        ValueError: It holds NaN or Infinity, which JSON cannot write.
    """

    __slots__ = ("_digest", "size", "text", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        """Not to be changed."""
        self.text = _write(value)
        self.size = len(self.text.encode())
        """Bytes of the text."""
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """Content hash of the text. The order of keys counts: a template shows the model that order."""
        if self._digest is None:
            self._digest = bytes_hash("piece", self.text.encode())
        return self._digest


class Origin(NamedTuple):
    """Where an example comes from: a step of the log, or a line of a file that was read in."""

    exchange_uid: str | None = None
    conversation_uid: str | None = None
    turn_no: int | None = None
    step_no: int | None = None
    file: str | None = None
    """Name of the file, without its folder."""
    line: int | None = None
    """From 1."""
    exchange_id: int | None = None
    """Internal key of the exchange."""
    started_at: float | None = None
    """When the exchange began, in seconds since 1970."""


class LearnedStep(NamedTuple):
    """One of the logged answers that a dialogue is learned from."""

    place: int
    """Of its message."""
    origin: Origin
    output_tokens: int | None
    """Tokens of the answer, as the server counted them; None where it counted another text, or nothing."""


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn, in canonical form."""

    messages: tuple[Piece, ...]
    """The last one is what to learn; everything before it is what the model sees."""
    tools: Piece | None
    """List of the offered functions; None when there were none."""
    source: Source
    origin: Origin
    targets: tuple[int, ...] = ()
    """Places of the messages to learn; empty: the last one alone."""
    steps: tuple[LearnedStep, ...] = ()
    """Of a logged dialogue: the step behind each target. The last is the one of ``origin``."""
    rejected: Piece | None = None
    """For ``dpo``: the answer that is worse than the last message."""
    label: bool | None = None
    """For ``kto``: whether the last message is a good answer."""
    input_tokens: int | None = None
    """Tokens of everything before the answer, as the server counted them."""
    output_tokens: int | None = None
    """Tokens of the answer, as the server counted them."""
    registry: Split | None = None
    """What its conversation is kept for; None for what was read from a file."""
    quality: float = 0.0
    """Of several that are nearly the same, the one with the highest is kept: the sum of what people said."""
    cluster: str | None = None
    """Name of a group that must not be torn apart by a split: the paraphrases of one question, for example."""
    notes: tuple[str, ...] = ()
    """What was left out of it: ``REASONING_LEFT_OUT`` …"""

    @property
    def hash(self) -> bytes:
        """Content hash of what is learned, and from what: where it comes from is not part of it."""
        said = [piece.digest for piece in self.messages]
        others = [b"" if piece is None else piece.digest for piece in (self.tools, self.rejected)]
        learned = f"{self.targets or (len(self.messages) - 1,)} {self.label}".encode()
        return bytes_hash("example", b"\0".join([*said, *others, learned]))


@dataclass(frozen=True, slots=True)
class Refused:
    """A step, or a line of a file, that cannot become an example."""

    source: Source
    origin: Origin
    reason: str
    """A key of ``export.reasons.REASONS``."""


@dataclass(frozen=True)
class Row:
    """One example as a format gets it: decided, measured, and in its final text. JSON texts are read on demand."""

    example_id: str
    """Content hash of what is learned, in hex."""
    split: Split
    source: Source
    prompt_text: str
    """JSON list: every message but the last."""
    answer_text: str
    """JSON object: the last message, an answer of the model."""
    tools_text: str | None
    """JSON list of the offered functions; None when there were none."""
    n_tokens: int
    """Tokens of prompt and answer together."""
    n_trained_tokens: int
    """Tokens of what is learned."""
    tokens_from: TokensFrom
    targets: tuple[int, ...] = ()
    """Places of the messages to learn; empty: the last one alone."""
    rejected_text: str | None = None
    """For ``dpo``: JSON object of the worse answer."""
    label: bool | None = None
    """For ``kto``."""

    @cached_property
    def prompt(self) -> list[Message]:
        """Every message but the last."""
        value: list[Message] = json.loads(self.prompt_text)
        return value

    @cached_property
    def answer(self) -> Message:
        """The last message."""
        value: Message = json.loads(self.answer_text)
        return value

    @cached_property
    def rejected(self) -> Message | None:
        """For ``dpo``: the worse answer."""
        return None if self.rejected_text is None else json.loads(self.rejected_text)

    @cached_property
    def tools(self) -> list[dict[str, Any]]:
        """The offered functions; an empty list when there were none."""
        return [] if self.tools_text is None else json.loads(self.tools_text)

    @property
    def messages(self) -> list[Message]:
        """All messages; the last is the answer."""
        return [*self.prompt, self.answer]

    @property
    def messages_text(self) -> str:
        """JSON list of all messages, made without reading them."""
        return f"[{self.answer_text}]" if self.prompt_text == "[]" else f"{self.prompt_text[:-1]}, {self.answer_text}]"

    @property
    def is_only_last_learned(self) -> bool:
        """Whether the last message, and nothing else, is to be learned."""
        return not self.targets or self.targets == (len(self.prompt),)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written, in figures that configurations need."""

    rows: Mapping[Split, int]
    """Lines by split; a split without lines is absent."""
    max_tokens: int
    """Tokens of the longest row."""
    trained_tokens: int
    """Tokens to learn in the training split, repetitions included."""
