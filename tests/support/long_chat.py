"""A chat of thirty model calls, and what clients do to the history that they send back."""

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from tarx_toollog.wire.raw import RawExchange
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, system, user

Message = dict[str, Any]
Rewrite = Callable[[list[Message], int], list[Message]]
"""Takes the whole history and the number of the request; returns what the client sends."""

CALLS_PER_TURN = 2
WINDOW = 7  # messages that a sliding window keeps
SUMMARY_FROM = 12  # request from which on a client sends a summary of the first messages
QUESTIONS = ("Where does {} live?", "What does {} eat?", "Who is {} related to?", "When was {} here?", "Is {} at home?")
PEOPLE = ("Ana", "Björn", "Chloé", "Dmitri", "Eun-ji", "Farid", "Grace", "Hugo", "Inès", "Jörg")


def call_id(*parts: object) -> str:
    """Return an id as llama.cpp makes them: 32 letters and digits."""
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def long_chat(name: str = "chat", exchanges: int = 30) -> list[tuple[list[Message], Message]]:
    """Return, for each request, the whole history and the answer: turns of two calls and a text."""
    history: list[Message] = [system("You are a careful assistant. Today is Monday.")]
    made = []
    for number in range(exchanges):
        turn, step = divmod(number, CALLS_PER_TURN + 1)
        person = PEOPLE[turn % len(PEOPLE)]
        if step == 0:
            history = [*history, user(f"{QUESTIONS[turn % len(QUESTIONS)].format(person)} ")]
        if step < CALLS_PER_TURN:
            tool = ("tarx_recall", "tarx_remember")[step]
            arguments = {"key": person, "value": f"note {number}"} if step else {"query": f"{person}, {turn}"}
            made_id = call_id(name, number)
            answer = assistant(None, call(tool, arguments, made_id))
            follows = [result(made_id, {"facts": {person: f"known since {number}"}})]
        else:
            answer, follows = assistant(f"\n{person} is fine, as note {number - 1} says. "), []
        answer["reasoning_content"] = f"The user asks about {person}; step {step}."
        made.append((history, answer))
        history = [*history, answer, *follows]
    return made


def _each(change: Callable[[Message, int], Message]) -> Rewrite:
    return lambda history, number: [change(message, number) for message in history]


def _null_to_empty(message: Message, _: int) -> Message:
    return {**message, "content": message["content"] or ""}


def _arguments_again(message: Message, _: int) -> Message:
    calls = [
        {**made, "function": {**made["function"], "arguments": _compact(made["function"]["arguments"])}}
        for made in message.get("tool_calls", ())
    ]
    return {**message, "tool_calls": calls} if calls else message


def _compact(arguments: str) -> str:
    return json.dumps(json.loads(arguments), separators=(",", ":"), sort_keys=True)


def _new_ids(message: Message, number: int) -> Message:
    message = dict(message)
    if "tool_calls" in message:
        message["tool_calls"] = [{**made, "id": f"call_{number}_{made['id'][:6]}"} for made in message["tool_calls"]]
    if "tool_call_id" in message:
        message["tool_call_id"] = f"call_{number}_{message['tool_call_id'][:6]}"
    return message


def _date(message: Message, number: int) -> Message:
    if message["role"] != "system":
        return message
    return {**message, "content": f"You are a careful assistant. It is 09:{number:02}."}


def _no_reasoning(message: Message, _: int) -> Message:
    return {key: value for key, value in message.items() if key != "reasoning_content"}


def _parts(message: Message, _: int) -> Message:
    if not isinstance(message["content"], str):
        return message
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def _trimmed(message: Message, _: int) -> Message:
    return {**message, "content": message["content"].strip()} if isinstance(message["content"], str) else message


def sliding_window(history: list[Message], number: int) -> list[Message]:
    """Keep the system message and the latest messages; cut results whose call is gone, as clients must."""
    kept = history[1:][-WINDOW:]
    while kept and kept[0]["role"] == "tool":
        kept = kept[1:]
    return [history[0], *kept]


def compaction(history: list[Message], number: int) -> list[Message]:
    """Replace all but the latest messages by a summary, from one request on."""
    if number < SUMMARY_FROM:
        return history
    kept = sliding_window(history, number)[1:]
    return [history[0], user(f"Summary of {len(history) - len(kept)} messages: we talked about people."), *kept]


def clearing(history: list[Message], number: int) -> list[Message]:
    """Clear all results but the latest."""
    places = [place for place, message in enumerate(history) if message["role"] == "tool"]
    return [
        {**message, "content": "[cleared]"} if place in places[:-1] else message
        for place, message in enumerate(history)
    ]


REWRITES: dict[str, Rewrite] = {
    "none": lambda history, number: history,
    '`content` null → ""': _each(_null_to_empty),
    "arguments re-serialised": _each(_arguments_again),
    "ids rewritten each turn": _each(_new_ids),
    "date in system prompt": _each(_date),
    "reasoning dropped": _each(_no_reasoning),
    "string → parts": _each(_parts),
    "whitespace trimmed": _each(_trimmed),
    "sliding window": sliding_window,
    "compaction": compaction,
    "old results cleared": clearing,
}
"""What the clients of the field do, each named as the pages name it."""


def rewritten(rewrites: Sequence[Rewrite], name: str = "chat", **options: Any) -> list[RawExchange]:
    """Return the thirty exchanges of a client that does all of these to its history, one after the other."""
    raws = []
    for number, (history, answer) in enumerate(long_chat(name)):
        sent = history
        for rewrite in rewrites:
            sent = rewrite(sent, number)
        raws.append(raw_exchange(sent, answer, **{"tools": TOOLS, "at_s": number * 5.0, **options}))
    return raws
