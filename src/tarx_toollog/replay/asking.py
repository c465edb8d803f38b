"""What is sent for a step, and what an answer on the wire says about the model. Pure.

A run changes as little of the logged request as it can: the model name, the sampling that makes two runs
comparable, and streaming. Not streamed by default: the server then assembles the calls itself and sends
them whole, so that faults of its streaming (wrong indexes, lost fragments) are not counted against the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.replay.scenario import ScenarioStep

_RETRY_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_REFUSED_STATUS = frozenset({401, 403, 404, 405, 407})
_FIRST_ERROR_STATUS = 400


@dataclass(frozen=True, slots=True)
class Overrides:
    """What replaces the logged parameters. Everything else, ``max_tokens`` included, is sent as it was logged."""

    model: str
    temperature: float | None = 0.0
    """None keeps the logged one."""
    seed: int | None = None
    stream: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Keys to add or replace, for example ``{"lora": [{"id": 0, "scale": 0.0}]}``; null removes a key."""

    def for_attempt(self, attempt: int) -> "Overrides":
        """Return what is sent at an attempt, from 1: each has a seed of its own, or they would all be the same."""
        return self if self.seed is None else replace(self, seed=self.seed + attempt - 1)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is kept with the run."""
        return {
            "temperature": self.temperature,
            "seed": self.seed,
            "stream": self.stream,
            "extra_body": dict(self.extra_body),
        }

    @classmethod
    def from_json(cls, model: str, params: Mapping[str, Any]) -> "Overrides":
        """Return the overrides of a stored run."""
        return cls(model, params["temperature"], params["seed"], params["stream"], params["extra_body"])


def request_body(step: ScenarioStep, overrides: Overrides) -> dict[str, Any]:
    """Return the request body for a step.

    Example:
        >>> from tarx_toollog.replay.scenario import Recorded
        >>> tool = {"type": "function", "function": {"name": "recall"}}
        >>> logged = {"model": "base", "temperature": 0.8, "max_tokens": 64}
        >>> step = ScenarioStep(1, "", ({"role": "user"},), (tool,), logged, (), Recorded({}, None, None))
        >>> body = request_body(step, Overrides("tuned", seed=7))
        >>> [body[key] for key in ("model", "temperature", "max_tokens", "seed", "stream")]
        ['tuned', 0.0, 64, 7, False]
    """
    body = dict(step.params)
    body["model"] = overrides.model
    body["messages"] = [dict(message) for message in step.messages]
    if step.tools:
        body[_tools_key(step)] = [dict(tool) for tool in step.tools]
    body["stream"] = overrides.stream
    if not overrides.stream:
        body.pop("stream_options", None)  # servers refuse it without streaming
    if overrides.temperature is not None:
        body["temperature"] = overrides.temperature
    if overrides.seed is not None:
        body["seed"] = overrides.seed
    body.update(overrides.extra_body)
    return {key: value for key, value in body.items() if value is not None or key not in overrides.extra_body}


def _tools_key(step: ScenarioStep) -> str:
    """Return ``functions`` for the legacy form, whose entries are the functions themselves."""
    return "tools" if any("type" in tool or "function" in tool for tool in step.tools) else "functions"


class Verdict(StrEnum):
    """What an exchange says about the model."""

    OK = "ok"
    """It answered; how well is for the scorers."""
    MODEL_ERROR = "model_error"
    """The server could not make an answer of what the model wrote, or of this request."""
    INFRA_ERROR = "infra_error"
    """Nothing about the model; worth another try."""
    REFUSED = "refused"
    """Every request would fare the same: wrong address, or no permission."""


def verdict_on(exchange: Exchange) -> Verdict:
    """Say what an exchange means for the trial.

    A 500 counts against the model: llama-server answers so when it cannot parse what the model wrote.
    """
    status = exchange.http_status
    if status in _REFUSED_STATUS:
        return Verdict.REFUSED
    if status in _RETRY_STATUS or status is None:
        return Verdict.INFRA_ERROR
    if exchange.outcome is Outcome.COMPLETED:
        return Verdict.OK
    if status >= _FIRST_ERROR_STATUS or exchange.outcome is Outcome.STREAM_ERROR:
        return Verdict.MODEL_ERROR
    if exchange.response is not None and exchange.response.error is not None:
        return Verdict.MODEL_ERROR
    return Verdict.INFRA_ERROR
