"""The model server as a replay sees it: what it says of itself, and its answers as raw bytes. httpx lives here.

No failure of the network is an exception here: it becomes an exchange with its facts, and ``asking.verdict_on``
says what it means. Only a server that cannot be reached at the start raises.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json
from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.ids import uuid7
from tarx_toollog.replay.running.recorded import RECORDED, RecordedEndpoint
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.wire.fields import dict_or_empty
from tarx_toollog.wire.model_facts import ADAPTERS, LOADED, MODELS, PROPS, SHOW, VERSION
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

logger = logging.getLogger("tarx_toollog.replay")

_ROUTE = "/v1/chat/completions"
_KEPT_HEADERS = frozenset({"content-type", "content-encoding"})
_PROBE_TIMEOUT_S = 10.0  # a question that a busy server answers between two tokens
_CONNECT_TIMEOUT_S = 5.0
_LOADING = 503
_LOADING_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server that is away or loading. The waits between tries double: 1, 2, 4, 8 s."""

    retries: int = 4
    first_wait_s: float = 1.0
    loading_s: float = 120.0
    """At the start of a run: a large model takes a minute to load from a slow disk."""
    read_timeout_s: float = 600.0
    """Silence that ends a request; an answer that is not streamed comes only when it is complete."""


class Endpoint(Protocol):
    """Something that answers steps."""

    @property
    def url(self) -> str:
        """How it is noted with the run."""

    async def describe(self, model: str) -> Mapping[str, Json]:
        """Return what it says of itself and of ``model``, by route (``wire.model_facts``).

        Raises:
            EndpointError: It cannot be reached.
        """

    async def describe_again(self, model: str) -> Mapping[str, Json]:
        """Return what of that may change while it runs; nothing when it does not answer in time."""

    async def ask(self, step: ScenarioStep, body: bytes, run_uid: str) -> RawExchange:
        """Return the exchange of one request, also when it failed."""


@asynccontextmanager
async def open_endpoint(url: str, patience: Patience, api_key: str | None = None) -> AsyncIterator[Endpoint]:
    """Open the endpoint that ``url`` names; ``recorded:`` is the log itself.

    Args:
        url: Its URL.
        patience: How long to wait for it.
        api_key: Sent with every request, and kept nowhere.

    Raises:
        ConfigError: It is no URL of a server, or holds a password.
    """
    if url == RECORDED:
        yield RecordedEndpoint()
        return
    base = base_url(url)
    timeout = httpx.Timeout(patience.read_timeout_s, connect=_CONNECT_TIMEOUT_S)
    headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
    # trust_env off: a proxy variable of the shell must not carry private prompts to somewhere else.
    async with httpx.AsyncClient(timeout=timeout, trust_env=False, headers=headers) as client:
        yield HttpEndpoint(base, client, patience)


