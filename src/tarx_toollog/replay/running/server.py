"""What a run keeps of the server that it asks, whether a server is still the same, and how it is asked. Pure.

A run is one contestant: weights, quantization, adapters, chat template and context. They are kept as the facts of a
model build (``wire.model_facts``), so that a run and live traffic of one build can be told to be of one build.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.wire.fields import count_or_none, dict_or_empty, list_or_empty
from tarx_toollog.wire.model_facts import (
    ADAPTERS_PARAM,
    LLAMA_CPP,
    MODELS,
    PROPS,
    ModelFacts,
    facts_from,
    with_adapters,
)

_BUILD = ("file_name", "file_digest", "quantization", "size", "lora", "n_ctx", "chat_template_hash")
_CONTESTANT = ("server", *_BUILD)
_SLOTS = "total_slots"
_MORE = (_SLOTS, "chat_template_caps")  # of llama.cpp's /props: how many at a time, and what templates can do
SEED = 1
"""The seed of a run that names none: any will do, but always the same."""


class Pace(StrEnum):
    """How a run asks.

    *Theory.* A server that keeps the prompt of one step need not read it again for the next, which begins the same. On
    a machine without a large GPU reading is most of the work: with a real model, chains of four steps over prompts of
    900 tokens took four times as long without that cache, and longer histories make it worse. The cache has a price: of
    16 answers, 4 rounded otherwise than without it, and 1 otherwise than the time before; without it none did.
    """

    FAST = "fast"
    """With the server's cache of prompts, and as many requests at a time as are wanted."""
    STRICT = "strict"
    """As repeatable as the server allows: one request at a time, and nothing that earlier ones left in its cache."""


def facts_for(answers: Mapping[str, Json], overrides: Overrides) -> ModelFacts | None:
    """Return the build that will answer a run: that of its model, with the adapters that each request asks for."""
    if ADAPTERS_PARAM in overrides.extra_body:
        answers = with_adapters(answers, overrides.extra_body[ADAPTERS_PARAM])
    return facts_from(answers, overrides.model)


def described(answers: Mapping[str, Json], facts: ModelFacts | None) -> dict[str, Any]:
    """Return what is kept with a run, as JSON: the facts of the build, the names of all models, and the slots."""
    entries = list_or_empty(dict_or_empty(answers.get(MODELS)).get("data"))
    props = dict_or_empty(answers.get(PROPS))
    return {
        "models": [entry.get("id") for entry in entries if isinstance(entry, dict)],
        **({} if facts is None else facts.to_json()),
        **{key: props[key] for key in _MORE if key in props},
    }


def paced(overrides: Overrides, pace: Pace, server: Mapping[str, Any]) -> Overrides:
    """Return what a run sends: with a seed in any case, and with the keys of llama.cpp where that is asked.

    ``top_k`` 1 only where the temperature is 0: it would make every temperature 0.
    """
    seeded = replace(overrides, seed=SEED if overrides.seed is None else overrides.seed)
    if server.get("server") != LLAMA_CPP or pace is Pace.FAST:
        return seeded
    greedy = {"top_k": 1} if overrides.temperature == 0 else {}
    return replace(seeded, server_keys={**greedy, "cache_prompt": False})


def requests_at_a_time(wanted: int, server: Mapping[str, Any]) -> int:
    """Return how many requests one endpoint gets at a time: no more than it has slots, the rest would only wait."""
    return min(wanted, slots_of(server) or wanted)


def slots_of(server: Mapping[str, Any]) -> int | None:
    """Return how many requests a server answers at a time; None where it does not tell."""
    return count_or_none(server.get(_SLOTS)) or None


def is_known(server: Mapping[str, Any]) -> bool:
    """Say whether a server tells anything by which it could be known again."""
    return any(server.get(key) for key in _BUILD)


def require_same(before: Mapping[str, Any], now: Mapping[str, Any], *, other: str | None = None) -> None:
    """Refuse to ask a server that answers with something else than the run has been asking.

    Args:
        before: What is kept with the run.
        now: What the server says.
        other: The URL of a further endpoint, where it is not the same server later on.

    Raises:
        ConfigError: It names what differs.
    """
    for key in _CONTESTANT:
        if before.get(key) == now.get(key) or None in (before.get(key), now.get(key)):
            continue
        if other is not None:
            raise ConfigError(
                f"the endpoints are not the same: {key} is {before[key]!r}, at {other} {now[key]!r}",
                hint="start them alike, or replay them as two runs: one run is one model",
            )
        raise ConfigError(
            f"the server changed since the run began: {key} was {before[key]!r}, now {now[key]!r}",
            hint="start the server as it was, or begin a new run: one run is one model",
        )
