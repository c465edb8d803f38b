"""Branches of a conversation, and histories that the server keeps."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.linking import PAGE
from tarx_toollog import ToolLog
from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.builders import START_NS, TOOLS, assistant, call, exchange, result, user
from tests.support.dialogues import ANSWERED, BUSY, CALLED, Message, begun, opened, rows, told


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with opened(tmp_path) as made:
        yield made


# ---- branches -------------------------------------------------------------------------------------------------------


def branch(log: ToolLog) -> None:
    """Write a turn whose second step was asked twice, and a second turn that was put in two ways."""
    begun(log)
    log.write([exchange(CALLED, assistant("You live in Porto."), tools=TOOLS, at_s=4)])
    again = [*CALLED, assistant("You live in Porto."), user("Since when?")]
    log.write([exchange(again, assistant("Since May."), tools=TOOLS, at_s=6)])
    log.write([exchange([*ANSWERED, user("And she?")], assistant("In Faro."), tools=TOOLS, at_s=8)])


def test_branches_are_siblings_under_one_parent(log: ToolLog) -> None:
    branch(log)

    assert [(1, 1, 1, None), (2, 1, 2, 1), (3, 1, 2, 1), (4, 2, 1, 3), (5, 2, 1, 2)] == rows(
        log, "SELECT id, turn_no, step_no, parent_exchange_id FROM exchange ORDER BY id"
    )


def trajectories(log: ToolLog) -> list[tuple[int, list[Any]]]:
    return [
        (made.turn_no, [step.output["content"] for step in made.steps if step.output is not None])
        for made in log.trajectories()
    ]


def test_turns_and_trajectories_follow_one_branch_through_the_whole_conversation(log: ToolLog) -> None:
    branch(log)

    # The latest turn was answered last on the first branch: so the first answer is the one that counts before it.
    assert [(1, 2, 2, "tarx_recall"), (2, 1, 5, "")] == rows(
        log, "SELECT turn_no, n_steps, last_exchange_id, signature FROM turn ORDER BY turn_no"
    )
    assert [(1, ["", "In Porto."]), (2, ["In Faro."])] == trajectories(log)

    more = [*CALLED, assistant("You live in Porto."), user("Since when?"), assistant("Since May."), user("Thanks")]
    log.write([exchange(more, assistant("Welcome."), tools=TOOLS, at_s=10)])
    assert [(1, ["", "You live in Porto."]), (2, ["Since May."]), (3, ["Welcome."])] == trajectories(log)


def test_an_answer_that_failed_is_no_main_line_beside_one_that_did_not(log: ToolLog) -> None:
    begun(log)
    log.write([exchange(CALLED, None, tools=TOOLS, at_s=4, **BUSY)])

    assert [("answered", 2, 2)] == rows(log, "SELECT status, n_steps, last_exchange_id FROM turn")


def test_a_call_that_was_asked_for_again_counts_once_its_own_line_is_answered(log: ToolLog) -> None:
    begun(log)
    asked = [*ANSWERED, user("And my mother?")]
    lines = []
    for word in ("mum", "mother"):
        made = assistant("", call("tarx_remember", {"key": word, "value": "?"}, f"id-{word}-def"))
        lines.append((made, [*asked, made, result(f"id-{word}-def", "Faro")]))
    seen = []
    for at_s, (made, history) in zip((4, 8), lines, strict=True):
        log.write([exchange(asked, made, tools=TOOLS, at_s=at_s)])
        seen.append(rows(log, "SELECT status, n_steps, last_exchange_id FROM turn WHERE turn_no = 2"))
        log.write([exchange(history, assistant("In Faro."), tools=TOOLS, at_s=at_s + 2)])
        seen.append(rows(log, "SELECT status, n_steps, last_exchange_id FROM turn WHERE turn_no = 2"))

    assert [("pending", 1, 3), ("answered", 2, 4), ("answered", 2, 4), ("answered", 2, 6)] == [row for (row,) in seen]


def test_a_step_asked_again_with_the_same_ids_takes_no_older_call(log: ToolLog) -> None:
    zero = assistant("", call("tarx_recall", {"query": "a"}, "call_0"))
    one = assistant("", call("tarx_recall", {"query": "b"}, "call_0"))
    left_open = [user("First"), zero, user("Never mind. Second")]
    log.write([exchange(left_open[:1], zero, tools=TOOLS, at_s=0), exchange(left_open, one, tools=TOOLS, at_s=2)])
    done = [*left_open, one, result("call_0", "b it is")]
    for at_s in (4, 6):
        log.write([exchange(done, assistant("Done."), tools=TOOLS, at_s=at_s)])

    assert [(2, "id", 0.9)] == rows(log, "SELECT tool_call_id, match_how, confidence FROM tool_result")


# ---- histories that the server keeps --------------------------------------------------------------------------------


def responded(number: int, request: Message, text: str, **begin: Any) -> Exchange:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    output = [{"type": "message", "role": "assistant", "content": content}]
    answer = {"id": f"resp_{number}", "object": "response", "status": "completed", "model": "m", "output": output}
    made = {"client_key": "c1", "upstream": "http://up", **begin}
    return decode(
        RawExchange(
            Begin(
                uid=f"01a20000-0000-7000-8000-{number:012}",
                leg="proxy",
                method="POST",
                path="/v1/responses",
                started_ns=START_NS + number * 10**9,
                **made,
            ),
            json.dumps({"model": "m", **request}).encode(),
            ResponseStart(200, (("content-type", "application/json"),), 0),
            (Chunk(500_000_000, json.dumps(answer).encode()),),
            End(500_000_000, final_seen=True),
        )
    )


def test_a_response_that_is_named_is_continued_with_all_that_its_server_kept(log: ToolLog) -> None:
    first = {
        "instructions": "Be brief.",
        "input": [{"role": "developer", "content": "D"}, {"role": "user", "content": "A"}],
    }
    second = {"instructions": "Be long.", "input": "B", "previous_response_id": "resp_0"}
    third = {"input": "C", "previous_response_id": "resp_1", "conversation": None}
    items = [responded(0, first, "a"), responded(1, second, "b"), responded(2, third, "c")]

    assert [(1, 1, None), (1, 2, 1), (1, 3, 2)] == [(c, turn, up) for c, _, _, turn, _, up in told(log, *items)]
    assert ["new", "response_id", "response_id"] == [how for _, how, *_ in told(log)]
    last = list(log.trajectories())[-1].steps[0]
    said = [(m["role"], m.get("content")) if "content" in m else m for m in last.messages]
    assert [("developer", "D"), ("user", "A")] == said[:2]
    assert 6 == len(said)
    assert ("user", "C") == said[-1]
    request = log.exchange(items[2].uid).request
    assert request is not None
    assert [{"role": "user", "content": "C"}] == [dict(message.raw) for message in request.messages]


def test_a_response_of_another_client_and_server_is_not_continued(log: ToolLog) -> None:
    other = {"client_key": "c2", "upstream": "http://elsewhere"}
    same_server = {"client_key": "c2"}
    named = {"input": "B", "previous_response_id": "resp_0"}
    items = [
        responded(0, {"input": "A"}, "a"),
        responded(1, named, "b", **other),
        responded(2, named, "b", **same_server),
    ]

    assert [1, 2, 1] == [conversation for conversation, *_ in told(log, *items)]


def test_a_dialogue_goes_on_when_the_client_sends_the_history_itself(log: ToolLog) -> None:
    items = [responded(0, {"input": "A"}, "a"), responded(1, {"input": "B", "previous_response_id": "resp_0"}, "b")]
    history = [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "B"},
    ]
    whole = [*history, {"role": "assistant", "content": "b"}, {"role": "user", "content": "C"}]
    items.append(responded(2, {"input": whole}, "c"))

    assert (1, "prefix", 1.0, 3, 1, 2) == told(log, *items)[-1]


def test_the_query_for_branches_on_the_page_finds_them(log: ToolLog) -> None:
    branch(log)
    (sql,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)

    assert [(1, 1, 2, 2)] == rows(log, sql)
