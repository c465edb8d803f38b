"""True execution times: what a program tells about the tools that it runs.

Traffic shows when a call went out and when its result came back, and a result that says nothing of a failure. How long
the tool itself ran, and whether it failed, only the program knows that ran it. Three ways to tell, for three kinds of
program: a ``with`` block, a decorator, a hook for an MCP session. A report is one frame of the journal, like those of
captures; ``store.executions`` finds the call that it belongs to.

*Theory.* A run is over when the tool has done its work, which is not always when its function returns. A coroutine
works while it is awaited, wherever it was made, so its time is that of the function and of the await together, without
the pause between them. A future or task works from the moment when it is made, and says itself when it is over.
Generators, and objects that can be awaited but are none of these, are over when somebody has stopped asking them:
nobody can tell when that is, so they are left alone rather than recorded with a time that means nothing.

Nothing here raises on its own, and nothing here waits. What a tool raises goes on to its caller unchanged.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, Token
from functools import wraps
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

from tarx_toollog.capture.context import inbound
from tarx_toollog.capture.recorder import Recorder, recorder_in_use, recorder_or_none
from tarx_toollog.config import Settings
from tarx_toollog.store.frames import ExecutionReport, Kind, json_payload

logger = logging.getLogger("tarx_toollog.capture")

_MAX_TEXT = 10_000  # characters of an error that are kept: a whole page of HTML tells no more than its beginning
_ID_PARAMETERS = ("call_id", "tool_call_id")
_WATCHED = "_tarx_toollog_watched"

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class ToolExecution:
    """One run of a tool while it happens. Made by ``tool_execution``; use it once, in a ``with`` block."""

    __slots__ = (
        "_client_key",
        "_error",
        "_inbound_uid",
        "_recorder",
        "_reports",
        "_start_ns",
        "_started_ns",
        "_token",
        "_took_ns",
        "call_id",
        "is_over",
        "name",
        "source",
    )

    def __init__(self, recorder: Recorder | None, call_id: str | None, name: str | None, source: str) -> None:
        self.call_id = call_id
        self.name = None if name is None else str(name)
        self.source = source
        self.is_over = False
        self._recorder = recorder
        self._error: tuple[str | None, str] | None = None
        self._start_ns = self._started_ns = self._took_ns = 0
        self._reports: Literal["at exit", "later", "never"] = "at exit"
        self._inbound_uid: str | None = None
        self._client_key: str | None = None
        self._token: Token[ToolExecution | None] | None = None

    def failed(self, text: str, *, kind: str | None = None) -> None:
        """Say that the tool failed although it raises nothing.

        Args:
            text: What it reported.
            kind: Type of the error, where there is a name for it.
        """
        self._error = (kind, text)

    def __enter__(self) -> "ToolExecution":
        self._token = _running.set(self)
        if self._reports == "at exit":
            self._started_ns = time.time_ns()
            self._took_ns = 0
        self._start_ns = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._took_ns += time.monotonic_ns() - self._start_ns
        if self._token is not None:
            try:
                _running.reset(self._token)
            except ValueError:  # left in another task than entered, as generators do; that task's context ends with it
                pass
        if self._reports == "at exit":
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self.is_over = True
        if self._recorder is None:
            return
        try:
            if error is not None:
                self._error = (type(error).__name__, _text_of(error))
            self._report(self._recorder, self._took_ns)
        except Exception as trouble:  # noqa: BLE001 - a report that cannot be kept must not cost the tool its result
            self._recorder.failed(trouble)

    def _until_over(self, result: Any) -> Any:
        """Return what a function returned, and see that the run is reported when it is over.

        It is the same object; only a coroutine is put into another one, for there is no other way to see it end.
        """
        try:
            kind = _kind_of(result)
            if kind == "endless":
                self._reports = "never"
            elif kind == "future":
                result.add_done_callback(self._future_over)
                self._reports = "later"
            elif kind == "coroutine":
                self._reports = "later"
                return self._coroutine_over(result)
        except Exception as trouble:  # noqa: BLE001 - a result of somebody else's, which may not like to be looked at
            if self._recorder is not None:
                self._recorder.failed(trouble)
        return result

    async def _coroutine_over(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self:
            self._reports = "at exit"
            return await coroutine

    def _future_over(self, future: "asyncio.Future[Any]") -> None:
        self._took_ns = time.monotonic_ns() - self._start_ns
        # Not exception(): asyncio would take it for somebody's look at the failure and no longer complain of it.
        self._end(asyncio.CancelledError() if future.cancelled() else getattr(future, "_exception", None))

    def _report(self, recorder: Recorder, took_ns: int) -> None:
        inside = inbound.get()
        capture = inside.capture if inside is not None else None
        kind, text = self._error or (None, None)
        uid, uid_bytes = recorder.new_uid()
        report = ExecutionReport(
            uid=uid,
            started_ns=self._started_ns,
            took_ns=took_ns,
            source=self.source,
            call_id=None if self.call_id is None else str(self.call_id),
            name=self.name,
            is_error=self._error is not None,
            error_type=None if kind is None else _text_of(kind),
            error_text=None if text is None else _text_of(text)[:_MAX_TEXT],
            inbound_uid=None if capture is None or capture.is_dropped else capture.uid,
            client_key=inside.client_key if inside is not None else None,
        )
        recorder.append([(Kind.EXECUTION, uid_bytes, json_payload(report))])


_running: ContextVar[ToolExecution | None] = ContextVar("tarx_toollog_execution", default=None)


def tool_execution(
    call_id: str | None = None, name: str | None = None, *, settings: Settings | None = None
) -> ToolExecution:
    """Measure one run of a tool: its time, and the exception that it raises, if it does.

    Works in functions and coroutines alike.

    Example::

        with tool_execution(call["id"], call["function"]["name"]) as execution:
            answer = run(call)
            if not answer.ok:
                execution.failed(answer.text)

    Args:
        call_id: The id of the call, as it stands in the model's answer. Without it the call is found by ``name``.
        name: Name of the tool.
        settings: Settings to use; left out, those of the taps in this process.
    """
    return ToolExecution(_recorder(settings), call_id, name, "context")


@overload
def logged_tool(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def logged_tool(
    *, name: str | None = None, settings: Settings | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def logged_tool(
    function: Callable[P, R] | None = None, /, *, name: str | None = None, settings: Settings | None = None
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Measure every run of a function that is a tool.

    Coroutines, tasks and futures that it returns are measured to their end. Generators are left alone.

    The call is that of a parameter ``call_id`` or ``tool_call_id``, where the function has one. Without it the call is
    found by the tool's name, in the order in which the tools of a step began. Inside a ``tool_execution`` block that
    block counts, not the function: the model asked for one thing.

    Example::

        @logged_tool
        async def tarx_recall(query: str) -> str: ...

    Args:
        function: The function or coroutine function.
        name: Name of the tool; the function's own when left out.
        settings: As for ``tool_execution``.
    """

    def decorate(wrapped: Callable[P, R]) -> Callable[P, R]:
        return _logged(wrapped, name or getattr(wrapped, "__name__", None), settings)

    return decorate if function is None else decorate(function)


