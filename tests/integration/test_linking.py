"""Conversations of clients that say nothing and rewrite everything: one each, a tree where there are branches."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import linking as bench
from tarx_toollog import ToolLog
from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.builders import START_NS, TOOLS, assistant, call, exchange, result, system, user
from tests.support.dialogues import ANSWERED, ASKED, BUSY, CALLED, CITY, Message, begun, hint, opened, rows, told
from tests.support.long_chat import REWRITES, rewritten


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with opened(tmp_path) as made:
        yield made


# ---- what clients do to a history -----------------------------------------------------------------------------------


def outcome(log: ToolLog, raws: Sequence[RawExchange]) -> dict[str, Any]:
    """Write exchanges one by one; tell what became of them."""
    for raw in raws:
        log.write([decode(raw)])
    counts = rows(
        log,
        "SELECT (SELECT COUNT(*) FROM conversation), COUNT(*), SUM(n_steps), SUM(chain_length), SUM(n_unanswered), "
        "SUM(status = 'answered') FROM turn",
    )
    return {
        "conversations, turns, steps, calls, unanswered, answered": counts[0],
        "results without a call": rows(log, "SELECT COUNT(*) FROM tool_result WHERE tool_call_id IS NULL")[0][0],
        "parents": rows(log, "SELECT id - parent_exchange_id, COUNT(*) FROM exchange GROUP BY 1 ORDER BY 2"),
        "rebuilt": sum(is_rebuilt(log, raw) for raw in raws),
    }


def is_rebuilt(log: ToolLog, raw: RawExchange) -> bool:
    request = log.exchange(raw.begin.uid).request
    assert request is not None
    whole = dict(request.params) | {"model": request.model, "messages": [dict(m.raw) for m in request.messages]}
    whole["tools"] = [dict(tool.raw) for tool in request.tools]
    return canonical_json(whole) == canonical_json(parse_json(raw.request_body))


ONE_CHAT = {
    "conversations, turns, steps, calls, unanswered, answered": (1, 10, 30, 20, 0, 10),
    "results without a call": 0,
    "parents": [(None, 1), (1, 29)],
    "rebuilt": 30,
}


@pytest.mark.parametrize("name", REWRITES)
def test_thirty_calls_of_one_chat_are_one_conversation(log: ToolLog, name: str) -> None:
    assert ONE_CHAT == outcome(log, rewritten([REWRITES[name]]))


# New ids, no prefix, and other words before the latest answer: then nothing is left to go by (docs/linking.md).
TOO_MUCH = ({"ids rewritten each turn", "old results cleared"}, {"sliding window", "compaction"})
MIXTURES = st.lists(st.sampled_from(sorted(set(REWRITES) - {"none"})), min_size=2, max_size=5, unique=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=MIXTURES.filter(lambda names: not (TOO_MUCH[0] <= set(names) and TOO_MUCH[1] & set(names))))
def test_so_they_are_whatever_the_client_does_at_once(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    with opened(tmp_path_factory.mktemp("log")) as log:
        assert ONE_CHAT == outcome(log, rewritten([REWRITES[name] for name in names]))


def test_two_clients_that_say_the_same_at_the_same_time_stay_apart(log: ToolLog) -> None:
    chats = [rewritten([REWRITES["date in system prompt"]], client_key=key) for key in ("a", "b")]
    log.write(decode(raw) for pair in zip(*chats, strict=True) for raw in pair)

    assert [(1, "a", 30, 1.0), (2, "b", 30, 1.0)] == rows(
        log,
        "SELECT conversation_id, client_key, COUNT(*), MIN(conversation_confidence) FROM exchange GROUP BY 1, 2",
    )


def test_two_anonymous_clients_with_the_same_words_are_told_to_be_doubtful(log: ToolLog) -> None:
    chats = [rewritten([REWRITES["none"]], client_key=None) for _ in range(2)]
    log.write(decode(raw) for pair in zip(*chats, strict=True) for raw in pair)

    # Two dialogues, each whole; nobody can say which exchange is of which.
    assert [(1, 30, 0.5), (2, 30, 0.5)] == rows(
        log, "SELECT conversation_id, COUNT(*), MIN(conversation_confidence) FROM exchange GROUP BY 1"
    )
    assert [(0.5, 58), (1.0, 2)] == rows(
        log, "SELECT conversation_confidence, COUNT(*) FROM exchange GROUP BY 1 ORDER BY 1"
    )
    assert [(20, 10, 10)] * 2 == rows(
        log, "SELECT SUM(chain_length), COUNT(*), SUM(status = 'answered') FROM turn GROUP BY conversation_id"
    )


# ---- other ways to lose the thread ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param(
            [*CALLED, assistant("In Lisbon."), user("?")], ("prefix", 0.8, 2, 1, 2), id="its answer was edited"
        ),
        pytest.param(
            [*ASKED, assistant("Porto?"), user("?")], ("prefix", 0.5, 2, 1, 1), id="its first answer was edited"
        ),
        pytest.param(
            [*ASKED, assistant("", CITY), result("id-city-abc", "[cleared]"), assistant("In Porto."), user("?")],
            ("prefix", 1.0, 2, 1, 2),
            id="an old result was cleared",
        ),
        pytest.param(
            [assistant("In Porto."), user("?")], ("new", 1.0, 1, 1, None), id="an answer alone proves nothing"
        ),
        pytest.param(
            [user("Summary."), CALLED[2], assistant("In Porto."), user("?")],
            ("wire_id", 1.0, 2, 1, 2),
            id="a result is left",
        ),
        pytest.param(
            [user("Summary."), assistant("", call("tarx_remember", {}, "id-city-abc")), user("?")],
            ("new", 1.0, 2, 1, None),
            id="the id of another call",
        ),
        pytest.param(
            [*ANSWERED, user("?"), assistant("Not seen."), user("And now?")],
            ("prefix", 1.0, 3, 1, 2),
            id="a turn was not logged",
        ),
        pytest.param([user("Where do I work?")], ("new", 1.0, 1, 1, None), id="the first message was edited"),
        pytest.param([*ANSWERED, user("a"), user("b")], ("prefix", 1.0, 2, 1, 2), id="two questions at once"),
        pytest.param(
            [*CALLED, assistant("<think>They ask for it.</think>\n\nIn Porto."), user("?")],
            ("prefix", 1.0, 2, 1, 2),
            id="thoughts in the text",
        ),
        pytest.param([system("Be brief."), *ANSWERED, user("?")], ("prefix", 1.0, 2, 1, 2), id="a system prompt more"),
    ],
)
def test_a_history_that_was_changed_is_linked_as_far_as_it_can_be(
    log: ToolLog, history: list[Message], expected: tuple[Any, ...]
) -> None:
    begun(log)

    assert expected == told(log, exchange(history, assistant("Hm."), tools=TOOLS, at_s=9))[-1][1:]


def test_results_of_a_part_that_was_not_logged_still_find_their_calls(log: ToolLog) -> None:
    log.write([exchange(ASKED, assistant("", CITY), tools=TOOLS)])
    unseen = [*CALLED, assistant("", call("tarx_remember", {}, "id-unseen-def")), result("id-unseen-def", "ok")]
    log.write([exchange(unseen, assistant("Done."), tools=TOOLS, at_s=2)])

    assert [("id-city-abc", 1, "id"), ("id-unseen-def", None, "none")] == rows(
        log, "SELECT call_id, tool_call_id, match_how FROM tool_result ORDER BY position"
    )


def test_an_old_result_that_comes_again_in_other_words_is_no_new_one(log: ToolLog) -> None:
    begun(log)
    cut = [user("Cut."), assistant("", CITY), result("id-city-abc", "Porto, I said"), assistant("Edited."), user("?")]
    log.write([exchange(cut, assistant("Hm."), tools=TOOLS, at_s=9)])

    assert [(1,)] == rows(log, "SELECT COUNT(*) FROM tool_result")


def test_call_ids_that_everybody_has_join_no_dialogues(log: ToolLog) -> None:
    for number in range(9):
        made = assistant("", call("tarx_recall", {"query": f"city {number}"}, "call_0"))
        log.write([exchange([user(f"Question {number}")], made, tools=TOOLS, at_s=number)])
    window = [user("Else"), assistant("", call("tarx_recall", {"query": "x"}, "call_0")), result("call_0", "y")]

    assert (10, "new", 1.0, 1, 2, None) == told(log, exchange(window, assistant("Ok"), tools=TOOLS, at_s=99))[-1]


def test_a_short_id_is_evidence_only_together_with_its_call(log: ToolLog) -> None:
    made = assistant("", call("tarx_recall", {"query": "city"}, "call_0"))
    log.write([exchange(ASKED, made, tools=TOOLS)])
    same = [user("Cut."), assistant("", call("tarx_recall", '{"query":"city"}', "call_0")), result("call_0", "Porto")]
    other = [user("Cut."), assistant("", call("tarx_recall", {"query": "pet"}, "call_0")), result("call_0", "Rex")]
    told_of = told(log, *(exchange(history, assistant("Ok"), tools=TOOLS, at_s=9) for history in (same, other)))

    assert ["new", "wire_id", "new"] == [how for _, how, *_ in told_of]


def test_the_same_question_much_later_is_a_new_dialogue(log: ToolLog) -> None:
    asked = [exchange([user("Hello")], None, at_s=at_s, **BUSY) for at_s in (0, 60, 4000)]

    assert [(1, "new"), (1, "retry"), (2, "new")] == [(c, how) for c, how, *_ in told(log, *asked)]


# ---- names given by the client --------------------------------------------------------------------------------------


def test_dialogues_with_names_keep_their_own_parents_though_they_begin_alike(log: ToolLog) -> None:
    made = [exchange([user("Hello")], assistant("Hi"), at_s=i, **hint(name)) for i, name in enumerate("ab")]
    history = [user("Hello"), assistant("Hi"), user("More")]
    made += [exchange(history, assistant("Ok"), at_s=10 + i, **hint(name)) for i, name in enumerate("ab")]

    assert [(1, None), (2, None), (1, 1), (2, 2)] == [(c, parent) for c, *_, parent in told(log, *made)]


def test_a_dialogue_that_gets_a_name_later_is_forked_with_its_parent_known(log: ToolLog) -> None:
    begun(log)
    forked = exchange([*ANSWERED, user("More")], assistant("Ok"), tools=TOOLS, at_s=9, **hint("s"))

    assert (2, "header", 1.0, 2, 1, 2) == told(log, forked)[-1]


def test_a_client_whose_name_changes_in_the_middle_of_a_step_gets_its_result_paired(log: ToolLog) -> None:
    log.write([exchange(ASKED, assistant("", CITY), tools=TOOLS, **hint("one"))])
    log.write([exchange(CALLED, assistant("In Porto."), tools=TOOLS, at_s=2, **hint("two"))])

    assert [(2, 1, "id")] == rows(log, "SELECT conversation_id, tool_call_id, match_how FROM tool_result")


def test_a_history_of_which_nothing_is_known_continues_the_latest_of_its_name(log: ToolLog) -> None:
    strange = [user("Translated."), assistant("Traduzido."), user("E agora?")]
    made = [exchange(ASKED, assistant("Hm?"), **hint("s")), exchange(strange, assistant("Ok"), at_s=9, **hint("s"))]

    assert (1, "header", 1.0, 2, 1, 1) == told(log, *made)[-1]
    assert [(None,), ("edited",)] == rows(log, "SELECT assistant_echo FROM exchange ORDER BY id")


@pytest.mark.parametrize(
    "body", [b"{not json", b'{"model": "m", "messages": "none"}', b'{"model": "m", "messages": []}']
)
def test_what_cannot_be_read_opens_no_conversation(log: ToolLog, body: bytes) -> None:
    def unreadable(**options: Any) -> Exchange:
        begin = Begin(
            uid=options.pop("uid"),
            leg="proxy",
            method="POST",
            path="/v1/chat/completions",
            started_ns=START_NS,
            **options,
        )
        error = json.dumps({"error": {"message": "cannot read that"}}).encode()
        start = ResponseStart(400, (("content-type", "application/json"),), 0)
        return decode(RawExchange(begin, body, start, (Chunk(1, error),), End(1, final_seen=True)))

    first = unreadable(uid="01a20000-0000-7000-8000-000000000001", client_key="c1")
    named = unreadable(uid="01a20000-0000-7000-8000-000000000002", **hint("s"))

    assert [(None,) * 6, (1, "header", 1.0, None, None, None)] == told(log, first, named)
    assert [(1, 0)] == rows(log, "SELECT (SELECT COUNT(*) FROM conversation), (SELECT COUNT(*) FROM turn)")
    assert [(None, None), ("s", "header")] == [
        (read.conversation_hint, read.hint_source) for read in (log.exchange(e.uid) for e in (first, named))
    ]


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_pages_hold_the_figures_that_the_bench_has_measured() -> None:
    figures = json.loads((bench.ROOT / "bench" / "results" / "linking.json").read_text("utf-8"))
    pages = [page.read_text("utf-8") for page in bench.PAGES]

    assert [bench.with_tables(page, figures) for page in pages] == pages
    assert bench.verdicts() == figures["verdicts"]


def test_a_redirect_is_no_answer_and_what_follows_it_is_the_same_step(log: ToolLog) -> None:
    for number, at_s in enumerate((0, 4)):
        history = [*ASKED, assistant("", CITY), result("id-city-abc", "Porto")] if number else ASKED
        answer = assistant("In Porto.") if number else assistant("", CITY)
        log.write([exchange(history, None, tools=TOOLS, at_s=at_s, status=307)])
        assert "failed" == rows(log, "SELECT status FROM turn")[0][0]
        log.write([exchange(history, answer, tools=TOOLS, at_s=at_s + 1)])

    assert [
        ("completed", 1, 1, None),
        ("completed", 1, 1, 1),
        ("completed", 1, 2, None),
        ("completed", 1, 2, 3),
    ] == rows(log, "SELECT outcome, conversation_id, step_no, retry_of_id FROM exchange ORDER BY id")
    assert [("answered", 2, 1)] == rows(log, "SELECT status, n_steps, chain_length FROM turn")
