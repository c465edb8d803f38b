"""Executions meet their calls: in a Workbench that loops over tools, through an MCP session, and in any order."""

import asyncio
import itertools
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI, Request
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tarx_toollog import Settings, ToolLog, ToolLogMiddleware, ToolLogTransport, logged_tool, tool_execution, watch_mcp
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.model import Exchange
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.writer import Writer
from tests.support.asgi import CHAT as PATH
from tests.support.asgi import query, recording, stored
from tests.support.builders import START_NS, TOOLS, assistant, call, exchange, result, user
from tests.support.upstream import Connection, chat_request, running, talk, whole
from tests.support.upstream import Request as Received
from tests.support.workers import serving

ROOT = Path(__file__).parents[2]
Item = Exchange | ExecutionReport
Run = Callable[[dict[str, Any]], Awaitable[str]]
SEEN = """
SELECT tool, result, result_is_error, round(exec_ms) >= 20 AS slow, exec_error
FROM v_tool_calls ORDER BY called_at, ordinal"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


# ---- a Workbench ----------------------------------------------------------------------------------------------------


def workbench(settings: Settings, upstream: str, run: Run) -> FastAPI:
    """Return a Workbench that runs the tools of each answer at once, until there are none."""
    client = httpx.AsyncClient(base_url=upstream, transport=ToolLogTransport(settings=settings))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(ToolLogMiddleware, settings=settings)

    @app.post(PATH)
    async def chat(request: Request) -> Any:
        body = await request.json()
        while True:
            answer = (await client.post(PATH, json={**body, "tools": TOOLS})).json()
            said = answer["choices"][0]["message"]
            if not said.get("tool_calls"):
                return answer
            texts = await asyncio.gather(*map(run, said["tool_calls"]))
            results = [result(c["id"], text) for c, text in zip(said["tool_calls"], texts, strict=True)]
            body = {**body, "messages": [*body["messages"], said, *results]}

    return app


def model(*answers: dict[str, Any]) -> Callable[[Received, Connection], None]:
    """Return an upstream that gives one answer after the other, by the number of results it was sent."""

    def play(request: Received, connection: Connection) -> None:
        n_answers = sum(m["role"] == "assistant" for m in json.loads(request.body)["messages"])
        message = answers[n_answers]
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "finish_reason": reason, "message": message}
        whole(json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode())(request, connection)

    return play


TWO_CALLS = assistant(
    "", call("tarx_recall", {"query": "city"}, "call_0"), call("tarx_remember", {"key": "a", "value": "b"}, "call_1")
)


@logged_tool
async def tarx_recall(query: str) -> str:
    await asyncio.sleep(0.02)
    return f"{query}: Porto"


@logged_tool
async def tarx_remember(key: str, value: str) -> str:
    raise PermissionError("the store is read-only")


TOOL_FUNCTIONS: dict[str, Callable[..., Awaitable[str]]] = {"tarx_recall": tarx_recall, "tarx_remember": tarx_remember}


async def by_name(made: dict[str, Any]) -> str:
    try:
        return await TOOL_FUNCTIONS[made["function"]["name"]](**json.loads(made["function"]["arguments"]))
    except PermissionError:
        return "Sorry, that did not work."  # as many a Workbench tells the model


async def by_id(made: dict[str, Any]) -> str:
    with tool_execution(made["id"]):
        return await by_name(made)


async def by_id_itself(made: dict[str, Any]) -> str:
    try:
        with tool_execution(made["id"]):
            await asyncio.sleep(0.02 if made["function"]["name"] == "tarx_recall" else 0)
            if made["function"]["name"] == "tarx_remember":
                raise PermissionError("the store is read-only")
            return "city: Porto"
    except PermissionError:
        return "Sorry, that did not work."


class Recall:
    """A tool as some frameworks have them: an object, whose call returns a coroutine."""

    async def __call__(self, query: str) -> str:
        return f"{await self.found(query)}: Porto"

    async def found(self, query: str) -> str:
        await asyncio.sleep(0.02)
        return query


def remember_later(key: str, value: str) -> "asyncio.Task[str]":
    async def refuse() -> str:
        raise PermissionError("the store is read-only")

    return asyncio.get_running_loop().create_task(refuse())


async def by_object_and_by_task(made: dict[str, Any]) -> str:
    arguments = json.loads(made["function"]["arguments"])
    try:
        if made["function"]["name"] == "tarx_recall":
            return await logged_tool(name="tarx_recall")(Recall())(**arguments)
        return await logged_tool(name="tarx_remember")(remember_later)(**arguments)
    except PermissionError:
        return "Sorry, that did not work."


@pytest.mark.parametrize("run", [by_name, by_id_itself, by_object_and_by_task])
def test_tools_of_a_workbench_show_their_time_and_their_failures(settings: Settings, run: Run) -> None:
    # Two requests of two clients, whose model gives the same ids again.
    with running(model(TWO_CALLS, assistant("Done."))) as up, serving(workbench(settings, up.url, run)) as url:
        for client in ("a", "b"):
            assert 200 == talk(url, chat_request(headers=[("user-agent", client)])).status
    assert 6 == len(stored(settings))

    assert [
        {"tool": "tarx_recall", "result": "city: Porto", "result_is_error": 0, "slow": 1, "exec_error": None},
        {
            "tool": "tarx_remember",
            "result": "Sorry, that did not work.",
            "result_is_error": 1,
            "slow": 0,
            "exec_error": "PermissionError: the store is read-only",
        },
    ] * 2 == query(settings, SEEN)
    assert [("exec",)] * 2 == [
        (row["error_how"],) for row in query(settings, "SELECT error_how FROM tool_result WHERE is_error")
    ]
    assert [(4, 4)] == [
        tuple(row.values())
        for row in query(settings, "SELECT COUNT(*), COUNT(DISTINCT tool_call_id) FROM tool_execution")
    ]
    assert {1} == {row["n_error_results"] for row in query(settings, "SELECT n_error_results FROM turn")}


def test_a_failure_inside_a_block_that_the_tool_caught_is_none(settings: Settings) -> None:
    with running(model(TWO_CALLS, assistant("Done."))) as up, serving(workbench(settings, up.url, by_id)) as url:
        assert 200 == talk(url, chat_request()).status
    stored(settings)

    assert [("tarx_recall", 0), ("tarx_remember", 0)] == [
        (row["tool"], row["result_is_error"]) for row in query(settings, SEEN)
    ]


# ---- MCP ------------------------------------------------------------------------------------------------------------


def test_tools_of_a_real_mcp_server_are_measured_through_the_session(settings: Settings) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "tests.support.mcp_server"], cwd=ROOT)

    async def talk_to_it() -> None:
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            assert session is watch_mcp(watch_mcp(session, settings=settings), settings=settings)
            await session.call_tool("tarx_recall", {"query": "city"})
            await session.call_tool("tarx_remember", {"key": "a", "value": "b"})
            with tool_execution("call_9", settings=settings):
                await session.call_tool(name="tarx_remember", arguments={"key": "c", "value": "d"})

    asyncio.run(talk_to_it())
    assert recorder_for(settings).flush(20)

    rows = query(
        settings, "SELECT call_id, name, is_error, source, error_text, exec_ms FROM tool_execution ORDER BY id"
    )
    assert rows[0].pop("exec_ms") >= 50
    assert [
        (None, "tarx_recall", 0, "mcp", None),
        (None, "tarx_remember", 1, "mcp", "Error executing tool tarx_remember: no room for a"),
        ("call_9", "tarx_remember", 1, "context", "Error executing tool tarx_remember: no room for c"),
    ] == [tuple(row.values())[:5] for row in rows]


# ---- any order ------------------------------------------------------------------------------------------------------


def report(number: int, **values: Any) -> ExecutionReport:
    defaults: dict[str, Any] = {
        "uid": f"01a20000-0000-7000-8000-00000000010{number}",
        "started_ns": START_NS + 1_000_000_000,
        "took_ns": 40_000_000,
        "source": "context",
        "is_error": True,
        "error_type": "OSError",
        "error_text": "disk full",
        "client_key": "c1",
    }
    return ExecutionReport(**{**defaults, **values})


def written(folder: Path, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Write each in a transaction of its own; return the calls with what is known of them."""
    where = Settings(database=str(folder / f"{len(list(folder.iterdir()))}.db"))
    with ToolLog.open(settings=where, read_only=False) as log:
        writer = Writer(None)
        for item in items:
            with log.engine.begin() as connection:
                if isinstance(item, ExecutionReport):
                    writer.write_execution(connection, item)
                else:
                    writer.write(connection, item)
                writer.settle(connection)
        with log.engine.connect() as connection:
            rows = connection.execute(sa.text(ORDERED)).mappings()
            return [dict(row) for row in rows]


