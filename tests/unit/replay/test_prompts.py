from typing import Any

import pytest

from tarx_toollog.model import Exchange, Message, Outcome, Request, Response, Usage
from tarx_toollog.replay.running.prompts import PromptCheck
from tarx_toollog.store.asked import LoggedRequest
from tarx_toollog.store.budget import BYTES_PER_TOKEN

SERVER = {"n_ctx": 4096, "chat_template_hash": "aa"}


def answered(counted: int | None, n_bytes: int = 3000, extra: dict[str, Any] | None = None) -> Exchange:
    text = "x" * n_bytes
    request = Request("m", (Message("user", {"role": "user", "content": text}, text),), (), {})
    response = Response(usage=None if counted is None else Usage(counted, 5), extra=extra or {})
    return Exchange(
        "u", "replay", "openai_chat", "POST", "/", 0, Outcome.COMPLETED, 200, request=request, response=response
    )


def logged(tokens: int | None, template: str | None = "aa") -> LoggedRequest:
    return LoggedRequest(tokens, None, template, None)


@pytest.mark.parametrize(
    ("counted", "tokens", "template", "is_cut"),
    [
        (1000, 1000, "aa", False),
        (750, 1000, "aa", False),  # other adapters, another version of the server
        (650, 1000, "aa", True),
        (650, 1000, "bb", False),  # another model: its tokens may be longer
        (450, 1000, "bb", True),
        (450, 1000, None, True),
        (50, 150, "aa", False),  # too short to tell: the words of a template weigh more
        (450, None, "aa", False),
        (None, 1000, "aa", False),
    ],
)
def test_a_count_far_below_that_of_the_log_is_a_cut_prompt(
    counted: int | None, tokens: int | None, template: str | None, is_cut: bool
) -> None:
    fault = PromptCheck(SERVER).fault(answered(counted), logged(tokens, template))
    assert is_cut is (fault is not None and fault.startswith("prompt truncated: "))


def test_a_server_that_says_so_is_believed() -> None:
    said = PromptCheck(SERVER).fault(answered(900, extra={"truncated": True}), None)
    assert said == "prompt truncated: the server says so, and counted 900 tokens"


def test_without_a_log_the_prompts_before_tell_how_long_one_should_be() -> None:
    check = PromptCheck(SERVER)
    whole = [check.fault(answered(round(n_bytes / BYTES_PER_TOKEN), n_bytes), None) for n_bytes in (3000, 6000, 9000)]
    assert [None] * 3 == whole
    said = check.fault(answered(3900, 60_000), None)
    assert said is not None
    assert said.startswith("prompt truncated: the server counted 3,900 tokens of about 18,")
    assert PromptCheck({}).fault(answered(3900, 60_000), None) is None  # it does not tell its context


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"type": "context_length_exceeded"}, "prompt too long"),
        (
            {"type": "exceed_context_size_error", "n_prompt_tokens": 40009, "n_ctx": 32768},
            "prompt too long: 40,009 tokens, the context has 32,768",
        ),
    ],
)
def test_a_refusal_of_a_long_prompt_names_both_sizes_where_they_are_known(error: dict[str, Any], said: str) -> None:
    refused = Exchange(
        "u", "replay", "openai_chat", "POST", "/", 0, Outcome.UPSTREAM_ERROR, 400,
        response=Response(error=error), error_type=error["type"],
    )  # fmt: skip
    assert said == PromptCheck(SERVER).fault(refused, None)
