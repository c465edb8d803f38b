"""The background probe: asks a model server what it serves, so that every exchange can be counted by model build.

*Theory.* Nothing waits for the probe and nothing fails with it. Whoever has seen an answer says so with ``saw``,
which costs a look into a dict until a probe of that place is due; then a daemon thread asks, hands the result to
the sink, and ends when nothing is left to ask. A server that does not tell is asked again after a pause that
doubles each time. Questions go to the server's own routes (``wire.model_facts``) without any header of a client's,
without proxies of the environment, without following redirects, and with limits on time and size. The limit on time
counts for all questions of a probe together, whatever the server does: all other servers wait for it.

An answer counts as a whole: a server that answers the first question and hangs on the second was not probed. Half
of the facts would look like another build.
"""

# What the first probe would import late is imported here: a process that forks at that moment would leave the lock of
# the import behind, and the child's own probe waiting for it for ever.
import encodings.idna  # noqa: F401 - for names of hosts
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpcore  # noqa: F401 - see above
import httpx

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json
from tarx_toollog.errors import EndpointError
from tarx_toollog.store.builds import Place, Probed
from tarx_toollog.wire.fields import dict_or_empty
from tarx_toollog.wire.model_facts import ADAPTERS, LOADED, MODELS, PROPS, SHOW, VERSION, facts_from

logger = logging.getLogger("tarx_toollog.capture")

INTERVAL_S = 120.0  # a server that was started anew is noticed after this time; store.builds joins probes up to 10 min
_PAUSES_S = (10.0, 900.0)  # after the first failure, and at most
_PENDING_S = 30.0  # no second question for a place that waits for its first; it ends even if the thread never ran
_GAP_S = 1.0  # between two probes, so that clients that invent model names make no storm
_MAX_PLACES = 64
_CONNECT_S = 1.0
_TOTAL_S = 3.0
_GRACE_S = 0.2  # after which a connection is cut: silence ends at _TOTAL_S, and is to be told as what it is
_MAX_BYTES = 2**20
_CLOSE_S = 1.0

_Key = tuple[str | None, str | None]


class Prober:
    """Probes the places that ``saw`` names. No method raises; ``saw`` may be called from any thread.

    Args:
        upstream: Base URL to ask where a tap does not know its server.
        sink: Gets each result, in the thread of the probe.
        enabled: Off: it never asks.
    """

    def __init__(self, upstream: str, sink: Callable[[Probed], None], *, enabled: bool = True) -> None:
        self._upstream = upstream
        self._sink = sink
        self._due: dict[_Key, float] = {}  # monotonic seconds; written under the lock, read without
        self._pauses: dict[_Key, float] = {}
        self._errors: dict[_Key, str] = {}
        self._waiting: deque[_Key] = deque()
        self._lock = threading.Lock()  # several threads may see answers; two must not start two threads
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._last_end = 0.0
        self._closing = threading.Event()
        if not enabled:
            self._closing.set()
        self._is_closed = False

    def saw(self, upstream: str | None, model: str | None) -> None:
        """Note that a server has answered.

        Args:
            upstream: Base URL, where the tap knows it.
            model: Name of the model in the answer, else in the request.
        """
        if time.monotonic() >= self._due.get((upstream, model), 0.0) and not self._closing.is_set():
            self._ask((upstream, model))

    def gone(self, upstream: str | None) -> None:
        """Note that a server did not answer: it may come back with another model, so its next answer makes a probe."""
        with self._lock:
            for key in self._due:
                if key[0] == upstream and key not in self._pauses:
                    self._due[key] = 0.0

    def close(self) -> None:
        """End. What was to be asked is asked, so that a short program learns its build, but not waited for long."""
        self._closing.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(_CLOSE_S)
        self._is_closed = True

    def _ask(self, key: _Key) -> None:
        if self._pid != os.getpid():
            # A fork: its thread stayed in the parent, which may have held the lock.
            self._pid, self._lock, self._thread = os.getpid(), threading.Lock(), None
            self._waiting.clear()
        with self._lock:
            while len(self._due) >= _MAX_PLACES and key not in self._due:
                oldest = next(iter(self._due))
                for known in (self._due, self._pauses, self._errors):
                    known.pop(oldest, None)
                if oldest in self._waiting:
                    self._waiting.remove(oldest)
            self._due[key] = time.monotonic() + _PENDING_S
            if key not in self._waiting:
                self._waiting.append(key)
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._main, name="toollog-probe", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # no more threads: the next answer tries again
                self._thread = None
                logger.debug("no thread for a probe: %s", error)

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _main(self) -> None:
        while (key := self._next()) is not None:
            self._closing.wait(max(0.0, self._last_end + _GAP_S - time.monotonic()))
            probed = self._probe(key)
            self._last_end = time.monotonic()
            self._plan(key, probed)
            if self._is_closed:
                return
            try:
                self._sink(probed)
            except Exception:  # a probe must never be felt
                logger.exception("what a probe found could not be handed on")

    def _next(self) -> _Key | None:
        with self._lock:
            if self._waiting and not self._is_closed:
                return self._waiting.popleft()
            self._thread = None
            return None

    def _plan(self, key: _Key, probed: Probed) -> None:
        error = probed.error
        with self._lock:
            if key not in self._due:
                return  # forgotten meanwhile, for others
            if error is None:
                self._pauses.pop(key, None)
                self._errors.pop(key, None)
                self._due[key] = self._last_end + INTERVAL_S
                return
            first, longest = _PAUSES_S
            pause = min(self._pauses.get(key, first / 2) * 2, longest)
            self._pauses[key] = pause
            self._due[key] = self._last_end + pause
            is_news = self._errors.get(key) != error
            self._errors[key] = error
        if is_news:
            logger.info("the model build at %s is not known: %s", probed.place.upstream, error)

    def _probe(self, key: _Key) -> Probed:
        upstream, model = key
        place = Place.of(upstream or self._upstream, model)
        facts, error = None, None
        try:
            facts = facts_from(ask(place.upstream, model), model)
            if facts is None:
                error = "it does not tell which model it serves"
            elif upstream is None and model is not None and model not in facts.names:
                facts, error = None, f"it serves no {model!r}; setting upstream names the server to ask"
        except EndpointError as failure:
            error = failure.message
        except Exception as failure:  # noqa: BLE001 - whatever a server or a blocked network can do
            error = f"{type(failure).__name__}: {failure}"
        return Probed(place, facts, error, datetime.now(UTC), is_assumed=upstream is None)


