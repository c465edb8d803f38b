"""What a made-up dialogue is, and how its exchanges look on the wire; ``dialogues`` and ``weeks`` make them up.

The server is a llama-server that streams; the client gives its own conversation id in a header.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from json import JSONEncoder
from random import Random
from typing import Any, Literal, NamedTuple

from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.gaps import Gap
from tarx_toollog.store.labels import NewLabel
from tarx_toollog.wire.model_facts import ModelFacts
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

Message = dict[str, Any]
Ending = Literal["stop", "tool_calls", "length", "truncated", "disconnected", "error", "refused"]

MODEL = "tarx-7b-q4_k_m"
UPSTREAM = "http://127.0.0.1:11435"
CONTEXT = 32_768
"""Tokens that the server can hold, where it tells."""
CHARACTERS_PER_TOKEN = 3.4

as_json = JSONEncoder(ensure_ascii=False).encode
"""A value as the server and the client write it; the encoder is made once, which takes longer than a short text."""


class Toolset:
    """Tools that are offered together. Compared by identity: there are a few."""

    def __init__(self, tools: Sequence[Message]) -> None:
        self.tools = list(tools)
        self.names = frozenset(tool["function"]["name"] for tool in tools)

    @cached_property
    def size(self) -> int:
        """Characters of them all."""
        return len(as_json(self.tools))


@dataclass(frozen=True, slots=True)
class Asked:
    """One exchange of a dialogue, as it is to be."""

    uid: str
    started_ns: int
    took_ns: int
    new: tuple[Message, ...]
    """What the client adds to the history: a user's message, or results."""
    answer: Message
    """As the server gives it, and as the client sends it back."""
    ending: Ending
    input_tokens: int
    output_tokens: int
    is_spoiled: bool = False
    """Whether the decoder must see it: it ends badly, or a call stands in its text."""
    ran: tuple[ExecutionReport, ...] = ()
    """What the client reports of the tools whose results it sends."""

    @property
    def response_id(self) -> str:
        return f"chatcmpl-{self.uid[-12:]}"

    @property
    def first_ns(self) -> int:
        """Time to the first byte of the answer."""
        return self.took_ns // 4

    @property
    def timings(self) -> dict[str, float]:
        """Return the durations that the server tells, in milliseconds."""
        return {"prompt_ms": self.input_tokens * 0.31, "predicted_ms": self.output_tokens * 21.7}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One dialogue of one user."""

    uid: str
    hint: str
    """The conversation id that the client gives in a header."""
    client_key: str
    system: str
    toolset: Toolset
    asked: tuple[Asked, ...]
    user_agent: str = "TARX-Workbench/1.4"
    labels: tuple[NewLabel, ...] = ()
    """What is said about it when it has ended."""


class Served(NamedTuple):
    """A build that the server had loaded for a time, as probes found it."""

    uid: str
    facts: ModelFacts
    from_at: datetime
    to_at: datetime


class MadeUp(NamedTuple):
    """A log that never was."""

    dialogues: Iterator[Dialogue]
    """In the order in which they begin."""
    toolsets: Sequence[Toolset]
    served: Sequence[Served] = ()
    gaps: Sequence[Gap] = ()


def sample(toolset: Toolset) -> RawExchange:
    """Return an exchange that offers a toolset, and has nothing else of its own."""
    dialogue = Dialogue("", "", "", "", toolset, ())
    answer: Message = {"role": "assistant", "content": "."}
    asked = Asked(uid_at(Random(0), 0), 0, 0, (), answer, "stop", 1, 1)
    return raw_exchange(dialogue, asked, request_body(dialogue, []))


def in_time_order(dialogues: Iterable[Dialogue]) -> Iterator[tuple[Dialogue, Asked]]:
    """Yield the exchanges of dialogues that overlap as a server sees them: one after the other."""
    waiting: list[tuple[int, int, int, Dialogue]] = []  # start and place of the next exchange of each that goes on
    for number, dialogue in enumerate(dialogues):
        yield from _until(waiting, dialogue.asked[0].started_ns)
        heapq.heappush(waiting, (dialogue.asked[0].started_ns, number, 0, dialogue))
    yield from _until(waiting, None)


def _until(waiting: list[tuple[int, int, int, Dialogue]], end_ns: int | None) -> Iterator[tuple[Dialogue, Asked]]:
    while waiting and (end_ns is None or waiting[0][0] < end_ns):
        _, number, place, dialogue = waiting[0]
        yield dialogue, dialogue.asked[place]
        if place + 1 < len(dialogue.asked):
            heapq.heapreplace(waiting, (dialogue.asked[place + 1].started_ns, number, place + 1, dialogue))
        else:
            heapq.heappop(waiting)


def uid_at(random: Random, moment_ns: int) -> str:
    """Return a public id of a moment: what ``ids.uuid7`` makes, from a seed."""
    value = (moment_ns // 10**6) << 80 | 0x7 << 76 | random.getrandbits(12) << 64 | 0b10 << 62 | random.getrandbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def request_body(dialogue: Dialogue, messages: Sequence[Message], *, system: bool = True) -> bytes:
    """Return the body of a request with these messages, and the system message unless that is left out."""
    body = {
        "model": MODEL,
        "temperature": 0.2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [*([{"role": "system", "content": dialogue.system}] if system else []), *messages],
        "tools": dialogue.toolset.tools,
    }
    return as_json(body).encode()


def raw_exchange(dialogue: Dialogue, asked: Asked, body: bytes) -> RawExchange:
    """Return what a tap would have seen of one exchange."""
    begin = Begin(
        uid=asked.uid,
        leg="middleware",
        method="POST",
        path="/v1/chat/completions",
        started_ns=asked.started_ns,
        headers=(("user-agent", dialogue.user_agent),),
        client_key=dialogue.client_key,
        upstream=UPSTREAM,
        conversation_hint=dialogue.hint,
        hint_source="header",
        body_size=len(body),
    )
    error = _error(asked)
    if error is not None:
        data = as_json({"error": error}).encode()
        start = ResponseStart(error["code"], (("content-type", "application/json"),), 0)
    else:
        data, start = answer_body(asked), ResponseStart(200, (("content-type", "text/event-stream"),), 0)
    disconnected = asked.ending == "disconnected"
    end = End(asked.took_ns, final_seen=not disconnected, disconnected=disconnected, body_size=len(data))
    return RawExchange(begin, body, start, (Chunk(asked.first_ns, data),), end)


def _error(asked: Asked) -> dict[str, Any] | None:
    """Return the error that the server answers with, if it does."""
    if asked.ending == "error":
        return {"code": 500, "message": "failed to process the prompt", "type": "server_error"}
    if asked.ending == "refused":
        message = "the request exceeds the available context size"
        counts = {"n_prompt_tokens": asked.input_tokens, "n_ctx": CONTEXT}
        return {"code": 400, "message": message, "type": "exceed_context_size_error", **counts}
    return None


def answer_body(asked: Asked) -> bytes:
    """Return the events of an answer; those of one that broke off end in the middle of the text."""
    delta = dict(asked.answer)
    calls = delta.pop("tool_calls", [])
    if calls:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    chunk = {"id": asked.response_id, "object": "chat.completion.chunk", "model": MODEL}
    events: list[Any] = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}]
    if asked.ending not in ("truncated", "disconnected"):
        events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": asked.ending}]})
        usage = {"prompt_tokens": asked.input_tokens, "completion_tokens": asked.output_tokens}
        events.append({**chunk, "choices": [], "usage": usage, "timings": asked.timings})
    lines = [f"data: {as_json(event)}\n\n" for event in events]
    if len(events) > 1:
        lines.append("data: [DONE]\n\n")
    return "".join(lines).encode()
