from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.model import Exchange, Outcome, Response
from tarx_toollog.replay.running.asking import Overrides, Verdict, request_body, verdict_on
from tarx_toollog.replay.running.endpoint import base_url
from tarx_toollog.replay.scenario import Recorded, ScenarioStep

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "recall"}}


def step(params: dict[str, Any], tool: dict[str, Any] = TOOL) -> ScenarioStep:
    return ScenarioStep(1, "", ({"role": "user", "content": "x"},), (tool,), params, (), Recorded({}, None, None))


def test_only_the_overrides_differ_from_the_logged_request() -> None:
    logged = {"model": "base", "temperature": 0.7, "max_tokens": 9, "tool_choice": "auto", "odd": [1]}
    assert request_body(step(logged), Overrides("tuned")) == {
        **logged, "model": "tuned", "temperature": 0.0, "stream": False, "tools": [TOOL],
        "messages": [{"role": "user", "content": "x"}],
    }  # fmt: skip


def test_stream_options_go_only_with_a_stream() -> None:
    logged = {"stream": True, "stream_options": {"include_usage": True}}
    assert "stream_options" not in request_body(step(logged), Overrides("m"))
    assert request_body(step(logged), Overrides("m", stream=True))["stream_options"] == {"include_usage": True}


def test_extra_body_adds_replaces_and_removes() -> None:
    extra = {"lora": [{"id": 0, "scale": 0.0}], "max_tokens": None, "temperature": 0.5}
    body = request_body(step({"max_tokens": 9, "top_p": None}), Overrides("m", extra_body=extra))
    assert (body["lora"], body["temperature"], body["top_p"]) == (extra["lora"], 0.5, None)
    assert "max_tokens" not in body


def test_the_logged_temperature_can_be_kept() -> None:
    assert request_body(step({"temperature": 0.7}), Overrides("m", temperature=None))["temperature"] == 0.7


def test_legacy_functions_go_back_under_their_key() -> None:
    body = request_body(step({}, {"name": "recall"}), Overrides("m"))
    assert "tools" not in body
    assert body["functions"] == [{"name": "recall"}]


def test_overrides_survive_the_store() -> None:
    overrides = Overrides("m", None, 7, stream=True, extra_body={"a": 1})
    assert Overrides.from_json("m", overrides.to_json()) == overrides


@pytest.mark.parametrize(
    ("outcome", "status", "verdict"),
    [
        (Outcome.COMPLETED, 200, Verdict.OK),
        (Outcome.UPSTREAM_ERROR, 500, Verdict.MODEL_ERROR),
        (Outcome.UPSTREAM_ERROR, 400, Verdict.INVALID),
        (Outcome.STREAM_ERROR, 200, Verdict.MODEL_ERROR),
        (Outcome.UPSTREAM_ERROR, 503, Verdict.INFRA_ERROR),
        (Outcome.UPSTREAM_ERROR, 429, Verdict.INFRA_ERROR),
        (Outcome.UPSTREAM_ERROR, None, Verdict.INFRA_ERROR),
        (Outcome.TIMEOUT, None, Verdict.INFRA_ERROR),
        (Outcome.UPSTREAM_ERROR, 200, Verdict.INFRA_ERROR),
        (Outcome.TRUNCATED, 200, Verdict.INFRA_ERROR),
        (Outcome.UPSTREAM_ERROR, 401, Verdict.REFUSED),
        (Outcome.UPSTREAM_ERROR, 404, Verdict.REFUSED),
    ],
)
def test_what_an_exchange_says_about_the_model(outcome: Outcome, status: int | None, verdict: Verdict) -> None:
    exchange = Exchange("u", "replay", "openai_chat", "POST", "/", 0, outcome, http_status=status)
    assert verdict_on(exchange) is verdict


def test_an_error_object_with_status_200_is_the_models_doing() -> None:
    answer = Response(error={"message": "template"})
    exchange = Exchange("u", "replay", "openai_chat", "POST", "/", 0, Outcome.UPSTREAM_ERROR, 200, response=answer)
    assert verdict_on(exchange) is Verdict.MODEL_ERROR


@pytest.mark.parametrize("url", ["localhost:11435", "ftp://x", "http://", "", "http://u:p@x", "http://["])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        base_url(url)
    assert caught.value.hint