def watch_mcp(session: S, *, settings: Settings | None = None) -> S:
    """Measure every tool that is called through a client session of the MCP SDK (``mcp.ClientSession``).

    A result with its error flag set counts as a failure. Inside a ``tool_execution`` block that block counts, and the
    flag makes it a failed one.

    Example::

        session = watch_mcp(ClientSession(read, write))

    Args:
        session: The session; the same object comes back.
        settings: As for ``tool_execution``.
    """
    try:
        call_tool = cast("Any", session).call_tool
        if not hasattr(call_tool, _WATCHED):
            watched = _watched(call_tool, settings)
            setattr(watched, _WATCHED, True)
            cast("Any", session).call_tool = watched
    except AttributeError:  # not a session, or one that takes no attributes
        logger.warning("%s has no call_tool that could be watched", type(session).__name__)
    return session


def _logged(function: Callable[P, R], name: str | None, settings: Settings | None) -> Callable[P, R]:
    if _says(function, inspect.isgeneratorfunction) or _says(function, inspect.isasyncgenfunction):
        return function
    call_id_of = _call_id_reader(function)

    if _says(function, inspect.iscoroutinefunction):

        @wraps(function)
        async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> Any:
            execution = _begin(call_id_of(args, kwargs), name, "decorator", settings)
            if execution is None:
                return await cast("Awaitable[Any]", function(*args, **kwargs))
            with execution:
                result = await cast("Awaitable[Any]", function(*args, **kwargs))
                return execution._until_over(result)

        return cast("Callable[P, R]", asynchronous)

    @wraps(function)
    def synchronous(*args: P.args, **kwargs: P.kwargs) -> R:
        execution = _begin(call_id_of(args, kwargs), name, "decorator", settings)
        if execution is None:
            return function(*args, **kwargs)
        with execution:
            return cast("R", execution._until_over(function(*args, **kwargs)))

    return synchronous