def api_key_from(variable: str | None) -> str | None:
    """Return the key that an environment variable holds; None where no variable is named.

    Raises:
        ConfigError: It is not set, or cannot be sent.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"the environment variable {variable} holds no API key", hint=f"export {variable}=… in this shell first"
        )
    return key


def base_url(url: str) -> str:
    """Return the base of a server's URL, without ``/v1``.

    Example:
        >>> base_url("http://127.0.0.1:11435/v1/")
        'http://127.0.0.1:11435'

    Raises:
        ConfigError: It is no URL of a server, or holds a password.
    """
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_server = False
    if not is_server:
        raise ConfigError(
            f"{url!r} is not the URL of a model server",
            hint="for example http://127.0.0.1:11435, or recorded: for the answers in the log",
        )
    if parts.username or parts.password:
        raise ConfigError("the URL holds a password, and would be stored with the run", hint="leave it out")
    return url.rstrip("/").removesuffix("/v1")


class HttpEndpoint:
    """An OpenAI-compatible server."""

    def __init__(self, url: str, client: httpx.AsyncClient, patience: Patience) -> None:
        self.url = url
        self._client = client
        self._patience = patience

    async def describe(self, model: str) -> Mapping[str, Json]:
        """Return what it says of itself; waits for a model that is loading.

        Raises:
            EndpointError: Nothing answers HTTP there.
        """
        try:
            await self._wait_loaded()
        except httpx.HTTPError as error:
            raise EndpointError(
                f"no model server at {self.url}: {type(error).__name__} {error}".rstrip(),
                hint="start it, or name another with --endpoint",
            ) from error
        return await self._facts_or_nothing(model, is_brief=False)

    async def describe_again(self, model: str) -> Mapping[str, Json]:
        """Return what of that may change while it runs; nothing when it does not answer in time."""
        return await self._facts_or_nothing(model, is_brief=True)

    async def ask(self, step: ScenarioStep, body: bytes, run_uid: str) -> RawExchange:
        """Send ``body`` and return the exchange, also when it failed."""
        clock = time.monotonic_ns()
        begin = Begin(
            uid=uuid7(),
            leg="replay",
            method="POST",
            path=_ROUTE,
            started_ns=time.time_ns(),
            upstream=self.url,
            run_uid=run_uid,
            body_size=len(body),
        )
        start, chunks = None, []
        exception, side = None, None
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        try:
            async with self._client.stream("POST", self.url + _ROUTE, content=body, headers=headers) as response:
                kept = tuple((k.lower(), v) for k, v in response.headers.multi_items() if k.lower() in _KEPT_HEADERS)
                start = ResponseStart(response.status_code, kept, time.monotonic_ns() - clock)
                async for data in response.aiter_raw():
                    chunks.append(Chunk(time.monotonic_ns() - clock, data))  # noqa: PERF401 - keep what came before a failure
        except httpx.HTTPError as error:
            exception = f"{type(error).__name__}: {error}"
            side = "timeout" if isinstance(error, httpx.TimeoutException) else "upstream"
        end = End(
            time.monotonic_ns() - clock,
            final_seen=exception is None,
            exception=exception,
            exception_side=side,
            body_size=sum(len(chunk.data) for chunk in chunks),
        )
        return RawExchange(begin, body, start, tuple(chunks), end)

    async def _facts_or_nothing(self, model: str, *, is_brief: bool) -> dict[str, Json]:
        try:
            return await self._facts(model, is_brief=is_brief)
        except httpx.HTTPError as error:
            logger.info("the model build at %s is not known: %s", self.url, error)
            return {}

    async def _facts(self, model: str, *, is_brief: bool) -> dict[str, Json]:
        """Return the answers of its routes; those of Ollama are not asked of llama.cpp, nor the other way round."""
        found: dict[str, Json] = {}
        if "model_path" in dict_or_empty(await self._question(PROPS, found)):
            if not is_brief:  # of llama.cpp it has sizes and names only, and this is asked after every answer
                await self._question(MODELS, found)
            await self._question(ADAPTERS, found)
        elif isinstance(dict_or_empty(await self._question(VERSION, found)).get("version"), str):
            await self._question(LOADED, found)
            await self._question(SHOW, found, {"model": model})
        else:
            await self._question(MODELS, found)
        return found

    async def _question(self, route: str, found: dict[str, Json], body: Json = None) -> Json:
        """Ask one route; add the answer to ``found`` and return it, None where the server has no such route."""
        method = "GET" if body is None else "POST"
        response = await self._client.request(method, self.url + route, json=body, timeout=_PROBE_TIMEOUT_S)
        if not response.is_success:
            return None
        try:
            found[route] = parse_json(response.content)
        except InvalidJsonError:
            return None  # a web page, as some servers give for any path
        return found[route]

    async def _wait_loaded(self) -> None:
        deadline = time.monotonic() + self._patience.loading_s
        while True:
            response = await self._client.get(self.url + MODELS, timeout=_PROBE_TIMEOUT_S)
            if response.status_code != _LOADING or time.monotonic() > deadline:
                return
            await asyncio.sleep(_LOADING_POLL_S)