def ask(upstream: str, model: str | None) -> dict[str, Json]:
    """Return what a server says of itself, by route; routes that it does not have are missing.

    llama.cpp is not asked the routes of Ollama, and the other way round.

    Args:
        upstream: Its base URL, with or without ``/v1``.
        model: The model to ask Ollama about.

    Raises:
        EndpointError: It refuses, fails, or answers too much or too slowly.
        httpx.HTTPError: It cannot be reached.
    """
    base = _base(upstream)
    # No connection is kept: llama.cpp closes them without announcing it. trust_env off: a proxy variable of the
    # shell must not carry questions about a local model to somewhere else.
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "tarx-toollog"}
    needs_tls = base.startswith("https:")  # reading the certificates takes 25 ms of CPU that http needs not pay
    with _Limit() as limit, httpx.Client(trust_env=False, limits=limits, headers=headers, verify=needs_tls) as client:
        question = _Question(client, base, limit)
        found: dict[str, Json] = {}
        if "model_path" in dict_or_empty(question.get(PROPS, found)):
            question.get(MODELS, found)
            question.get(ADAPTERS, found)
        elif isinstance(dict_or_empty(question.get(VERSION, found)).get("version"), str):
            question.get(LOADED, found)
            question.get(SHOW, found, {"model": model} if model else {})
        else:
            question.get(MODELS, found)
    return found


class _Limit:
    """The time limit of a probe: shuts down the connection that is still open when it is over.

    httpx counts each read anew, so a server that sends a header now and then would never be through. Shutting a socket
    down wakes the thread that waits for it; closing does not. It is done to a copy, as TLS takes the original away.
    """

    def __init__(self) -> None:
        self._end = time.monotonic() + _TOTAL_S
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()  # the timer's thread must not shut down a socket that is being closed
        self._timer = threading.Timer(_TOTAL_S + _GRACE_S, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Limit":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._watch(None)

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            EndpointError: None are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise EndpointError(f"no answer within {_TOTAL_S:g} s")
        return left

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take note of a new connection; the signature is that of the extension ``trace`` of httpx."""
        if event == "connection.connect_tcp.complete":
            self._watch(info["return_value"].get_extra_info("socket").dup())
            if time.monotonic() > self._end:  # each address of a name is tried for as long as the first
                self._cut()

    def _watch(self, new: socket.socket | None) -> None:
        with self._lock:
            old, self._socket = self._socket, new
        if old is not None:
            old.close()

    def _cut(self) -> None:
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:  # the server was quicker
                    pass


class _Question:
    """Asks one server, within one time limit."""

    def __init__(self, client: httpx.Client, base: str, limit: _Limit) -> None:
        self._client = client
        self._base = base
        self._limit = limit

    def get(self, route: str, found: dict[str, Json], body: Json = None) -> Json:
        """Ask one route; add the answer to ``found`` and return it, None where the server has no such route."""
        try:
            data = self._answer(route, body)
        except (httpx.NetworkError, httpx.ProtocolError):
            self._limit.left()  # raises where it was we who cut the connection
            raise
        if data is None:
            return None
        try:
            value = parse_json(data)
        except InvalidJsonError:
            return None  # a web page, as servers of applications give for any path
        found[route] = value
        return value

    def _answer(self, route: str, body: Json) -> bytes | None:
        left = self._limit.left()
        timeout = httpx.Timeout(left, connect=min(_CONNECT_S, left))
        method = "GET" if body is None else "POST"
        extensions = {"trace": self._limit.trace}
        with self._client.stream(
            method, self._base + route, json=body, timeout=timeout, extensions=extensions
        ) as response:
            status = response.status_code
            if status in (401, 403):
                raise EndpointError(f"HTTP {status} for {route}: it wants a key, and a client's is not used")
            if status >= 500 and status != 501:  # 501: llama.cpp, for a route that is switched off
                raise EndpointError(f"HTTP {status} for {route}")
            if not response.is_success:
                return None
            return self._read(response, route)

    def _read(self, response: httpx.Response, route: str) -> bytes:
        data = bytearray()
        for piece in response.iter_raw():
            data += piece
            if len(data) > _MAX_BYTES:
                raise EndpointError(f"more than {_MAX_BYTES} bytes for {route}")
            self._limit.left()
        self._limit.left()  # a body that ends with the connection looks whole when we have cut that
        return bytes(data)


def _base(url: str) -> str:
    """Return the base URL without a query and ``/v1``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/v1")