ORDERED = """
SELECT v.tool, v.ordinal, v.result_is_error, v.exec_ms, v.exec_error, r.error_how, t.n_error_results
FROM v_tool_calls v
JOIN exchange e ON e.uid = v.exchange_uid
JOIN tool_call c ON c.exchange_id = e.id AND c.ordinal = v.ordinal
LEFT JOIN tool_result r ON r.tool_call_id = c.id
LEFT JOIN turn t ON t.conversation_id = c.conversation_id AND t.turn_no = c.turn_no
ORDER BY v.called_at, v.ordinal"""


def step(text: str = "Sorry.", **options: Any) -> list[Exchange]:
    """Return an exchange with two calls of one tool, as begun and finished, and the one that brings the results."""
    made = assistant("", call("tarx_recall", {"query": "a"}, "call_0"), call("tarx_recall", {"query": "b"}, "call_1"))
    ids = {"uid": "01a20000-0000-7000-8000-000000000001", "tools": TOOLS, **options}
    first = [exchange([user("Do")], None, end=False, open_ended=True, **ids), exchange([user("Do")], made, **ids)]
    history = [user("Do"), made, result("call_0", text), result("call_1", text)]
    second = exchange(history, assistant("Done."), tools=TOOLS, at_s=2, uid="01a20000-0000-7000-8000-000000000002")
    return [*first, second]


