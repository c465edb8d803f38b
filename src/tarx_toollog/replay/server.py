"""What a run keeps of the server that it asks, and whether a server is still the same. Pure.

A run is one contestant: weights, quantization, adapters, chat template and context. They are kept as the facts of a
model build (``wire.model_facts``), so that a run and live traffic of one build can be told to be of one build.
"""

from collections.abc import Mapping
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.asking import Overrides
from tarx_toollog.wire.fields import dict_or_empty, list_or_empty
from tarx_toollog.wire.model_facts import ADAPTERS_PARAM, MODELS, PROPS, ModelFacts, facts_from, with_adapters

_CONTESTANT = ("file_name", "file_digest", "quantization", "size", "lora", "n_ctx", "chat_template_hash")
_MORE = ("total_slots", "chat_template_caps")  # of llama.cpp's /props: how many at a time, and what templates can do


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


def require_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run on a server that answers with something else than at its start.

    Raises:
        ConfigError: It names what has changed.
    """
    for key in _CONTESTANT:
        if before.get(key) != now.get(key) and None not in (before.get(key), now.get(key)):
            raise ConfigError(
                f"the server changed since the run began: {key} was {before[key]!r}, now {now[key]!r}",
                hint="start the server as it was, or begin a new run: one run is one model",
            )