def _says(function: Callable[..., Any], question: Callable[[Any], bool]) -> bool:
    """Ask what a function is; an object that can be called is what its ``__call__`` is."""
    return question(function) or question(inspect.getattr_static(type(function), "__call__", None))


def _kind_of(result: Any) -> Literal["coroutine", "future", "endless"] | None:
    if isinstance(result, Coroutine):
        return "coroutine"
    if asyncio.isfuture(result):
        return "future"
    is_endless = inspect.isgenerator(result) or inspect.isasyncgen(result) or inspect.isawaitable(result)
    return "endless" if is_endless else None


def _watched(call_tool: Callable[..., Awaitable[Any]], settings: Settings | None) -> Callable[..., Awaitable[Any]]:
    @wraps(call_tool)
    async def call(*args: Any, **kwargs: Any) -> Any:
        name = args[0] if args else kwargs.get("name")
        execution = _begin(None, name, "mcp", settings)
        if execution is None:
            answer = await call_tool(*args, **kwargs)
            _note_flag(_running.get(), answer)
            return answer
        with execution:
            answer = await call_tool(*args, **kwargs)
            _note_flag(execution, answer)
            return answer

    return call


def _note_flag(execution: ToolExecution | None, answer: Any) -> None:
    # Version 2 of the SDK says is_error, version 1 isError.
    if execution is not None and (getattr(answer, "is_error", False) or getattr(answer, "isError", False)):
        parts = getattr(answer, "content", None) or ()
        execution.failed("\n".join(part.text for part in parts if isinstance(getattr(part, "text", None), str)))


def _begin(call_id: Any, name: Any, source: str, settings: Settings | None) -> ToolExecution | None:
    """Return a new execution; None where the one that runs already is the same run."""
    name = name if isinstance(name, str) else None
    around = _running.get()
    if around is not None and not around.is_over and call_id in (None, around.call_id):
        around.name = around.name or name
        return None
    return ToolExecution(_recorder(settings), call_id, name, source)


def _call_id_reader(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """Return how to read the call id off the arguments of a function."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some functions written in C do not tell
        names = []
    wanted = [(name, names.index(name)) for name in _ID_PARAMETERS if name in names]

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = (kwargs.get(name, args[place] if place < len(args) else None) for name, place in wanted)
        return next((value for value in given if value is not None), None)

    return read


def _recorder(settings: Settings | None) -> Recorder | None:
    if settings is not None:
        return recorder_or_none(settings)
    inside = inbound.get()
    if inside is not None and inside.capture is not None:
        return inside.capture.recorder
    return recorder_in_use()


def _text_of(value: Any) -> str:
    """Return what an error says of itself; programs hand over exceptions and answers as readily as text."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an error that cannot say what it is
        return ""
