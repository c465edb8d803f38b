"""Any log, drawn by hypothesis: dialogues as they might have been, how they get into a database, and what was said.

What is drawn goes over the wire and through the decoder, as everything does that is logged. ``play`` keeps what was
said as it was drawn, so that an export can be held against that and not against our own reading of the log.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from hypothesis import strategies as st

from tarx_toollog.config import Settings
from tarx_toollog.export.example import Split
from tarx_toollog.export.formats.llamafactory import JOIN_RESULTS
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import Chat, call, keep_for, write_log

Calls = list[tuple[str, Any]]
"""Names and arguments."""


class Said(TypedDict):
    """What was said, in no format."""

    messages: list[tuple[str, str, Calls]]
    """Role, text and calls."""
    tools: list[tuple[str, Any]]
    """Names and schemas."""


End = Literal["well", "length", "cut"]
"""Whole; stopped by the limit of tokens; with the connection broken in the middle."""

Told = dict[str, dict[str, Any]]
"""Exchange → ``messages`` with its answer, and ``tools``, as they went over the wire. ``said`` reads them."""


class Kept(NamedTuple):
    """A log that was written."""

    settings: Settings
    told: Told
    plain: list[str]
    """Exchanges that every export of steps has to hold: first answers that say something, and nothing odd."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call that the model made, and what came back."""

    name: str
    arguments: str
    """As the model wrote them: not always JSON."""
    result: str | None = "done"
    """None: the call was never answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the model, and what the user says when it called nothing."""

    text: str
    calls: tuple[Called, ...] = ()
    reply: str = ""
    ends: End = "well"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation from its first message to its last answer."""

    system: str | None
    tools: tuple[dict[str, Any], ...]
    opening: str
    answers: tuple[Answer, ...]
    split: Split = "train"
    is_odd: bool = False
    """Whether there may be something in it that an export leaves out."""


TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "\u2028", "a\u0085b\u2029", "a\r\nb\t", "\x00", "ä𝄞\ufeff", '"', "\\", "\\u0041",
        "null", "true", "1e5", "NaN", "2026-01-01", "2026-01-01T10:00:00Z", "{}", '{"a": [1, ', '["null", 0.7]',
        "</tool_call>", "<tool_call>\n{}\n</tool_call>", "<think>", "</think>", "{{ messages }}",
    ]
)  # fmt: skip
"""What lines, readers that guess types, and templates stumble over."""
KEYS = st.sampled_from(["at", "n", "query", "name", "arguments", ""]) | st.text(max_size=5)
"""Few, so that one argument has other types in other calls."""
NUMBERS = st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
ARGUMENTS = OBJECTS.map(json.dumps) | OBJECTS.map(json.dumps) | st.sampled_from(["", '{"at": 1, "at": [1.0]}'])
RESULTS = TEXTS | OBJECTS.map(json.dumps)
NAMES = ("tarx_recall", "tarx_remember", "clock")
OFFERS: st.SearchStrategy[tuple[str, ...]] = st.sampled_from([(), NAMES[:1], NAMES, NAMES, ("clock", "notes.save")])
"""Not every API takes a name with a dot in it."""
EVERYTHING = Filters(splits=frozenset(get_args(Split)))
"""Also what is kept for evaluation."""
SPLITS: st.SearchStrategy[Split] = st.sampled_from(["train"] * 4 + ["dev", "eval"])

ODD_TEXTS = TEXTS | st.sampled_from(["\ud83d", "<|im_end|>", "<|im_start|>user\n"])
"""With half a character, and with control tokens of the chat template."""
ODD_ARGUMENTS = ARGUMENTS | st.sampled_from(
    ["null", '{"at": ', '["at"]', '{"n": NaN}', '{"n": 1e400}', f'{{"n": {2**64}}}', '{"at": "\\ud83d"}']
)
"""With what is no object, and with numbers that no trainer keeps."""
ODD_RESULTS = RESULTS | st.sampled_from(["error: no such key", '{"error": "busy"}']) | st.none()
ODD_ENDS: st.SearchStrategy[End] = st.sampled_from(["well", "well", "length", "cut"])
ODDITIES = st.sampled_from(["", "", "", "", "texts", "arguments", "results", "names", "ends"])
"""What there is in a dialogue that an export, or a format, has to leave out; mostly nothing."""


@st.composite
def dialogues(draw: st.DrawFn) -> Dialogue:
    """Dialogues of up to four answers, each with up to three calls."""
    odd = draw(ODDITIES)
    texts = ODD_TEXTS if odd == "texts" else TEXTS
    offered = draw(OFFERS)
    calls = st.builds(
        Called,
        st.sampled_from(NAMES if odd == "names" else offered or NAMES),
        ODD_ARGUMENTS if odd == "arguments" else ARGUMENTS,
        ODD_RESULTS if odd == "results" else RESULTS,
    )
    most = 3 if offered or odd == "names" else 0
    ends: st.SearchStrategy[End] = ODD_ENDS if odd == "ends" else st.just("well")
    answers = st.builds(Answer, texts, st.lists(calls, max_size=most).map(tuple), texts, ends)
    return Dialogue(
        system=draw(st.none() | texts),
        tools=tuple(_tool(name, draw(OBJECTS)) for name in offered),
        opening=draw(texts),
        answers=tuple(draw(st.lists(answers, min_size=1, max_size=4))),
        split=draw(SPLITS),
        is_odd=odd != "",
    )


def _tool(name: str, example: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "examples": [example]}
    return {"type": "function", "function": {"name": name, "description": f"{name}.", "parameters": parameters}}


def play(dialogue: Dialogue, name: str, start_s: int) -> tuple[Chat, Told]:
    """Hold a dialogue with a model; return it, and all messages up to the end of each exchange."""
    chat = Chat(name, start_s=start_s, tools=list(dialogue.tools))
    chat.messages = [] if dialogue.system is None else [{"role": "system", "content": dialogue.system}]
    chat.user(dialogue.opening)
    told: dict[str, dict[str, Any]] = {}
    for number, answer in enumerate(dialogue.answers):
        ids = [f"c{number}_{place}" for place in range(len(answer.calls))]
        calls = [call(one.name, one.arguments, call_id) for one, call_id in zip(answer.calls, ids, strict=True)]
        finish = "length" if answer.ends == "length" else None
        chat.answer(answer.text, *calls, finish=finish, cut=answer.ends == "cut")
        told[chat.exchanges[-1].uid] = {"messages": list(chat.messages), "tools": list(dialogue.tools)}
        for one, call_id in zip(answer.calls, ids, strict=True):
            if one.result is not None:
                chat.result(one.result, call_id)
        if not answer.calls:
            chat.user(answer.reply)
    return chat, told


def keep(given: Sequence[Dialogue], path: Path) -> Kept:
    """Write dialogues into a new database."""
    played = [play(dialogue, f"chat {number}", number * 100) for number, dialogue in enumerate(given)]
    settings = write_log(path, *(chat for chat, _ in played))
    with ToolLog.open(settings=settings, read_only=False) as log:
        found = log.query("SELECT uid FROM conversation ORDER BY id").rows
        for (uid,), dialogue in zip(found, given, strict=True):
            keep_for(log, dialogue.split, uid)
    plain = [
        chat.exchanges[0].uid
        for (chat, _), dialogue in zip(played, given, strict=True)
        if not dialogue.is_odd and (dialogue.answers[0].text.strip() or dialogue.answers[0].calls)
    ]
    return Kept(settings, {uid: row for _, told in played for uid, row in told.items()}, plain)


def said(row: Mapping[str, Any]) -> Said:
    """Return what the messages of a row say, and the functions that it offers, without the form they have.

    Args:
        row: ``messages``, or ``prompt`` and ``completion``, or ``conversations`` with ``system``; and ``tools``, as a
            list or as a string of JSON.
    """
    tools = row.get("tools") or []
    return {
        "messages": _turns(row) if "conversations" in row else [*map(_message, _messages(row))],
        "tools": [
            (one["function"]["name"], one["function"]["parameters"])
            for one in (json.loads(tools) if isinstance(tools, str) else tools)
        ],
    }


def _messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return row["messages"] if "messages" in row else [*row["prompt"], *row["completion"]]


def _message(message: Mapping[str, Any]) -> tuple[str, str, Calls]:
    functions = [made["function"] for made in message.get("tool_calls") or ()]
    calls = [(one["name"], _arguments(one["arguments"])) for one in functions]
    return message["role"], message.get("content") or "", calls


def _arguments(value: Any) -> Any:
    return json.loads(value or "{}") if isinstance(value, str) else value


_ROLES = {"human": "user", "gpt": "assistant", "observation": "tool"}


def _turns(row: Mapping[str, Any]) -> list[tuple[str, str, Calls]]:
    messages: list[tuple[str, str, Calls]] = [("system", row["system"], [])] if row["system"] else []
    for turn in row["conversations"]:
        if turn["from"] == "function_call":
            messages.append(("assistant", *_words_and_calls(turn["value"])))
        else:
            messages.append((_ROLES[turn["from"]], turn["value"], []))
    return messages


def _words_and_calls(text: str) -> tuple[str, Calls]:
    words, tag, inner = text.rpartition("<tool_call>\n")
    value = json.loads(inner.removesuffix("\n</tool_call>") if tag else text)
    return words[:-1], [(one["name"], one["arguments"]) for one in (value if isinstance(value, list) else [value])]


def as_turns(told: Said) -> Said:
    """Return what was said as LLaMA-Factory has it: results of calls made at once in one, no empty system prompt."""
    messages: list[tuple[str, str, Calls]] = []
    for role, text, calls in told["messages"]:
        if role == "tool" == messages[-1][0]:
            messages[-1] = (role, messages[-1][1] + JOIN_RESULTS + text, [])
        elif (role, text) != ("system", ""):
            messages.append((role, text, calls))
    return {**told, "messages": messages}


def typed(value: Any) -> str:
    """Return JSON: 1, 1.0 and true are equal in Python, and so are objects whose keys have another order."""
    return json.dumps(value)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects in a JSONL file."""
    # Not splitlines: U+2028 and its like are no ends of lines in JSONL.
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n") if line]
