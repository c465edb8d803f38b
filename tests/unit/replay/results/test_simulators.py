"""The simulator of the ``tarx_`` tools, held against the tools of the example Workbench."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import workbench_app as workbench
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import (
    SIMULATORS,
    Diverged,
    RecordedCall,
    Recording,
    Results,
    Served,
    Simulated,
    Unknowable,
    suggest_effect,
)
from tarx_toollog.replay.results.simulators import contradiction
from tarx_toollog.replay.results.tarx_memory import TarxMemory
from tests.unit.replay.results.support import made

SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in workbench.TOOLS}
MEMORY = TarxMemory()


class RealTools:
    """The tools of the example, on a database of their own."""

    def __init__(self, facts: Mapping[str, str], conversations: int = 0) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        self.db.execute("CREATE TABLE conversations (id INTEGER PRIMARY KEY, title TEXT, summary TEXT)")
        for key, value in facts.items():
            workbench.tarx_remember(self.db, key, value)
        for number in range(conversations):
            workbench.tarx_save_conversation(self.db, str(number), "")

    def call(self, call: Call) -> str:
        assert call.arguments is not None
        return json.dumps(workbench.RUN[call.name](self.db, **call.arguments))


def log_of(tools: RealTools, *script: Call) -> Recording:
    return of_texts(*((call, tools.call(call)) for call in script))


def of_texts(*calls: tuple[Call, str]) -> Recording:
    """Return a recording with results in any shape."""
    recorded = (RecordedCall(call.name, call.arguments, text, False, suggest_effect(call.name)) for call, text in calls)
    return Recording(tuple(recorded), SCHEMAS)


def remember(key: str, value: str) -> Call:
    return made("tarx_remember", key=key, value=value)


def recall(query: str) -> Call:
    return made("tarx_recall", query=query)


def save(title: str) -> Call:
    return made("tarx_save_conversation", title=title, summary="s")


def answer(log: Recording, *calls: Call) -> Any:
    """Return what the last call gets: a JSON value, or why the attempt diverged."""
    results = Results(log, list(SIMULATORS))
    last: Served | Diverged | None = None
    for call in calls:
        last = results.serve(call)
    assert last is not None
    return last.why if isinstance(last, Diverged) else json.loads(last.text)


FACTS = {"city": "Lisbon", "cat": "Miso", "dog": "Rex of Lisbon"}


def test_another_fact_is_remembered_and_recalled() -> None:
    log = log_of(RealTools(FACTS), recall("city"), remember("trams", "yellow"))
    results = Results(log, list(SIMULATORS))

    assert Served('{"stored": true, "key": "city"}', False, "simulated") == results.serve(remember("city", "Porto"))
    assert Served('{"facts": {"city": "Porto"}}', False, "simulated") == results.serve(recall("city"))


def test_a_part_of_a_recorded_query_finds_its_part_of_the_facts() -> None:
    log = log_of(RealTools(FACTS), recall("city and cat"))

    assert {"facts": {"cat": "Miso"}} == answer(log, recall("cat"))


def test_a_word_that_was_never_recalled_is_unknowable() -> None:
    log = log_of(RealTools(FACTS), recall("city"))

    expected = "the log does not show what is stored about 'rex'"
    assert expected in answer(log, recall("rex"))


def test_what_a_recorded_write_covered_up_is_unknowable() -> None:
    log = log_of(RealTools({"cat": "Felix"}), remember("cat", "Miso"), recall("cat"))

    assert "the log does not show what 'cat' was before" in answer(log, remember("pet", "a cat"), recall("cat"))
    assert {"facts": {"cat": "Tom"}} == answer(log, remember("cat", "Tom"), recall("cat"))


def test_the_nth_saved_conversation_gets_the_recorded_id_whatever_its_title_is() -> None:
    log = log_of(RealTools({}, conversations=6), save("Trams"))

    assert {"saved": True, "id": "conv-7"} == answer(log, save("Tiles"))
    assert "it was called less often in the log" in answer(log, save("Tiles"), save("More"))


def test_recorded_results_come_first_while_they_hold() -> None:
    log = log_of(RealTools(FACTS), recall("city"), remember("a", "b"))
    results = Results(log, list(SIMULATORS))

    served = [results.serve(call) for call in (recall("city"), remember("a", "b"))]
    assert ["exact", "exact"] == [one.how for one in served if isinstance(one, Served)]


def test_a_simulator_that_contradicts_the_log_is_not_used() -> None:
    log = of_texts((recall("where I live"), '{"facts": {"city": "Lisbon"}}'))  # found by meaning, not by word

    assert log.calls[0] is contradiction(MEMORY, log)
    assert "no such call of tarx_recall was recorded; the nearest differs at /query" == answer(log, recall("live"))


@pytest.mark.parametrize(
    ("call", "text", "other"),
    [
        (remember("cat", "Miso"), '{"stored": true, "key": "cat", "new": true}', remember("dog", "Rex")),
        (remember("cat", "Miso"), '{"stored": true, "count": 3}', remember("dog", "Rex")),
        (remember("cat", "Miso"), "Noted.", remember("dog", "Rex")),
        (remember("cat", "cat"), '{"stored": true, "key": "cat"}', remember("dog", "Rex")),
        (remember("cat", "Miso"), '{"stored": true, "key": "cat"}', remember("cão", "Rex")),
        (recall("cat dog"), '{"items": ["cat: Miso"]}', recall("cat")),
        (recall("cat dog"), "cat: Miso", recall("cat")),
        (recall("cat dog"), '{"facts": {}, "more": {}}', recall("cat")),
        (recall("cat dog"), '{"facts": {"cat": "Miso"}, "searched": 40}', recall("cat")),
        (save("Trams"), '{"saved": true, "id": "9f2c1e"}', save("Tiles")),
        (save("Trams"), '{"saved": true, "id": "conv-20261123094512"}', save("Tiles")),
    ],
)
def test_where_the_log_does_not_show_the_shape_the_attempt_diverges(call: Call, text: str, other: Call) -> None:
    assert "its simulator: " in answer(of_texts((call, text)), other)


def test_a_call_with_other_arguments_than_the_recorded_ones_is_unknowable() -> None:
    log = Recording(of_texts((remember("cat", "Miso"), '{"stored": true, "key": "cat"}')).calls, {})

    assert "it was called with other arguments in the log" in answer(log, made("tarx_remember", value="Rex"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"status":"ok","key":"cat"}', '{"status":"ok","key":"dog"}'), ("Stored.", "Stored."), ('"cat"', '"dog"')],
)
def test_other_shapes_are_learned_from_what_was_recorded(text: str, expected: str) -> None:
    results = Results(of_texts((remember("cat", "Miso"), text)), [MEMORY])

    assert Served(expected, False, "simulated") == results.serve(remember("dog", "Rex"))


def test_a_write_that_failed_in_the_log_leaves_the_store_unknown() -> None:
    failed = RecordedCall("tarx_remember", {"key": "cat", "value": "Miso"}, "full", True, "write")
    shown = of_texts((recall("cat dog"), '{"facts": {}}')).calls

    log = Recording((failed, *shown), SCHEMAS)
    assert "the store cannot be known" in answer(log, failed.call, recall("cat"))
    assert "it failed in the log" in answer(log, remember("dog", "Rex"))


def test_another_tool_that_writes_leaves_the_store_unknown() -> None:
    forget = RecordedCall("tarx_forget", {"key": "cat"}, "ok", False, "write")
    shown = of_texts((recall("cat dog"), '{"facts": {}}')).calls

    log = Recording((forget, *shown), {**SCHEMAS, "tarx_forget": None})
    assert "the store cannot be known" in answer(log, forget.call, recall("cat"))


class Echo:
    """A simulator of somebody else."""

    tools = frozenset({"echo"})

    def make(self, recording: Recording) -> "Echo":
        return self

    def call(self, name: str, arguments: Mapping[str, Any]) -> Simulated | Unknowable:
        return Simulated(str(arguments["text"])) if arguments else Unknowable("nothing was said")


def test_a_simulator_of_somebody_else_is_used_like_ours() -> None:
    results = Results(Recording((), {"echo": None}), [Echo()])

    assert Served("hello", False, "simulated") == results.serve(made("echo", text="hello"))
    end = results.serve(made("echo"))
    assert isinstance(end, Diverged)
    assert "no call of echo was recorded; its simulator: nothing was said" == end.why


def test_a_simulator_that_succeeds_where_the_tool_failed_is_not_used() -> None:
    failed = RecordedCall("echo", {"text": "hello"}, "hello", True, "read")

    assert failed is contradiction(Echo(), Recording((failed,), {}))


def test_the_registry_has_ours_and_names_it_when_another_is_asked_for() -> None:
    assert "tarx_memory" in SIMULATORS.names()
    with pytest.raises(ConfigError, match="unknown simulator"):
        SIMULATORS.get("nobody")


KEYS = st.sampled_from(["cat", "city", "pet_name", "ci"])
VALUES = st.sampled_from(["Miso", "Lisbon city", "old cat", "x"])
QUERIES = st.sampled_from(["cat", "city cat", "my city", "ci", "Miso", "pet_name", "CITY"])
SCRIPTS = st.lists(
    st.one_of(
        st.builds(remember, KEYS, VALUES), st.builds(recall, QUERIES), st.builds(save, st.sampled_from(["One", "Two"]))
    ),
    max_size=6,
)
STATES = st.tuples(st.dictionaries(KEYS, VALUES), st.integers(0, 3))


@given(STATES, SCRIPTS)
@settings(max_examples=300)
def test_alone_it_never_contradicts_what_the_real_tools_said(state: tuple[Any, int], script: list[Call]) -> None:
    assert None is contradiction(MEMORY, log_of(RealTools(*state), *script))


@given(STATES, SCRIPTS, SCRIPTS)
@settings(max_examples=500)
def test_whatever_a_model_calls_the_answers_are_those_of_the_real_tools(
    state: tuple[Any, int], script: list[Call], other: list[Call]
) -> None:
    results, tools = Results(log_of(RealTools(*state), *script), [MEMORY]), RealTools(*state)
    for call in other:
        served = results.serve(call)
        if isinstance(served, Diverged):
            return
        assert json.loads(tools.call(call)) == json.loads(served.text)
