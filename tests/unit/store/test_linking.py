"""Conversations without an id from the client, and results paired with their calls, in a real database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.wire.decode import decode
from tests.support.builders import TOOLS, assistant, call, exchange, raw_exchange, result, system, user


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as opened:
        yield opened


def rows(log: ToolLog, sql: str) -> list[tuple[Any, ...]]:
    with ToolLog.open(settings=log.settings) as reader:
        return list(reader.query(sql).rows)


CALL = call("tarx_recall", {"query": "city"}, "abcdef123456")


def first_step() -> list[dict[str, Any]]:
    return [system("Today is Monday."), user("Where do I live?")]


def test_a_request_that_continues_the_history_joins_its_conversation(log: ToolLog) -> None:
    history = first_step()
    log.write([exchange(history, assistant("", CALL), tools=TOOLS)])
    history += [assistant("", CALL), result("abcdef123456", {"facts": {"city": "Porto"}})]
    log.write([exchange(history, assistant("You live in Porto."), tools=TOOLS, at_s=2)])
    history += [assistant("You live in Porto."), user("Thanks")]
    log.write([exchange(history, assistant("You are welcome."), tools=TOOLS, at_s=9)])

    assert [
        ("new", 1.0, 1, 1, None),
        ("prefix", 1.0, 1, 2, "same"),
        ("prefix", 1.0, 2, 1, "same"),
    ] == rows(
        log,
        "SELECT conversation_how, conversation_confidence, turn_no, step_no, assistant_echo FROM exchange ORDER BY id",
    )
    assert [(1,)] == rows(log, "SELECT COUNT(*) FROM conversation")


REWRITES = {
    "null content becomes empty": lambda m: m | {"content": m["content"] or ""},
    "arguments re-serialised": lambda m: (
        m | {"tool_calls": [call("tarx_recall", '{"query":"city"}', "abcdef123456")]} if "tool_calls" in m else m
    ),
    "ids rewritten": lambda m: (
        m | {"tool_calls": [call("tarx_recall", {"query": "city"}, "other-id-9999")]} if "tool_calls" in m else m
    ),
    "date in the system prompt": lambda m: m | {"content": "Today is Tuesday."} if m["role"] == "system" else m,
    "string becomes parts": lambda m: (
        m | {"content": [{"type": "text", "text": m["content"]}]} if m["role"] == "user" else m
    ),
    "white space trimmed": lambda m: m | {"content": (m["content"] or "").strip() + "\n"},
    "reasoning dropped": lambda m: {k: v for k, v in m.items() if k != "reasoning_content"},
}


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES.keys())
def test_a_client_that_reshapes_the_history_stays_in_one_conversation(log: ToolLog, rewrite: Any) -> None:
    answer = assistant(None, CALL) | {"reasoning_content": "They ask for a city."}
    log.write([exchange(first_step(), answer, tools=TOOLS)])
    history = [rewrite(m) for m in [*first_step(), answer, result("abcdef123456", "Porto")]]
    log.write([exchange(history, assistant("Porto."), tools=TOOLS, at_s=2)])

    assert [(1,)] == rows(log, "SELECT COUNT(*) FROM conversation")
    assert [("answered", 1, 0)] == rows(log, "SELECT status, chain_length, n_unanswered FROM turn")


def test_a_sliding_window_is_recognised_by_the_call_id(log: ToolLog) -> None:
    long_history = [user("Hello"), assistant("Hi"), user("Where do I live?")]
    log.write([exchange(long_history, assistant("", CALL), tools=TOOLS)])
    window = [user("Where do I live?"), assistant("", CALL), result("abcdef123456", "Porto")]
    log.write([exchange(window, assistant("Porto."), tools=TOOLS, at_s=2)])

    assert [(1, "new"), (1, "wire_id")] == rows(
        log, "SELECT conversation_id, conversation_how FROM exchange ORDER BY id"
    )
    assert [("id", 1.0)] == rows(log, "SELECT match_how, confidence FROM tool_result")


def test_identical_openings_of_two_clients_stay_apart(log: ToolLog) -> None:
    for client in ("a", "b"):
        log.write([exchange([user("Hello")], assistant("Hi"), client_key=client)])
    for client in ("a", "b"):
        log.write([exchange([user("Hello"), assistant("Hi"), user("More")], assistant("Ok"), client_key=client)])

    assert [(1, "a"), (2, "b"), (1, "a"), (2, "b")] == rows(
        log, "SELECT conversation_id, client_key FROM exchange ORDER BY id"
    )


def test_an_ambiguous_prefix_says_so(log: ToolLog) -> None:
    log.write([exchange([user("Hello")], assistant("Hi")), exchange([user("Hello")], assistant("Hi"))])
    log.write([exchange([user("Hello"), assistant("Hi"), user("More")], assistant("Ok"))])

    assert [(2, "prefix", 0.5)] == rows(
        log, "SELECT conversation_id, conversation_how, conversation_confidence FROM exchange ORDER BY id DESC LIMIT 1"
    )


def test_an_id_given_by_the_client_wins(log: ToolLog) -> None:
    log.write([exchange([user("Hello")], assistant("Hi"), conversation_hint="s1", hint_source="header")])
    log.write([exchange([user("Other")], assistant("Hm"), conversation_hint="s1", hint_source="header")])

    assert [(1, "header"), (1, "header")] == rows(
        log, "SELECT conversation_id, conversation_how FROM exchange ORDER BY id"
    )


def test_a_repeated_request_after_a_failure_is_a_retry(log: ToolLog) -> None:
    log.write([exchange([user("Hello")], None, status=503, body={"error": {"message": "Loading model"}})])
    log.write([exchange([user("Hello")], assistant("Hi"), at_s=3)])

    assert [(1, "new", None), (1, "retry", 1)] == rows(
        log, "SELECT conversation_id, conversation_how, retry_of_id FROM exchange ORDER BY id"
    )


def test_an_inner_exchange_takes_the_conversation_of_the_outer_one(log: ToolLog) -> None:
    outer = exchange([user("Where do I live?")], assistant("Porto."), open_ended=False)
    inner = exchange(first_step(), assistant("", CALL), tools=TOOLS, outer_uid=outer.uid, leg="transport")
    log.write([outer, inner])

    assert [(None, 1, "new"), (1, 0, "outer")] == rows(
        log, "SELECT outer_exchange_id, n_inner, conversation_how FROM exchange ORDER BY id"
    )
    assert [("tarx_recall", 1)] == rows(log, "SELECT signature, n_steps FROM turn")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([result("id-bbbbbb", "B"), result("id-aaaaaa", "A")], [("id", "B", 1), ("id", "A", 0)]),
        ([result(None, "A"), result(None, "B")], [("order", "A", 0), ("order", "B", 1)]),
        (
            [result(None, "B", name="tarx_remember"), result("id-aaaaaa", "A")],
            [("order", "B", 1), ("id", "A", 0)],
        ),
        ([result(None, "B", name="tarx_remember")], [("name", "B", 1)]),
        ([result("stranger", "B")], [("none", "B", None)]),
        ([result("id-aaaaaa", "A"), result("id-aaaaaa", "again")], [("id", "A", 0), ("none", "again", None)]),
    ],
    ids=["by id", "by order", "the rest by order", "by name", "stranger", "one id twice"],
)
def test_results_are_paired_with_their_calls(log: ToolLog, results: Any, expected: Any) -> None:
    answer = assistant("", call("tarx_recall", {"query": "x"}, "id-aaaaaa"), call("tarx_remember", {}, "id-bbbbbb"))
    log.write([exchange([user("Do")], answer, tools=TOOLS)])
    log.write([exchange([user("Do"), answer, *results], assistant("Done"), tools=TOOLS, at_s=1.75)])

    assert expected == rows(
        log,
        "SELECT r.match_how, m.content, c.ordinal FROM tool_result r JOIN message m ON m.id = r.message_id "
        "LEFT JOIN tool_call c ON c.id = r.tool_call_id ORDER BY r.position",
    )


def test_the_latency_of_a_tool_comes_from_the_traffic(log: ToolLog) -> None:
    log.write([exchange([user("Do")], assistant("", CALL), tools=TOOLS, took_ms=500)])
    history = [user("Do"), assistant("", CALL), result("abcdef123456", {"error": "no such fact"})]
    log.write([exchange(history, assistant("Hm"), tools=TOOLS, at_s=1.75)])

    assert [(1250.0, 1)] == rows(log, "SELECT latency_ms, result_is_error FROM v_tool_calls")


def test_history_that_is_sent_again_gives_no_second_result(log: ToolLog) -> None:
    history = [user("Do")]
    log.write([exchange(history, assistant("", CALL), tools=TOOLS)])
    history += [assistant("", CALL), result("abcdef123456", "Porto")]
    log.write([exchange(history, assistant("Done"), tools=TOOLS)])
    history += [assistant("Done"), user("And now?")]
    log.write([exchange(history, assistant("Nothing"), tools=TOOLS)])

    assert [(1,)] == rows(log, "SELECT COUNT(*) FROM tool_result")


def test_writing_an_exchange_twice_changes_nothing(log: ToolLog) -> None:
    one = exchange([user("Do")], assistant("", CALL), tools=TOOLS)
    log.write([one])
    log.write([one])

    assert [(1, 1)] == rows(log, "SELECT (SELECT COUNT(*) FROM exchange), (SELECT COUNT(*) FROM tool_call)")


def test_an_exchange_is_first_open_then_finished(log: ToolLog) -> None:
    begun = exchange([user("Do")], None, end=False, open_ended=True, uid="01a20000-0000-7000-8000-000000000001")
    log.write([begun])
    assert [("open", None)] == rows(log, "SELECT outcome, total_ms FROM exchange")
    finished = exchange([user("Do")], assistant("Ok"), uid="01a20000-0000-7000-8000-000000000001")
    log.write([finished])
    assert [("completed", 500.0)] == rows(log, "SELECT outcome, total_ms FROM exchange")


@pytest.mark.parametrize("is_late", [False, True], ids=["in order", "late"])
@pytest.mark.parametrize("body", [b"", b'{"model":"m","messages":[]}', b'{"model":"m","mess'], ids=repr)
def test_a_result_finds_its_call_though_the_request_that_led_to_it_cannot_be_read(
    log: ToolLog, body: bytes, is_late: bool
) -> None:
    hint: dict[str, Any] = {"conversation_hint": "c", "hint_source": "header"}
    asked = decode(replace(raw_exchange([], assistant("", CALL), **hint), request_body=body))
    history = [user("Where?"), assistant("", CALL), result("abcdef123456", "Porto")]
    answered = exchange(history, assistant("Porto."), tools=TOOLS, at_s=2, **hint)
    for item in [answered, asked] if is_late else [asked, answered]:
        log.write([item])

    assert [(None, None), (1, 2)] == rows(log, "SELECT turn_no, step_no FROM exchange ORDER BY started_at")
    assert [("id", 1.0, 1500.0)] == rows(log, "SELECT match_how, confidence, latency_ms FROM tool_result")
    assert [(1, 1, 0)] == rows(log, "SELECT turn_no, n_steps, n_unanswered FROM turn")


def test_all_of_many_parallel_results_find_their_calls(log: ToolLog) -> None:
    calls = [call("tarx_recall", {"n": n}, f"id-parallel-{n:04}") for n in range(600)]
    results = [result(f"id-parallel-{n:04}", str(n)) for n in reversed(range(600))]
    log.write([exchange([user("Do")], assistant("", *calls), tools=TOOLS)])
    log.write([exchange([user("Do"), assistant("", *calls), *results], assistant("Done"), tools=TOOLS, at_s=2)])

    assert [("id", 1.0, 600)] == rows(log, "SELECT match_how, confidence, COUNT(*) FROM tool_result GROUP BY 1, 2")
    assert [(0,)] == rows(
        log,
        "SELECT COUNT(*) FROM tool_result r JOIN tool_call c ON c.id = r.tool_call_id WHERE c.call_id <> r.call_id",
    )
