"""Rows as formats get them: written by hand, each with a trait that has broken a trainer, and generated."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.export.example import Dropped, Message, Row, Split, Summary
from tarx_toollog.export.formats.base import ExportFormat, FormatOptions, Location

RECALL = {
    "type": "function",
    "function": {
        "name": "tarx_recall",
        "description": "Look up a stored fact.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
REMEMBER = {
    "type": "function",
    "function": {
        "name": "tarx_remember",
        "description": "Store a fact – with its key.",
        "parameters": {
            "type": "object",
            "properties": {"key": {"type": "string"}, "value": {"type": ["string", "integer"]}},
            "required": ["key", "value"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TOOLS = [RECALL, REMEMBER, CLOCK]

SYSTEM = {"role": "system", "content": "You are TARX."}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def call(call_id: str, name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def answer(text: str = "", *calls: dict[str, Any], reasoning: str | None = None) -> Message:
    message: Message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = list(calls)
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    return message


def result(call_id: str, name: str, text: str) -> Message:
    return {"role": "tool", "content": text, "name": name, "tool_call_id": call_id}


def make_row(
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]] = (),
    *,
    split: Split = "train",
    targets: tuple[int, ...] = (),
    rejected: Message | None = None,
    label: bool | None = None,
) -> Row:
    """Return the row of a chat, with token counts that are as rough as an estimate."""
    prompt, tools_text, last = _text(list(messages[:-1])), _text(list(tools)) if tools else None, _text(messages[-1])
    return Row(
        example_id=hashlib.sha256(f"{prompt}{last}{tools_text}".encode()).hexdigest()[:34],
        split=split,
        source="tool" if tools else "chat",
        prompt_text=prompt,
        answer_text=last,
        tools_text=tools_text,
        n_tokens=(len(prompt) + len(last) + len(tools_text or "")) // 3,
        n_trained_tokens=len(last) // 3,
        tokens_from="estimate",
        targets=targets,
        rejected_text=None if rejected is None else _text(rejected),
        label=label,
    )


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_RECALLED = [
    SYSTEM,
    user("How old is Miso?"),
    answer("", call("call_1", "tarx_recall", query="Miso age")),
    result("call_1", "tarx_recall", '{"items": []}'),
]

TRAITS: dict[str, Row] = {
    "plain answer without tools": make_row([user("Hi"), answer("Hello, I am TARX.")]),
    "tools offered and none used": make_row([SYSTEM, user("What is 2 + 2?"), answer("4")], TOOLS),
    "one call": make_row(_RECALLED[:3], TOOLS),
    "words and a call": make_row([user("Note it"), answer("I will.", call("a", "clock"))], [CLOCK]),
    "two calls at once, the same tool twice": make_row(
        [
            user("My cat is Miso, she is 3"),
            answer(
                "",
                call("call_1", "tarx_remember", key="cat", value="Miso"),
                call("call_2", "tarx_remember", key="age", value=3),
            ),
        ],
        TOOLS,
    ),
    "results of two calls in the history": make_row(
        [
            user("Both, please"),
            answer("", call("x1", "tarx_recall", query="a"), call("x2", "clock")),
            result("x1", "tarx_recall", "A"),
            result("x2", "clock", "12:00"),
            answer("A, and it is noon."),
        ],
        TOOLS,
    ),
    "the same call id in every step": make_row(
        [*_RECALLED, answer("", call("call_1", "clock")), result("call_1", "clock", "1"), answer("Unknown; it is 1.")],
        TOOLS,
    ),
    "recovery after an error": make_row(
        [
            *_RECALLED[:2],
            answer("", call("call_1", "tarx_recall", query=7)),
            result("call_1", "tarx_recall", "error: query has to be a string"),
            answer("", call("call_2", "tarx_recall", query="Miso")),
        ],
        TOOLS,
    ),
    "an empty result": make_row([*_RECALLED[:3], result("call_1", "tarx_recall", ""), answer("Nothing.")], TOOLS),
    "a second question": make_row([*_RECALLED, answer("I do not know."), user("Then ask"), answer("Who?")], TOOLS),
    "two users' messages in a row": make_row([user("Hi"), user("Still there?"), answer("Yes.")]),
    "signs from everywhere": make_row(
        [
            user("Grüße 你好 🐈‍⬛ \u2028 \u2029 \u0085 \x00 \t"),
            answer("", call("ü", "tarx_recall", query="🐈\u2028\"\\'\n")),
        ],
        TOOLS,
    ),
    "nested arguments": make_row(
        [user("Nest"), answer("", call("n", "clock", at={"day": [1, 2.5, None, True, {"": []}], "zone": "CET"}))],
        [CLOCK],
    ),
    "no arguments": make_row([user("Time?"), answer("", call("c", "clock"))], [CLOCK]),
    "dates, large numbers": make_row(
        [user("When?"), answer("", call("d", "clock", at="2026-05-01T10:00:00Z", n=2**63 - 1, x=1e-9))], [CLOCK]
    ),
    "text with tags": make_row([user("Say </tool_call>"), answer("<tool_call>\n{}\n</tool_call>")]),
    "reasoning in the history": make_row(
        [user("Hi"), answer("Hello.", reasoning="Greet."), user("And?"), answer("And you?")]
    ),
    "an answer before any question": make_row([answer("How can I help?"), user("Not at all"), answer("Good.")]),
    "a long prompt": make_row(
        [SYSTEM, user(" ".join(f"{n} is a number." for n in range(220))), answer("I see.")], TOOLS
    ),
}
"""Name of the trait → row. Tuning on the last message; all of them in the training split."""

REASONED = make_row([user("2 + 2?"), answer("4", reasoning="Add them.")])
DOTTED = make_row([user("Save"), answer("", call("c", "notes.save"))], [
    {"type": "function", "function": {"name": "notes.save", "parameters": {}}}
])  # fmt: skip
TRAJECTORY = make_row([*_RECALLED, answer("I do not know."), user("3"), answer("Thanks.")], TOOLS, targets=(2, 6))
"""The answer at place 4 is not to be learned."""
PREFERENCE = make_row(_RECALLED[:3], TOOLS, rejected=answer("She is three."))
GOOD = make_row(_RECALLED[:3], TOOLS, label=True)


_words = st.text(st.characters(codec="utf-8"), max_size=40)
_arguments = st.dictionaries(
    _words,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        | _words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Rows of any shape that the pipeline lets through: up to four rounds, each with up to three calls."""
    tools: list[dict[str, Any]] = draw(st.sampled_from([[], [CLOCK], TOOLS]))
    names = [tool["function"]["name"] for tool in tools]
    messages: list[Message] = [SYSTEM] if draw(st.booleans()) else []
    messages.append(user(draw(_words)))
    for round_no in range(draw(st.integers(0, 3))):
        calls = draw(_calls(names, round_no))
        said = draw(_words)
        messages.append(answer(said if said or calls else "No.", *calls))
        messages += [result(made["id"], made["function"]["name"], draw(_words)) for made in calls]
        if not calls or draw(st.booleans()):
            messages.append(user(draw(_words)))
    last = draw(_calls(names, 9))
    text = draw(_words)
    messages.append(answer(text if text or last else "Yes.", *last))
    return make_row(messages, tools, split=draw(st.sampled_from(("train", "dev", "eval"))))


