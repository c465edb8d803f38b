"""Cases that scorers of tool calls get wrong: what was expected, what a model did, and the sensible verdict.

``peers`` are the verdicts of agentevals (strict / unordered / superset), deepeval 4.3.1 (default / ordered), ragas
0.4.3 (accuracy, strict / F1) and of the action check of tau2, on a case of the same shape; arguments compared, their
scoring functions called directly. T and F are match and no match; None: the case is ours alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Sensible = Literal["pass", "soft", "fail"]
Args = Mapping[str, Any]
Calls = Sequence[tuple[str, Any]]
"""Name and arguments; arguments that are text stand on the wire as they are."""


@dataclass(frozen=True)
class ScoringCase:
    """One case. Of a turn with one message the step is scored, of a longer one the chain."""

    name: str
    sensible: Sensible
    code: str | None
    """Our primary failure code; None where nothing is wrong."""
    expected: Sequence[Calls]
    made: Sequence[Calls]
    peers: tuple[str, str, str, str] | None = None
    needs: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Place of an expected call → places of those whose results it uses."""
    text: str | None = None
    finish_reason: str | None = None
    leaked: bool = False


def _schema(properties: Args, *required: str) -> Args:
    return {"type": "object", "properties": properties, "required": list(required)}


TOOLS: Mapping[str, Args] = {
    "add": _schema({"a": {"type": "number"}, "b": {"type": "number"}}, "a", "b"),
    "find": _schema({"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}}, "query"),
    "read_note": _schema({"id": {"type": "integer"}}, "id"),
    "set_mode": _schema({"mode": {"type": "string", "enum": ["fast", "safe"]}, "note": {"type": "string"}}, "mode"),
    "remind": _schema({"at": {"type": "string", "format": "date-time"}, "text": {"type": "string"}}, "at"),
    "tag": _schema({"tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}}, "tags"),
    "plan": _schema({"stops": {"type": "array", "items": {"type": "string"}}}, "stops"),
    "book": _schema({"id": {"type": "integer"}}, "id"),
    "send": _schema({"text": {"type": "string"}}, "text"),
    "calculate": _schema({"formula": {"type": "string"}}, "formula"),
    "run": _schema({"command": {"type": "string"}}, "command"),
    "phone": _schema({"number": {"type": "string"}}, "number"),
    "search": _schema(
        {
            "within": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"days": {"type": "integer", "default": 7}, "of": {"type": "string"}},
                    },
                    {"type": "null"},
                ],
                "default": None,
            }
        }
    ),
}
ONE, TWO = ("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})
FIND, FIND_TOO = ("find", {"query": "cats"}), ("find", {"query": "dogs"})
MEMO = "The user's cat Miez is 3 years old and eats fish on Fridays"
BOOK, SEND = ("book", {"id": 7}), ("send", {"text": "booked"})


def one(name: str, sensible: Sensible, code: str | None, expected: Calls, made: Calls, *peers: str) -> ScoringCase:
    """Return a case of one message."""
    of = None if not peers else (peers[0], peers[1], peers[2], peers[3])
    return ScoringCase(name, sensible, code, [expected], [made], of)


CASES = (
    one("5 for 5.0, a number", "pass", None, [("add", {"a": 5.0, "b": 1})], [("add", {"a": 5, "b": 1})],
        "T T T", "1 / 1", "0 / 1", "T"),
    one("\"5\" for 5, an integer", "soft", "arg_type_coerced", [("read_note", {"id": 5})],
        [("read_note", {"id": "5"})], "F F F", "0 / 0", "1 / 0", "F"),
    one("the default of the schema written out", "pass", None, [FIND], [("find", {"query": "cats", "limit": 5})],
        "F F F", ".5 / .5", "1 / 0", "F"),
    one("parallel calls in another order", "pass", None, [ONE, TWO], [TWO, ONE], "T T T", "1 / .5", "0 / 1", "T"),
    one("two identical calls expected, two made", "pass", None, [ONE, ONE], [ONE, ONE],
        "T T T", ".5 / 1", "1 / 1", "T"),
    one("two identical calls expected, one made", "fail", "missing_call", [ONE, ONE], [ONE],
        "F F F", ".5 / .5", "0 / 1", "T"),
    one("a call made twice", "fail", "extra_call", [ONE], [ONE, ONE], "F F T", "1 / 1", "0 / 1", "T"),
    one("a required argument is missing", "fail", "missing_required", [ONE], [("add", {"a": 1})],
        "F F F", ".5 / .5", ".5 / 0", "T"),
    one("a call without arguments", "fail", "missing_required", [ONE], [("add", {})],
        "F F F", "0 / 0", "0 / 0", "T"),
    one("an argument that the tool does not have", "fail", "unknown_arg", [ONE],
        [("add", {"a": 1, "b": 2, "unit": "m"})], "F F F", ".5 / .5", "1 / 0", "F"),
    ScoringCase("nothing expected, nothing called", "pass", None, [[]], [[]], ("T T T", "1 / 1", "1 / 0", "T"),
                text="Hello."),
    one("the right call, and one of a tool that was not offered", "fail", "hallucinated_tool", [ONE],
        [ONE, ("format_disk", {})], "F F T", "1 / 1", "0 / .67", "T"),
    ScoringCase("a chain in the wrong order", "fail", "wrong_order", [[BOOK], [SEND]], [[SEND], [BOOK]],
                ("F T T", "1 / .5", "0 / 1", "T")),
    one("arguments that are no JSON", "fail", "malformed_json", [ONE], [("add", "{a: 1, b: 2")],
        "all three raise", "–", "–", "–"),
    one("true for 1", "fail", "arg_type", [("read_note", {"id": 1})], [("read_note", {"id": True})]),
    one("a long id, one off in its last digit", "fail", "arg_value", [("read_note", {"id": 2**62})],
        [("read_note", {"id": 2**62 + 1})]),
    one("5 for -5 as text", "fail", "arg_value", [("find", {"query": "-5"})], [("find", {"query": "5"})]),
    one("an allowed value in other letters", "soft", "arg_enum_case", [("set_mode", {"mode": "fast"})],
        [("set_mode", {"mode": "Fast"})]),
    one("a value that is not allowed", "fail", "arg_enum", [("set_mode", {"mode": "fast"})],
        [("set_mode", {"mode": "quick"})]),
    one("the same moment in another zone", "pass", None, [("remind", {"at": "2026-11-23T10:00:00Z"})],
        [("remind", {"at": "2026-11-23T11:00:00+01:00"})]),
    one("null for what was left out", "soft", "arg_extra", [("set_mode", {"mode": "safe"})],
        [("set_mode", {"mode": "safe", "note": None})]),
    one("a set in another order", "pass", None, [("tag", {"tags": ["a", "b"]})], [("tag", {"tags": ["b", "a"]})]),
    one("a route in another order", "fail", "arg_value", [("plan", {"stops": ["A", "B"]})],
        [("plan", {"stops": ["B", "A"]})]),
    one("a memo in other words", "soft", "arg_other_words", [("send", {"text": MEMO})],
        [("send", {"text": "Miez, the cat of the user, is 3 years old and on Fridays eats fish"})]),
    one("a memo with another number", "fail", "arg_value", [("send", {"text": MEMO})],
        [("send", {"text": MEMO.replace("3", "4")})]),
    one("a memo that says the opposite", "fail", "arg_value", [("send", {"text": MEMO})],
        [("send", {"text": MEMO.replace("eats", "never eats")})]),
    one("a formula in other spaces", "pass", None, [("calculate", {"formula": "(12 + 7) * 3"})],
        [("calculate", {"formula": "(12+7)*3"})]),
    one("a formula with another operator", "fail", "arg_value", [("calculate", {"formula": "12 + 7"})],
        [("calculate", {"formula": "12 * 7"})]),
    one("an option of a command in other letters", "fail", "arg_value", [("run", {"command": "tar -X list"})],
        [("run", {"command": "tar -x list"})]),
    one("a phone number as a number", "fail", "arg_type", [("phone", {"number": "+4930123456"})],
        [("phone", {"number": 4930123456})]),
    one("a default within an object that may be null, written out", "pass", None,
        [("search", {"within": {"of": "mail"}})], [("search", {"within": {"of": "mail", "days": 7}})]),
    ScoringCase("only reasoning, where an answer is expected", "fail", "empty_answer", [[]], [[]],
                text="<think>The user says hello. I should greet.</think>"),
    ScoringCase("an answer in text where a call is expected", "fail", "missing_call", [[FIND]], [[]],
                text="I think cats are fine."),
    ScoringCase("a refusal where a call is expected", "fail", "refused", [[FIND]], [[]],
                text="I'm sorry, but I can't search the web."),
    ScoringCase("a question back where a call is expected", "fail", "asked_instead", [[FIND]], [[]],
                text="Sure! What would you like to know about cats?"),
    ScoringCase("a call where an answer in text is expected", "fail", "unneeded_call", [[]], [[FIND]]),
    ScoringCase("the right call, written into the text", "fail", "unparsed_tool_call", [[FIND]], [[FIND]],
                leaked=True, text="<tool_call>…</tool_call>"),
    ScoringCase("cut off by the token limit", "fail", "truncated", [[FIND]], [[("find", '{"query": "ca')]],
                finish_reason="length"),
    ScoringCase("two questions at once that were asked one by one", "pass", None, [[FIND], [FIND_TOO]],
                [[FIND, FIND_TOO]]),
    ScoringCase("a question asked again", "soft", "redundant_call", [[FIND], [SEND]], [[FIND], [FIND], [SEND]]),
    ScoringCase("an order placed again", "fail", "extra_call", [[BOOK], [SEND]], [[BOOK], [BOOK], [SEND]]),
    ScoringCase("two orders that were placed at once, the other way round", "pass", None, [[FIND], [BOOK, SEND]],
                [[FIND], [SEND, BOOK]]),
    ScoringCase("a result used before it was there", "fail", "wrong_order", [[FIND], [BOOK]], [[FIND, BOOK]],
                needs={1: [0]}),
)  # fmt: skip
