"""What a program tells about its tools: measured once, journalled, and never in the way of the tool."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import Settings, logged_tool, tool_execution, watch_mcp
from tarx_toollog.capture.recorder import recorder_for
from tests.support.asgi import query, recording

COLUMNS = "call_id, name, is_error, error_type, error_text, source, tool_call_id"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        recorder_for(made)  # the only one of this process: what has no settings of its own goes there
        yield made


@pytest.fixture(autouse=True)
def only_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.capture.recorder._recorders", {})


def executions(settings: Settings, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
    recorder = recorder_for(settings)
    assert recorder.flush(20), recorder.last_error
    return [tuple(row.values()) for row in query(settings, f"SELECT {columns} FROM tool_execution ORDER BY id")]


def test_a_block_is_measured(settings: Settings) -> None:
    async def run() -> None:
        with tool_execution("call_1", "tarx_recall"):
            await asyncio.sleep(0.03)

    asyncio.run(run())

    assert [("call_1", "tarx_recall", 0, None, None, "context", None)] == executions(settings)
    ((took_ms,),) = executions(settings, "exec_ms")
    assert 30 <= took_ms < 1000


def test_an_exception_is_recorded_and_goes_on(settings: Settings) -> None:
    with pytest.raises(KeyError), tool_execution("call_1"):
        raise KeyError("no such fact")

    assert [("call_1", None, 1, "KeyError", "'no such fact'", "context", None)] == executions(settings)


def test_a_tool_that_is_cancelled_has_failed(settings: Settings) -> None:
    @logged_tool
    async def slow() -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())

    assert [(None, "slow", 1, "CancelledError", "", "decorator", None)] == executions(settings)


def test_a_failure_that_is_returned_can_be_told(settings: Settings) -> None:
    with tool_execution("call_1") as execution:
        execution.failed("HTTP 500", kind="upstream")

    assert [("call_1", None, 1, "upstream", "HTTP 500", "context", None)] == executions(settings)


def test_a_failure_may_be_told_with_whatever_the_tool_gave(settings: Settings) -> None:
    whatever: Any = OSError("disk full")
    with tool_execution("call_1") as execution:
        execution.failed(whatever, kind=whatever.errno or whatever.__class__)
    whatever = {"code": 7}
    with tool_execution("call_2") as execution:
        execution.failed(whatever)

    assert [("<class 'OSError'>", "disk full"), (None, "{'code': 7}")] == executions(settings, "error_type, error_text")


def test_a_decorated_function_keeps_its_name_its_result_and_its_exception(settings: Settings) -> None:
    @logged_tool
    def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    @logged_tool(name="tarx_divide")
    async def divide(a: int, b: int) -> float:
        return a / b

    assert ("add", "Add.", 5) == (add.__name__, add.__doc__, add(2, b=3))
    assert 2.0 == asyncio.run(divide(4, 2))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(divide(4, 0))
    assert [
        (None, "add", 0, None, None, "decorator", None),
        (None, "tarx_divide", 0, None, None, "decorator", None),
        (None, "tarx_divide", 1, "ZeroDivisionError", "division by zero", "decorator", None),
    ] == executions(settings)


def test_a_parameter_of_the_function_names_the_call(settings: Settings) -> None:
    @logged_tool
    def by_keyword(query: str, *, call_id: str | None = None) -> None: ...

    @logged_tool
    def by_place(tool_call_id: int, query: str) -> None: ...

    by_keyword("x", call_id="call_7")
    by_keyword("x")
    by_place(8, "x")

    assert [("call_7", "by_keyword"), (None, "by_keyword"), ("8", "by_place")] == executions(settings, "call_id, name")


def test_a_block_around_a_decorated_function_is_one_execution(settings: Settings) -> None:
    @logged_tool
    def inner() -> None: ...

    with tool_execution("call_1"):
        inner()
    inner()

    assert [("call_1", "inner", "context"), (None, "inner", "decorator")] == executions(
        settings, "call_id, name, source"
    )


def test_a_tool_that_runs_an_agent_leaves_that_ones_calls_their_own(settings: Settings) -> None:
    @logged_tool
    def lookup(call_id: str) -> None: ...

    @logged_tool
    def agent(call_id: str) -> None:
        lookup("of the agent")

    agent("of the model")

    assert [("of the agent", "lookup"), ("of the model", "agent")] == executions(settings, "call_id, name")


def test_work_that_outlives_a_tool_is_no_part_of_it(settings: Settings) -> None:
    @logged_tool
    async def later() -> None: ...

    async def run() -> None:
        over = asyncio.Event()

        async def background() -> None:
            await over.wait()
            await later()

        with tool_execution("call_1", "starter"):
            task = asyncio.create_task(background())
            await asyncio.sleep(0)
        over.set()
        await task

    asyncio.run(run())

    assert ["starter", "later"] == [name for (name,) in executions(settings, "name")]


# ---- what is not over when the function returns ---------------------------------------------------------------------


async def slow_failure(call_id: str) -> str:
    await asyncio.sleep(0.05)
    raise OSError(f"no room for {call_id}")


class SlowTool:
    async def __call__(self, call_id: str) -> str:
        return await slow_failure(call_id)


def coroutine_of(call_id: str) -> Coroutine[Any, Any, str]:
    time.sleep(0.02)
    return slow_failure(call_id)


def task_of(call_id: str) -> "asyncio.Task[str]":
    return asyncio.get_running_loop().create_task(slow_failure(call_id))


@pytest.mark.parametrize(
    ("tool", "least_ms"),
    [
        (slow_failure, 50),
        (SlowTool(), 50),
        (SlowTool().__call__, 50),
        (partial(SlowTool()), 50),
        (partial(slow_failure), 50),
        (coroutine_of, 70),
        (task_of, 50),
    ],
    ids=["function", "object", "method", "partial of an object", "partial", "returned coroutine", "returned task"],
)
def test_an_asynchronous_tool_is_measured_to_its_end(
    tool: Callable[[str], Awaitable[str]], least_ms: int, settings: Settings
) -> None:
    logged = logged_tool(name="tarx_save")(tool)

    async def run() -> None:
        asked = logged("call_1")
        await asyncio.sleep(0)
        await asked

    with pytest.raises(OSError, match="no room for call_1"):
        asyncio.run(run())

    assert [("call_1", "tarx_save", 1, "OSError", "no room for call_1", "decorator", None)] == executions(settings)
    ((took_ms,),) = executions(settings, "exec_ms")
    assert least_ms <= took_ms < 1000


def test_a_framework_still_sees_that_a_tool_is_asynchronous() -> None:
    for tool in (slow_failure, SlowTool(), partial(slow_failure)):
        assert inspect.iscoroutinefunction(logged_tool(tool))


def test_time_in_which_a_coroutine_only_waits_for_somebody_to_run_it_is_not_the_tools(settings: Settings) -> None:
    @logged_tool
    def quick() -> Coroutine[Any, Any, None]:
        return asyncio.sleep(0.01)

    async def run() -> None:
        asked = quick()
        await asyncio.sleep(0.3)
        await asked

    asyncio.run(run())

    ((took_ms,),) = executions(settings, "exec_ms")
    assert 10 <= took_ms < 200


def test_a_task_that_a_tool_returns_stays_what_it_is(settings: Settings) -> None:
    """Also when nobody asks for its failure: asyncio then complains, which a look at it must not prevent."""
    complaints: list[str] = []
    tasks: list[asyncio.Task[str]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, about: complaints.append(about["message"]))
        cancelled = logged_tool(task_of)("call_1")
        assert isinstance(cancelled, asyncio.Task)
        await asyncio.sleep(0)
        cancelled.cancel()
        tasks.append(logged_tool(task_of)("call_2"))
        await asyncio.sleep(0.1)
        tasks.clear()

    asyncio.run(run())

    assert ["Task exception was never retrieved"] == complaints
    assert [("call_1", "CancelledError"), ("call_2", "OSError")] == executions(settings, "call_id, error_type")


@logged_tool
def pieces(call_id: str) -> Iterator[int]:
    yield 1
    raise ValueError("in the middle")


@logged_tool
async def pieces_in_time(call_id: str) -> AsyncIterator[int]:
    yield 1


@logged_tool
def pieces_made(call_id: str) -> Iterator[int]:
    return iter_of(call_id)


@logged_tool
async def pieces_promised(call_id: str) -> Iterator[int]:
    return iter_of(call_id)


def iter_of(call_id: str) -> Iterator[int]:
    yield len(call_id)


class Promise:
    def __await__(self) -> Generator[Any, Any, Any]:
        return asyncio.sleep(0.01).__await__()


@logged_tool
def promised(call_id: str) -> Promise:
    return Promise()


def test_generators_and_promises_of_other_kinds_are_left_alone(settings: Settings) -> None:
    async def run() -> None:
        assert [1] == [piece async for piece in pieces_in_time("call_2")]
        assert [6] == list(await pieces_promised("call_4"))
        await promised("call_5")

    with pytest.raises(ValueError, match="in the middle"):
        list(pieces("call_1"))
    assert [6] == list(pieces_made("call_3"))
    asyncio.run(run())
    assert isinstance(promised("call_5"), Promise)
    assert inspect.isgeneratorfunction(pieces)
    assert inspect.isasyncgenfunction(pieces_in_time)

    with tool_execution("call_6"):
        pass
    assert ["call_6"] == [call_id for (call_id,) in executions(settings, "call_id")]


def test_a_tool_that_fails_before_it_returns_a_generator_has_failed(settings: Settings) -> None:
    @logged_tool
    def tool() -> Iterator[int]:
        if settings.enabled:
            raise ValueError("no such table")
        return iter_of("")

    with pytest.raises(ValueError, match="no such table"):
        tool()

    assert [("ValueError",)] == executions(settings, "error_type")


def test_a_result_that_does_not_want_to_be_looked_at_is_returned(settings: Settings) -> None:
    class Shy:
        @property  # type: ignore[misc]  # as proxies of web frameworks do
        def __class__(self) -> Any:
            raise RuntimeError("not bound yet")

    shy = Shy()
    tool = logged_tool(lambda: shy)

    assert shy is tool()
    assert [(0,)] == executions(settings, "is_error")


def test_a_disk_that_is_full_costs_the_report_and_not_the_result(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    recorder = recorder_for(settings)
    monkeypatch.setattr(recorder, "append", full)
    with tool_execution("call_1"):
        done = True

    assert (True, 1) == (done, recorder.failures)


def test_without_capture_nothing_is_recorded(tmp_path: Path) -> None:
    off = Settings(database=str(tmp_path / "t.db"), enabled=False)

    @logged_tool(settings=off)
    def tool() -> int:
        return 1

    assert 1 == tool()
    assert [] == list(tmp_path.iterdir())


def test_what_is_no_session_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    thing = object()

    assert thing is watch_mcp(thing)
    assert ["object has no call_tool that could be watched"] == [record.message for record in caplog.records]


def test_an_error_without_end_is_kept_up_to_a_limit(settings: Settings) -> None:
    with pytest.raises(ValueError, match="x"), tool_execution("call_1"):
        raise ValueError("x" * 1_000_000)

    assert [(10_000,)] == executions(settings, "length(error_text)")