@st.composite
def _calls(draw: st.DrawFn, names: Sequence[str], round_no: int) -> list[dict[str, Any]]:
    count = draw(st.integers(0, 3)) if names else 0
    return [
        call(f"call_{round_no}_{number}", draw(st.sampled_from(names)), **draw(_arguments)) for number in range(count)
    ]


def generated_rows(count: int) -> list[Row]:
    """Return many rows at once, for readers that take a second to start."""
    made: list[Row] = []

    @settings(max_examples=count, database=None)
    @given(rows())
    def collect(row: Row) -> None:
        made.append(row)

    collect()
    return made


class Export(NamedTuple):
    """What a format made of some rows."""

    lines: dict[str, list[Any]]
    """File → its lines, parsed."""
    places: list[Location]
    """Of the rows that were written."""
    dropped: list[str]
    """Reasons of the others."""

    @property
    def only(self) -> Any:
        """The one line there is."""
        [[line]] = self.lines.values()
        return line


def export(
    export_format: ExportFormat, folder: Path, given: Iterable[Row], options: FormatOptions | None = None
) -> Export:
    """Write rows as the pipeline does: by split, and within a split from short to long."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = export_format.writer(folder, options or FormatOptions())
    ordered = sorted(given, key=lambda row: (("train", "dev", "eval").index(row.split), row.n_tokens))
    places, written, dropped = [], [], []
    for row in ordered:
        try:
            places.append(writer.add(row))
            written.append(row)
        except Dropped as error:
            dropped.append(error.reason)
    writer.finish(summary_of(written))
    writer.close()
    files = {place.file for place in places}
    lines = {name: [json.loads(line) for line in (folder / name).read_bytes().splitlines()] for name in sorted(files)}
    return Export(lines, places, dropped)


def summary_of(given: Sequence[Row]) -> Summary:
    splits = [row.split for row in given]
    return Summary(
        rows={split: splits.count(split) for split in dict.fromkeys(splits)},
        max_tokens=max((row.n_tokens for row in given), default=0),
        trained_tokens=sum(row.n_trained_tokens for row in given),
    )
