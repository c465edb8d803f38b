"""The values that the writer puts into a row: build, limit, budget, and what is new in a conversation."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.store.builds import Place, Probed, write_probe
from tarx_toollog.store.context_budget import ContextBudgets, PromptPlace
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.schema import exchange as exchange_table
from tarx_toollog.wire.model_facts import ModelFacts
from tests.support.builders import TOOLS, assistant, call, exchange, result, system, user


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


class Budgets:
    """Writes exchanges and returns the values that the writer puts into their rows."""

    def __init__(self, log: ToolLog, upstream: str | None = "http://u") -> None:
        self._log = log
        self._budgets = ContextBudgets(upstream)

    def of(self, item: Exchange, **options: Any) -> dict[str, Any]:
        key = self._log.write([item])[0]
        columns = [exchange_table.c[name] for name in ("parent_exchange_id", "system_node_id", "toolset_id")]
        with self._log.engine.begin() as connection:
            place = PromptPlace._make(connection.execute(sa.select(*columns).where(exchange_table.c.id == key)).one())
            values = self._budgets.values(connection, place, item, **options)
            connection.execute(sa.update(exchange_table).where(exchange_table.c.id == key).values(values))
        return values


def with_usage(input_tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": input_tokens, "completion_tokens": 5}
    return {"id": "r", "model": "m-q4", "usage": usage}


def answer(
    messages: list[dict[str, Any]], text: str, input_tokens: int | None, *, model: str = "m-q4", **options: Any
) -> Exchange:
    body: dict[str, Any] = {"id": "r"} if input_tokens is None else with_usage(input_tokens)
    body["model"] = model
    body["choices"] = [{"index": 0, "finish_reason": "stop", "message": assistant(text)}]
    return exchange(messages, assistant(text), body=body, **options)


def test_history_is_what_the_parents_prompt_and_answer_were_and_new_is_the_rest(log: ToolLog) -> None:
    budgets = Budgets(log)
    first = [system("s" * 70), user("q" * 270)]
    second = [*first, assistant("a" * 570), user("r" * 170)]
    opened = budgets.of(answer(first, "a" * 570, 400))
    followed = budgets.of(answer(second, "done", 1200, at_s=60))

    assert {
        "model_build_id": None,
        "ctx_limit": None,
        "tool_tokens": 0,
        "system_tokens": 100,
        "history_tokens": 0,
        "new_tokens": 300,
        "budget_source": "exact",
        "truncation": "none",
        "poisoned": False,
    } == opened
    assert (100, 900, 200) == (followed["system_tokens"], followed["history_tokens"], followed["new_tokens"])


def test_what_follows_the_last_answer_is_new_where_the_parent_is_not_known(log: ToolLog) -> None:
    messages = [user("q" * 270), assistant("a" * 570), user("r" * 270)]
    found = Budgets(log).of(answer(messages, "done", 1200))

    assert (900, 300) == (found["history_tokens"], found["new_tokens"])


def test_a_count_that_shrinks_within_a_conversation_is_suspected_unless_something_else_changed(log: ToolLog) -> None:
    first = [system("s"), user("q" * 9000)]
    second = [*first, assistant("a" * 9000), user("and?")]
    changed = [system("t"), *second[1:]]
    budgets = Budgets(log)
    budgets.of(answer(first, "a" * 9000, 3000))

    assert "suspected" == budgets.of(answer(second, "x", 2500, at_s=60))["truncation"]
    assert "none" == budgets.of(answer(changed, "y", 2500, at_s=61))["truncation"]
    assert "none" == budgets.of(answer(second, "z", 2500, at_s=62, tools=TOOLS))["truncation"]
    assert "none" == budgets.of(answer(second, "w", 2500, at_s=63, model="another"))["truncation"]


def test_a_count_is_not_compared_with_an_estimate(log: ToolLog) -> None:
    first = [user("q" * 9000)]
    budgets = Budgets(log)
    assert 2000 < budgets.of(answer(first, "a" * 9000, None))["input_tokens"]

    second = [*first, assistant("a" * 9000), user("and?")]
    assert "none" == budgets.of(answer(second, "x", 2500, at_s=60))["truncation"]


def test_a_window_of_the_history_is_not_taken_for_its_beginning(log: ToolLog) -> None:
    made = call("tarx_recall", {"query": "city"}, "call_of_ours")
    first = [user("one"), assistant("1"), user("two")]
    window = [user("two"), assistant(None, made), result("call_of_ours", "x"), user("y"), assistant("z")]
    budgets = Budgets(log)
    budgets.of(exchange(first, assistant(None, made)))
    sent = 33 + (30 + len("tarx_recall") + len('{"query": "city"}')) + 31 + 31 + 31
    found = budgets.of(answer([*window, user("r" * 970)], "done", sent + 1000, at_s=60))

    # The parent's prompt and answer are four messages; here they are not the first four.
    assert (sent, 1000) == (found["history_tokens"], found["new_tokens"])


def test_the_build_gives_the_limit_and_the_request_or_the_server_a_better_one(log: ToolLog) -> None:
    budgets = Budgets(log)
    probed = Probed(
        Place("http://u", "m-q4"), ModelFacts(model="m-q4", n_ctx=4096), None, answer([user("hi")], "yes", 1).started_at
    )
    with log.engine.begin() as connection:
        build_id = write_probe(connection, probed)
    known = answer([user("hi")], "yes", 100, at_s=1)
    asked = answer([user("hi")], "yes", 100, at_s=1, params={"options": {"num_ctx": 2048}})

    assert (build_id, 4096) == _build(budgets.of(known))
    assert (build_id, 2048) == _build(budgets.of(asked))
    # Nobody answered there, or somebody else did.
    assert (None, None) == _build(budgets.of(answer([user("hi")], "yes", 100, at_s=1, upstream="http://other")))
    unreached = replace(answer([user("hi")], "yes", 100, at_s=1), outcome=Outcome.PROXY_ERROR)
    assert (None, None) == _build(budgets.of(unreached))
    assert (None, None) == _build(Budgets(log, upstream=None).of(answer([user("hi")], "yes", 100, at_s=1)))


def test_a_replay_is_of_the_build_that_its_run_has_found_whatever_a_probe_saw(log: ToolLog) -> None:
    seen = answer([user("hi")], "yes", 1).started_at
    with log.engine.begin() as connection:
        write_probe(connection, Probed(Place("http://u", "m-q4"), ModelFacts(model="m-q4", n_ctx=4096), None, seen))
    start: dict[str, Any] = {"tag": "t", "model": "m", "endpoint": "http://u", "params": {}, "server": None}
    known = Replays(log).start_run(name="known", facts=ModelFacts(file_name="a.gguf", n_ctx=512), **start)
    unknown = Replays(log).start_run(name="unknown", **start)

    asked = [answer([user("hi")], "yes", 100, at_s=1, leg="replay", run_uid=run.uid) for run in (known, unknown)]
    assert [512, None] == [Budgets(log).of(item)["ctx_limit"] for item in asked]


def _build(values: dict[str, Any]) -> tuple[int | None, int | None]:
    return values["model_build_id"], values["ctx_limit"]


def test_without_a_count_the_input_is_estimated_by_the_exchanges_before(log: ToolLog) -> None:
    budgets = Budgets(log)
    for number in range(5):
        budgets.of(answer([user("q" * 49_970 + str(number))], "yes", 25_000))
    found = budgets.of(answer([user("q" * 9970)], "yes", None))

    assert ("estimated", "estimated") == (found["budget_source"], found["usage_source"])
    assert 4900 < found["input_tokens"] < 5000
    assert found["input_tokens"] == found["new_tokens"]


def test_a_request_without_an_answer_has_a_budget_but_no_input_tokens(log: ToolLog) -> None:
    item = exchange([user("hi")], None, status=500, body={"error": {"message": "no"}})
    found = Budgets(log).of(item)

    assert "estimated" == found["budget_source"]
    assert not {"input_tokens", "usage_source"} & set(found)


def test_a_body_that_is_no_chat_has_no_budget(log: ToolLog) -> None:
    item = replace(answer([user("hi")], "yes", 100), request=None)

    assert {"model_build_id": None, "ctx_limit": None} == Budgets(log).of(item)


def test_nothing_is_learned_from_an_exchange_that_may_be_truncated(log: ToolLog) -> None:
    budgets = Budgets(log)
    for _ in range(5):
        body = {**with_usage(50), "choices": [{"index": 0, "finish_reason": "length", "message": assistant("x")}]}
        options = {"params": {"options": {"num_ctx": 55}}}
        budgets.of(exchange([user("q" * 50_000)], assistant("x"), body=body, **options))

    assert 3000 < budgets.of(answer([user("q" * 9970)], "yes", None))["input_tokens"] < 3100