@pytest.mark.parametrize("keys", [{"call_id": "call_1"}, {"name": "tarx_recall"}], ids=["by id", "by name"])
def test_reports_and_calls_and_results_may_come_in_any_order(tmp_path: Path, keys: dict[str, str]) -> None:
    begun, finished, second = step()
    fine = {"is_error": False, "error_type": None, "error_text": None}
    # By name: the tools began in the order of the calls.
    first_key = {"call_id": "call_0"} if "call_id" in keys else keys
    reports = [report(1, **first_key, **fine), report(2, **keys, started_ns=START_NS + 1_500_000_000)]
    expected = [
        ("tarx_recall", 0, 0, 40.0, None, None, 1),
        ("tarx_recall", 1, 1, 40.0, "OSError: disk full", "exec", 1),
    ]
    items: list[Item] = [finished, second, *reports]
    tails = [order for order in itertools.permutations(items) if order.index(reports[0]) < order.index(reports[1])]
    for tail in tails:
        rows = written(tmp_path, [begun, *tail])
        assert expected == [tuple(row.values()) for row in rows]


def test_a_repeated_id_means_the_latest_call_before_the_tool_ran(tmp_path: Path) -> None:
    made = assistant("", call("tarx_recall", {"query": "a"}, "call_0"))
    calls = [
        exchange([user(f"Do {number}")], made, tools=TOOLS, at_s=number * 10.0, client_key=f"c{number}")
        for number in range(3)
    ]
    answered = [
        exchange(
            [user(f"Do {number}"), made, result("call_0", "x")], None, at_s=number * 10.0 + 5, client_key=f"c{number}"
        )
        for number in range(3)
    ]
    reported = report(1, call_id="call_0", started_ns=START_NS + 12_000_000_000)

    items: list[Item] = [*calls, reported]
    for order in itertools.permutations(items):
        rows = written(tmp_path, [*order, *answered])
        assert [(None, 0), (40.0, 1), (None, 0)] == [(row["exec_ms"], row["result_is_error"]) for row in rows]
    rows = written(tmp_path, [calls[0], answered[0], reported, *calls[1:], *answered[1:]])
    assert [(None, 0), (40.0, 1), (None, 0)] == [(row["exec_ms"], row["result_is_error"]) for row in rows]


