"""The order in which exchanges reach the store, begun and finished, does not change what they are linked to."""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.builders import START_NS, TOOLS, assistant, call, raw_exchange, result, system, user
from tests.support.long_chat import REWRITES, long_chat

Message = dict[str, Any]
NAMED: dict[str, Any] = {"conversation_hint": "h", "hint_source": "header"}


class Seen(NamedTuple):
    """An exchange as begun and as finished."""

    begun: Exchange
    finished: Exchange


class Script:
    """Exchanges in the order of time; uids count up with it."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def add(self, raw: Callable[..., RawExchange], *arguments: Any, **options: Any) -> None:
        number = len(self.seen)
        options |= {"uid": f"01a20000-0000-7000-8000-{number:012}", "at_s": number * 2.0}
        whole = raw(*arguments, **options)
        begun = RawExchange(whole.begin, whole.request_body, None, (), None)
        self.seen.append(Seen(decode(begun, open_ended=True), decode(whole)))

    def chat(self, messages: list[Message], answer: Message | None, **options: Any) -> None:
        self.add(raw_exchange, messages, answer, **{"tools": TOOLS, **options})


def recall(call_id: str, query: str = "city") -> Message:
    return assistant("", call("tarx_recall", {"query": query}, call_id))


def plain() -> Script:
    """Two turns of one dialogue, the first with two calls; another time in each system prompt."""
    script = Script()
    history: list[Message] = []
    remember = assistant("", call("tarx_remember", {}, "id-2-remember"))
    for number, (new, answer) in enumerate(
        [
            (user("Where do I live? Keep it."), recall("id-1-recall")),
            (result("id-1-recall", {"facts": {"city": "Porto"}}), remember),
            (result("id-2-remember", {"stored": True}), assistant("You live in Porto.")),
            (user("Thanks"), assistant("You are welcome.")),
        ]
    ):
        history = [*history, new]
        script.chat([system(f"It is {number} o'clock."), *history], answer)
        history = [*history, answer]
    return script


def branches() -> Script:
    """A step that was asked twice, and a question that the user put another way."""
    script = Script()
    start = [user("Where do I live?")]
    script.chat(start, recall("id-first-01"))
    after = [*start, recall("id-first-01"), result("id-first-01", "Porto")]
    script.chat(after, assistant("In Porto."))
    script.chat(after, assistant("You live in Porto."))
    script.chat([*after, assistant("You live in Porto."), user("Since when?")], recall("id-since-02", "since"))
    edited = [*after, assistant("You live in Porto."), user("And my mother?")]
    script.chat(edited, recall("id-mother-03", "mother"))
    script.chat([*edited, recall("id-mother-03", "mother"), result("id-mother-03", "Faro")], assistant("In Faro."))
    return script


def failures() -> Script:
    """A request that fails and is repeated, twice; the same question again much later is a new dialogue."""
    script = Script()
    busy: dict[str, Any] = {"status": 503, "body": {"error": {"message": "Loading model"}}}
    script.chat([user("Hello")], None, **busy)
    script.chat([user("Hello")], None, **busy)
    script.chat([user("Hello")], assistant("Hi"))
    script.chat([user("Hello"), assistant("Hi"), user("More")], None, **busy)
    script.chat([user("Hello"), assistant("Hi"), user("More")], assistant("Gladly."))
    return script


def two_at_once() -> Script:
    """Two anonymous dialogues with the same words, two of another client, one of them with repeated call ids."""
    script = Script()
    first = [user("Do it")]
    then = [*first, recall("call_0"), result("call_0", "done")]
    for _ in range(2):
        script.chat(first, recall("call_0"))
    script.chat(first, recall("call_0"), client_key="other")
    script.chat(then, assistant("Done."))
    script.chat(then, recall("call_0", "again"), client_key="other")
    script.chat(then, assistant("Done."))
    later = [*then, recall("call_0", "again"), result("call_0", "done again")]
    script.chat(later, assistant("Done twice."), client_key="other")
    return script


def hints() -> Script:
    """Two dialogues that begin alike and are named by the client; one request comes without the name."""
    script = Script()
    for turn in range(3):
        for name in ("left", "right"):
            history = [user("Hello"), assistant("Hi"), user("What is new?"), assistant("Little."), user("Bye")]
            answer = assistant(("Hi", "Little.", "Bye.")[turn])
            hint = {} if (turn, name) == (2, "right") else {"conversation_hint": name, "hint_source": "header"}
            script.chat(history[: 2 * turn + 1], answer, **hint)
    return script


def rewritten_chat(*names: str) -> Callable[[], Script]:
    def made() -> Script:
        script = Script()
        for number, (history, answer) in enumerate(long_chat(exchanges=7)):
            sent = history
            for name in names:
                sent = REWRITES[name](sent, number)
            script.chat(sent, answer)
        return script

    return made


def posted(path: str, request: Message, answer: Message, *, uid: str, at_s: float) -> RawExchange:
    """Return the bytes of an exchange of another protocol."""
    started_ns = START_NS + int(at_s * 1e9)
    begin = Begin(uid=uid, leg="proxy", method="POST", path=path, started_ns=started_ns, client_key="c1")
    return RawExchange(
        begin=begin,
        request_body=json.dumps({"model": "m", **request}).encode(),
        response=ResponseStart(200, (("content-type", "application/json"),), 0),
        chunks=(Chunk(500_000_000, json.dumps({"model": "m", **answer}).encode()),),
        end=End(500_000_000, final_seen=True),
    )


def anthropic() -> Script:
    """Blocks, and two results in one user message, of which one says that it failed."""
    script = Script()
    asked = {"role": "user", "content": "Compare."}
    uses = [{"type": "tool_use", "id": f"toolu_{n}f00d{n}", "name": "look", "input": {"n": n}} for n in (1, 2)]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_2f00d2", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "toolu_1f00d1", "content": [{"type": "text", "text": "yes"}]},
    ]
    second = [asked, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    said = [{"type": "text", "text": "Only the first."}]
    third = [*second, {"role": "assistant", "content": said}, {"role": "user", "content": "Why?"}]
    for messages, content, reason in (
        ([asked], uses, "tool_use"),
        (second, said, "end_turn"),
        (third, [{"type": "text", "text": "So it is."}], "end_turn"),
    ):
        answer = {"type": "message", "role": "assistant", "content": content, "stop_reason": reason}
        script.add(posted, "/v1/messages", {"max_tokens": 9, "messages": messages}, answer)
    return script


def responses() -> Script:
    """A dialogue whose history the server keeps, then taken up without it, and a branch off its first answer."""
    script = Script()
    made = {"type": "function_call", "call_id": "call_r1abcdef", "name": "look", "arguments": "{}"}
    back = {"type": "function_call_output", "call_id": "call_r1abcdef", "output": "Porto"}

    def said(text: str) -> Message:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"type": "message", "role": "assistant", "content": content}

    whole = [{"role": "user", "content": "Where?"}, made, back, said("In Porto."), {"role": "user", "content": "And?"}]
    for number, (request, output) in enumerate(
        [
            ({"input": "Where?"}, [made]),
            ({"input": [back], "previous_response_id": "resp_0"}, [said("In Porto.")]),
            ({"input": "And?", "previous_response_id": "resp_1"}, [said("That is all.")]),
            ({"input": whole}, [said("That is all, really.")]),
            ({"input": "Shorter!", "previous_response_id": "resp_1"}, [said("Porto.")]),
            ({"input": "Thanks", "previous_response_id": "resp_4"}, [said("Welcome.")]),
        ]
    ):
        answer = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": output}
        script.add(posted, "/v1/responses", request, answer)
    return script


def late_result() -> Script:
    """A named dialogue in which the result of a call comes after another question and its answer."""
    script = Script()
    asked = [user("Find it."), recall("id-late-01"), user("Meanwhile?")]
    then = [*asked, assistant("All is well."), result("id-late-01", "found")]
    script.chat(asked[:1], recall("id-late-01"), **NAMED)
    script.chat(asked, assistant("All is well."), **NAMED)
    script.chat(then, assistant("Found."), **NAMED)
    return script


def named_window(*clients: str) -> Script:
    """A named dialogue whose history is cut and whose answers repeat, held by these clients in turn."""
    script = Script()
    turns = ("hi", "on", "go", "on", "on", "end")
    for number, turn in enumerate(turns):
        told = [message for text in turns[:number] for message in (user(text), assistant("a"))]
        script.chat([*told, user(turn)][-3:], assistant("a"), client_key=clients[number % len(clients)], **NAMED)
    return script


def taken_up_by_name() -> Script:
    """A dialogue that gets its name in the middle, and another one with the same words under that name."""
    script = Script()
    start = [user("hi"), assistant("a"), user("on")]
    script.chat(start[:1], assistant("a"))
    script.chat([user("other"), assistant("b"), user("on")], assistant("a"), **NAMED)
    script.chat(start, assistant("a"))
    script.chat([*start, assistant("a"), user("go")], recall("id-named-1"), **NAMED)
    script.chat([assistant("a"), user("go"), recall("id-named-1"), result("id-named-1", "x")], assistant("a"), **NAMED)
    script.chat([user("go"), assistant("a"), user("end")], assistant("c"), **NAMED)
    return script


def unreadable() -> Script:
    """A named dialogue with a request in its middle that cannot be read, and the result of the call that it led to."""
    script = Script()
    asked = [user("Find it.")]
    script.chat(asked, recall("id-first-01"), **NAMED)
    script.chat([], recall("id-lost-02"), **NAMED)
    later = [*asked, recall("id-first-01"), result("id-first-01", "x"), recall("id-lost-02"), result("id-lost-02", "y")]
    script.chat(later, assistant("Found."), **NAMED)
    return script


def first_answers() -> Script:
    """A first question that is asked three times until the answer pleases; and two people who begin alike."""
    script = Script()
    for text in ("Hi", "Hello there", "Good day"):
        script.chat([user("Hello")], assistant(text))
    script.chat([user("Hello"), assistant("Good day"), user("More")], assistant("Gladly."))
    for text in ("Left.", "Right."):
        script.chat([user("Which way?")], assistant(text))
    for text in ("Left.", "Right."):
        script.chat([user("Which way?"), assistant(text), user("Sure?")], assistant(f"Sure: {text}"))
    return script


SCRIPTS: dict[str, Callable[[], Script]] = {
    "first answers": first_answers,
    "one dialogue": plain,
    "branches": branches,
    "failures": failures,
    "two at once": two_at_once,
    "names given": hints,
    "ids rewritten in a sliding window": rewritten_chat("ids rewritten each turn", "sliding window"),
    "a summary": rewritten_chat("sliding window", "reasoning dropped"),
    "old results cleared": rewritten_chat("old results cleared"),
    "a late result": late_result,
    "a named window": lambda: named_window("c1"),
    "a named window of two clients": lambda: named_window("c1", "c2"),
    "a name given late": taken_up_by_name,
    "an unreadable request": unreadable,
    "Anthropic": anthropic,
    "Responses": responses,
}
SUMMARY = {
    "exchanges": """
        SELECT e.uid, e.conversation_how, e.conversation_confidence, e.turn_no, e.step_no, e.outcome, e.assistant_echo,
               p.uid, r.uid, hex(e.input_sem), hex(e.output_sem),
               (SELECT MIN(first.uid) FROM exchange first WHERE first.conversation_id = e.conversation_id)
        FROM exchange e LEFT JOIN exchange p ON p.id = e.parent_exchange_id LEFT JOIN exchange r ON r.id = e.retry_of_id
        ORDER BY e.uid""",
    "conversations": """
        SELECT c.source, c.external_id, c.first_at, c.last_at, COUNT(*) FROM conversation c
        JOIN exchange e ON e.conversation_id = c.id GROUP BY c.id ORDER BY 1, 2, 3, 4""",
    "empty conversations": "SELECT COUNT(*) FROM conversation WHERE id NOT IN (SELECT conversation_id FROM exchange)",
    "turns": """
        SELECT (SELECT MIN(first.uid) FROM exchange first WHERE first.conversation_id = t.conversation_id), t.turn_no,
               t.signature, t.n_steps, t.n_unanswered, t.n_error_results, t.status, t.duration_ms, e.uid
        FROM turn t JOIN exchange e ON e.id = t.last_exchange_id ORDER BY 1, 2""",
    "results": """
        SELECT e.uid, r.position, r.part, of.uid, c.ordinal, r.match_how, r.confidence, r.is_error, r.latency_ms
        FROM tool_result r JOIN exchange e ON e.id = r.exchange_id LEFT JOIN tool_call c ON c.id = r.tool_call_id
        LEFT JOIN exchange of ON of.id = c.exchange_id ORDER BY 1, 2, 3""",
    "calls elsewhere": """
        SELECT COUNT(*) FROM tool_call c JOIN exchange e ON e.id = c.exchange_id
        WHERE (c.conversation_id, c.turn_no, c.step_no) <> (e.conversation_id, e.turn_no, e.step_no)""",
}


def summary(writes: Sequence[Sequence[Exchange]]) -> dict[str, Any]:
    """Write exchanges, each inner list in one transaction, and tell what they were linked to."""
    with tempfile.TemporaryDirectory() as folder:
        where = Settings(database=str(Path(folder) / "t.db"))
        with ToolLog.open(settings=where, read_only=False) as log:
            for items in writes:
                log.write(items)
        with ToolLog.open(settings=where) as log:
            return {name: list(log.query(sql).rows) for name, sql in SUMMARY.items()}


@cache
def in_order(name: str) -> dict[str, Any]:
    """Return what the exchanges of a script are linked to when they come in order."""
    return summary([[seen.finished] for seen in SCRIPTS[name]().seen])


@pytest.mark.parametrize("name", SCRIPTS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_order_of_arrival_gives_the_same_rows(name: str, data: st.DataObject) -> None:
    seen = SCRIPTS[name]().seen
    whole = [number for number in range(len(seen)) if data.draw(st.booleans(), label=f"{number} comes whole")]
    parts = [number for number in range(len(seen)) for _ in range(1 if number in whole else 2)]
    order = data.draw(st.permutations(parts), label="order")
    begun = set(whole)
    writes: list[list[Exchange]] = [[]]
    for number in order:
        # Of an exchange the begun part always comes first.
        writes[-1].append(seen[number].finished if number in begun else seen[number].begun)
        begun.add(number)
        if data.draw(st.booleans(), label="commit"):
            writes.append([])

    assert in_order(name) == summary(writes)


def places(name: str) -> list[tuple[Any, ...]]:
    """Return, for each exchange, how it was linked, its turn and step, and its parent's number."""
    rows = in_order(name)["exchanges"]
    return [
        (how, conf, turn, step, None if up is None else int(up[-12:]))
        for _, how, conf, turn, step, _, _, up, *_ in rows
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "branches",
            [
                ("new", 1.0, 1, 1, None),
                ("prefix", 1.0, 1, 2, 0),
                ("prefix", 1.0, 1, 2, 0),
                ("prefix", 1.0, 2, 1, 2),
                ("prefix", 1.0, 2, 1, 2),
                ("prefix", 1.0, 2, 2, 4),
            ],
        ),
        (
            "failures",
            [
                ("new", 1.0, 1, 1, None),
                ("retry", 0.5, 1, 1, None),
                ("retry", 0.5, 1, 1, None),
                ("prefix", 0.5, 2, 1, 2),
                ("prefix", 0.5, 2, 1, 2),
            ],
        ),
        (
            "first answers",
            [
                ("new", 1.0, 1, 1, None),
                ("again", 0.5, 1, 1, None),
                ("again", 0.5, 1, 1, None),
                ("prefix", 0.5, 2, 1, 2),
                ("new", 1.0, 1, 1, None),
                ("new", 1.0, 1, 1, None),
                ("prefix", 1.0, 2, 1, 4),
                ("prefix", 1.0, 2, 1, 5),
            ],
        ),
        (
            "two at once",
            [
                ("new", 1.0, 1, 1, None),
                ("new", 1.0, 1, 1, None),
                ("new", 1.0, 1, 1, None),
                ("prefix", 0.5, 1, 2, 1),
                ("prefix", 1.0, 1, 2, 2),
                ("prefix", 0.5, 1, 2, 0),
                ("prefix", 1.0, 1, 3, 4),
            ],
        ),
        (
            "Responses",
            [
                ("new", 1.0, 1, 1, None),
                ("response_id", 1.0, 1, 2, 0),
                ("response_id", 1.0, 2, 1, 1),
                ("prefix", 1.0, 2, 1, 1),
                ("response_id", 1.0, 2, 1, 1),
                ("response_id", 1.0, 3, 1, 4),
            ],
        ),
    ],
)
def test_the_dialogues_are_linked_as_they_were_held(name: str, expected: list[tuple[Any, ...]]) -> None:
    assert expected == places(name)


def test_each_dialogue_is_one_conversation_or_as_many_as_there_were() -> None:
    counts = {name: len(in_order(name)["conversations"]) for name in SCRIPTS}

    assert {
        **dict.fromkeys(SCRIPTS, 1),
        "first answers": 3,
        "two at once": 3,
        "names given": 2,
        "a name given late": 2,
    } == counts


def test_the_turns_are_those_of_the_branch_that_was_continued() -> None:
    rows = [row[1:] for row in in_order("branches")["turns"]]
    first, second = "01a20000-0000-7000-8000-000000000002", "01a20000-0000-7000-8000-000000000005"

    assert [
        (1, "tarx_recall", 2, 0, 0, "answered", 4500.0, first),
        (2, "tarx_recall", 2, 0, 0, "answered", 2500.0, second),
    ] == rows
