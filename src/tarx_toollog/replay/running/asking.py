"""What is sent for a step, and what an answer on the wire says about the model. Pure.

A run changes as little of the logged request as it can: the model name, the sampling that makes two runs
comparable, and streaming. Not streamed by default: the server then assembles the calls itself and sends
them whole, so that faults of its streaming (wrong indexes, lost fragments) are not counted against the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.replay.running.history import History, as_sent, bad_calls
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.wire.fields import count_or_none, dict_or_empty

_RETRY_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_REFUSED_STATUS = frozenset({401, 403, 404, 405, 407})
_INVALID_STATUS = frozenset({400, 413, 415, 422, 501})
_FIRST_ERROR_STATUS = 400
_OK_STATUS = 200
_FEW = 8  # tokens: enough to see that something answers


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
    server_keys: Mapping[str, Any] = field(default_factory=dict)
    """Keys that the server of the run knows and others may refuse: ``top_k`` and ``cache_prompt`` of llama.cpp."""
    history: History = History.REPAIR
    """What happens to calls of the logged history that are no JSON."""

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
            "server_keys": dict(self.server_keys),
            "history": str(self.history),
        }

    @classmethod
    def from_json(cls, model: str, params: Mapping[str, Any]) -> "Overrides":
        """Return the overrides of a stored run; earlier versions sent every history as it was."""
        sampling = (params["temperature"], params["seed"], params["stream"], params["extra_body"])
        history = History(params.get("history", History.VERBATIM))
        return cls(model, *sampling, server_keys=params.get("server_keys", {}), history=history)


class Question(NamedTuple):
    """A request as it is sent."""

    body: dict[str, Any]
    changed: int
    """Calls of the logged history that are not sent as they were logged."""
    is_poisoned: bool
    """Whether it holds a call of the log that is no JSON."""
    is_own_fault: bool = False
    """Whether it holds a call that is no JSON and that the model itself has made."""

    @property
    def remark(self) -> str | None:
        """What is kept with the trial when the history was changed."""
        return None if not self.changed else f"history changed: malformed calls: {self.changed}"


def question(step: ScenarioStep, overrides: Overrides, *, n_logged: int | None = None) -> Question:
    """Return the request for a step.

    Args:
        step: The step.
        overrides: What replaces the logged parameters.
        n_logged: How many of the messages are the log's; what comes after them the model itself has said, and stays
            as it is. None: all of them.
    """
    logged = as_sent(step.messages[:n_logged], overrides.history)
    own = [] if n_logged is None else step.messages[n_logged:]
    body = request_body(step, overrides, [*logged.messages, *own])
    return Question(body, logged.changed, bool(bad_calls(logged.messages)), bool(bad_calls(own)))


def request_body(
    step: ScenarioStep, overrides: Overrides, messages: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the request body for a step, with other messages where they are given.

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
    body["messages"] = [dict(message) for message in (step.messages if messages is None else messages)]
    if step.tools:
        body[_tools_key(step)] = [dict(tool) for tool in step.tools]
    body["stream"] = overrides.stream
    if not overrides.stream:
        body.pop("stream_options", None)  # servers refuse it without streaming
    if overrides.temperature is not None:
        body["temperature"] = overrides.temperature
    if overrides.seed is not None:
        body["seed"] = overrides.seed
    body.update(overrides.server_keys)
    body.update(overrides.extra_body)
    return {key: value for key, value in body.items() if value is not None or key not in overrides.extra_body}


def plain_question(step: ScenarioStep, overrides: Overrides) -> dict[str, Any]:
    """Return a request that every chat model can answer, sent as those of a run are: no history, no tools."""
    user = {"role": "user", "content": "Say hello."}
    return request_body(replace(step, messages=(user,), tools=(), params={"max_tokens": _FEW}), overrides)


def _tools_key(step: ScenarioStep) -> str:
    """Return ``functions`` for the legacy form, whose entries are the functions themselves."""
    return "tools" if any("type" in tool or "function" in tool for tool in step.tools) else "functions"


class Verdict(StrEnum):
    """What an exchange says about the model."""

    OK = "ok"
    """It answered; how well is for the scorers."""
    MODEL_ERROR = "model_error"
    """The server could not make an answer of what the model wrote."""
    INFRA_ERROR = "infra_error"
    """Nothing about the model; worth another try."""
    INVALID = "invalid"
    """Nothing about the model, which was not shown what it should have been; another try would fare the same."""
    REFUSED = "refused"
    """Every request would fare the same: wrong address, no permission, or a server that errs on everything."""


class Judged(NamedTuple):
    """What an exchange means for the trial."""

    verdict: Verdict
    note: str | None = None
    """Why, where the exchange does not say it."""


def judged(exchange: Exchange, asked: Question, prompt_fault: str | None) -> Judged:
    """Say what an exchange means for the trial.

    Args:
        exchange: What came back.
        asked: The request.
        prompt_fault: What ``prompts.PromptCheck`` says.
    """
    verdict = verdict_on(exchange)
    if verdict in (Verdict.OK, Verdict.MODEL_ERROR, Verdict.INVALID) and prompt_fault is not None:
        return Judged(Verdict.INVALID, prompt_fault)
    if verdict in (Verdict.MODEL_ERROR, Verdict.INVALID) and asked.is_poisoned:
        return Judged(Verdict.INVALID, f"history refused: {error_of(exchange)}")
    if verdict is Verdict.INVALID:
        return Judged(Verdict.MODEL_ERROR) if asked.is_own_fault else Judged(verdict, f"refused: {error_of(exchange)}")
    return Judged(verdict, asked.remark if verdict is Verdict.OK else None)


def verdict_on(exchange: Exchange) -> Verdict:
    """Say what an exchange says about the model, when the request was as it should be.

    A 500 counts against the model: llama-server answers so when it cannot parse what the model wrote. A 400 does not:
    the server did not like the request, and the model has written nothing.
    """
    status = exchange.http_status
    error = None if exchange.response is None else exchange.response.error
    # Some servers say it in the body only.
    code = count_or_none(dict_or_empty(error).get("code")) if status == _OK_STATUS else status
    if status is None or code in _RETRY_STATUS:
        return Verdict.INFRA_ERROR
    if code in _REFUSED_STATUS:
        return Verdict.REFUSED
    if code in _INVALID_STATUS:
        return Verdict.INVALID
    if exchange.outcome is Outcome.COMPLETED:
        return Verdict.OK
    if status >= _FIRST_ERROR_STATUS or exchange.outcome is Outcome.STREAM_ERROR or error is not None:
        return Verdict.MODEL_ERROR
    return Verdict.INFRA_ERROR


def error_of(exchange: Exchange) -> str:
    """Return in words what went wrong."""
    parts = (exchange.error_type, exchange.error_text)
    return ": ".join(part for part in parts if part) or f"{exchange.outcome} (HTTP {exchange.http_status})"