def test_a_tool_that_was_tried_again_shows_its_latest_run(tmp_path: Path) -> None:
    made = assistant("", call("tarx_recall", {"query": "a"}, "call_0"))
    again = report(2, name="tarx_recall", started_ns=START_NS + 1_200_000_000, took_ns=7_000_000, is_error=False)
    rows = written(tmp_path, [exchange([user("Do")], made, tools=TOOLS), report(1, name="tarx_recall"), again])

    assert [(7.0, None)] == [(row["exec_ms"], row["exec_error"]) for row in rows]


def test_a_report_is_stored_once(tmp_path: Path) -> None:
    items: list[Item] = [*step(), report(1, call_id="call_0"), report(1, call_id="call_0")]
    written(tmp_path, items)
    (database,) = tmp_path.iterdir()
    with ToolLog.open(database) as log:
        assert [(1,)] == list(log.query("SELECT COUNT(*) FROM tool_execution").rows)


def test_a_result_that_reports_the_failure_itself_keeps_its_own_reason(tmp_path: Path) -> None:
    rows = written(tmp_path, [*step('{"error": "disk full"}'), report(1, call_id="call_0")])

    assert ["json_key", "json_key"] == [row["error_how"] for row in rows]


def test_reports_of_a_killed_process_are_read_by_its_heir(settings: Settings) -> None:
    program = """
import os, sys
from tarx_toollog import Settings, tool_execution
with tool_execution("call_1", settings=Settings(database=sys.argv[1], idle_ms=60_000, max_delay_ms=60_000)):
    pass
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program, settings.database], check=False)
    recorder_for(settings).hold()
    recorder_for(settings).close()

    assert (9, [{"call_id": "call_1"}]) == (done.returncode, query(settings, "SELECT call_id FROM tool_execution"))


def test_what_must_not_be_stored_is_taken_out_of_the_error(tmp_path: Path) -> None:
    with recording(tmp_path, redact="secrets") as made:
        with pytest.raises(ValueError, match="hunter2"), tool_execution("call_1", settings=made):
            raise ValueError("DB_PASSWORD=hunter2")
        assert recorder_for(made).flush(20)
        (row,) = query(made, "SELECT error_text FROM tool_execution")

    assert "hunter2" not in row["error_text"]


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_run_and_do_what_it_says(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "tool-execution.md").read_text("utf-8")
    monkeypatch.setattr("tarx_toollog.capture.recorder._recorders", {})
    recorder = recorder_for(settings)
    names: dict[str, Any] = {"fetch": lambda arguments: (500, "no")}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    assert "no" == names["run_tool"]({"id": "call_1", "function": {"name": "tarx_fetch", "arguments": "{}"}})
    assert "city: Porto" == asyncio.run(names["tarx_recall"]("city"))
    with pytest.raises(OSError, match="disk full"):
        names["remember"]("a", "b", call_id="call_2")
    monkeypatch.chdir(ROOT)
    assert "city: Porto" == asyncio.run(names["ask_server"](sys.executable, "-m", "tests.support.mcp_server"))
    assert recorder.flush(20)

    rows = query(settings, "SELECT call_id, name, error_type, error_text, source FROM tool_execution ORDER BY id")
    assert [
        ("call_1", "tarx_fetch", "HTTP 500", "no", "context"),
        (None, "tarx_recall", None, None, "decorator"),
        ("call_2", "tarx_remember", "OSError", "disk full", "decorator"),
        (None, "tarx_recall", None, None, "mcp"),
    ] == [tuple(row.values()) for row in rows]
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert [] == query(settings, sql)
