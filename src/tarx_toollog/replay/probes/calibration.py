"""Asks a server how many tokens a text is, so that a context can be filled to a given share.

Two requests for one token each: what a scenario sends, and the same with padding. The server counts what its template
makes of them (``usage``), which no count of characters knows.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tarx_toollog.canonical import json_text
from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.replay.probes.context import Scale, prompt_chars
from tarx_toollog.replay.probes.padding import Turn, size_of, without_system
from tarx_toollog.replay.running.asking import Overrides, request_body
from tarx_toollog.replay.running.endpoint import Endpoint, Patience, api_key_from, open_endpoint
from tarx_toollog.replay.running.server import facts_for
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.wire.decode import decode

_SAMPLE = 4_000  # characters of padding that are counted
_ANSWER = 512  # tokens that are kept free where nobody says how long answers may be


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and how."""

    url: str
    patience: Patience = field(default_factory=Patience)
    api_key_env: str | None = None
    """The environment variable that holds the API key."""


def scale_of(
    overrides: Overrides,
    steps: Sequence[ScenarioStep],
    turns: Sequence[Turn],
    n_ctx: int | None,
    server: Server,
) -> Scale:
    """Return how characters become tokens at a server, and how many tokens can be filled.

    Args:
        overrides: What is sent along.
        steps: What will be asked; the first one is counted, the longest answer is kept free.
        turns: The padding.
        n_ctx: Tokens of the context; None takes what the server says.
        server: The server.

    Raises:
        EndpointError: It cannot be reached, or does not say how many tokens a prompt has.
        ConfigError: Nobody says how long the context is, or no room is left in it.
    """
    return asyncio.run(_scale(overrides, steps, turns, n_ctx, server))


async def _scale(
    overrides: Overrides,
    steps: Sequence[ScenarioStep],
    turns: Sequence[Turn],
    n_ctx: int | None,
    server: Server,
) -> Scale:
    async with open_endpoint(server.url, server.patience, api_key_from(server.api_key_env)) as endpoint:
        if n_ctx is None:
            facts = facts_for(await endpoint.describe(overrides.model), overrides)
            n_ctx = None if facts is None else facts.n_ctx
        if n_ctx is None:
            raise ConfigError(f"{server.url} does not say how long its context is", hint="give it with --n-ctx")
        answer = max((_answer(step.params) for step in steps), default=_ANSWER)
        if n_ctx <= answer:
            raise ConfigError(
                f"a context of {n_ctx} tokens has no room beside answers of {answer}", hint="a server with a larger one"
            )
        sample, size = list[Mapping[str, Any]](), 0
        for turn in turns:
            if size < _SAMPLE:
                sample += turn.messages
                size = size_of(sample)
        step = steps[0]
        rest = without_system(step.messages)
        lead = step.messages[: len(step.messages) - len(rest)]
        bare = await _tokens(endpoint, step, overrides)
        padded = await _tokens(endpoint, replace(step, messages=(*lead, *sample, *rest)), overrides)
    return Scale(n_ctx - answer, size / max(1, padded - bare), prompt_chars(step.messages, step.tools) / max(1, bare))


async def _tokens(endpoint: Endpoint, step: ScenarioStep, overrides: Overrides) -> int:
    body = request_body(step, replace(overrides, extra_body={**overrides.extra_body, "max_tokens": 1}))
    exchange = decode(await endpoint.ask(step, json_text(body).encode(), ""))
    usage = None if exchange.response is None else exchange.response.usage
    if usage is None or usage.input_tokens is None:
        why = exchange.error_text or f"{exchange.outcome} (HTTP {exchange.http_status})"
        raise EndpointError(f"{endpoint.url} does not say how many tokens a prompt has: {why}")
    return usage.input_tokens


def _answer(params: Mapping[str, Any]) -> int:
    given = params.get("max_tokens", params.get("max_completion_tokens"))
    return given if isinstance(given, int) and given > 0 else _ANSWER
