"""The build and the budget of exchanges with the real model, against what its server says when asked directly."""

import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.local_model import launch
from tarx_toollog import Settings, ToolLogProxy
from tarx_toollog.canonical import content_hash
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.store.budget import Calibration, budget, measure
from tests.support.asgi import query
from tests.support.builders import assistant, call, exchange, result, system, user
from tests.support.model_server import ModelServer
from tests.support.workers import serving

TEXTS = Path(__file__).with_name("texts")
TOOLS = json.loads(launch.TOOLS.read_text(encoding="utf-8"))
COUNT = "/v1/chat/completions/input_tokens"


@pytest.fixture
def settings(tmp_path: Path, model_server: ModelServer) -> Iterator[Settings]:
    made = Settings(database=str(tmp_path / "t.db"), upstream=model_server.base_url)
    yield made
    recorder_for(made).close()


def wait_for_build(settings: Settings) -> dict[str, Any]:
    """Return the latest exchange with the columns of its build, as soon as it has one."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        recorder_for(settings).flush()
        found = query(settings, "SELECT b.*, e.* FROM exchange e JOIN model_build b ON b.id = e.model_build_id")
        if found:
            return found[-1]
        time.sleep(0.02)
    raise AssertionError("no exchange has a build")


def test_the_row_points_to_the_build_that_the_server_describes(model_server: ModelServer, settings: Settings) -> None:
    body = {"messages": [user("Where do I live?")], "tools": TOOLS, "max_tokens": 8, "temperature": 0}
    with serving(ToolLogProxy(settings=settings)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
        row = wait_for_build(settings)
    props = httpx.get(f"{model_server.base_url}/props").json()
    adapters = httpx.get(f"{model_server.base_url}/lora-adapters").json()

    assert {
        "server": "llama.cpp",
        "model": model_server.model,
        "response_model": model_server.model,
        "quantization": "Q4_1",
        "quantization_raw": props["model_ftype"],
        "file_name": launch.MODEL_FILE,
        "n_ctx": props["default_generation_settings"]["n_ctx"],
        "ctx_limit": props["default_generation_settings"]["n_ctx"],
        "chat_template_hash": content_hash("chat_template", props["chat_template"]).hex(),
        "lora": json.dumps([{"file": launch.LORA.name, "scale": adapters[0]["scale"]}], separators=(",", ":")),
        "upstream": model_server.base_url,
    }.items() <= row.items()
    assert (answer["usage"]["prompt_tokens"], "exact", "none", 0) == (
        row["input_tokens"],
        row["budget_source"],
        row["truncation"],
        row["poisoned"],
    )
    parts = [row[f"{part}_tokens"] for part in ("tool", "system", "history", "new")]
    assert row["input_tokens"] == sum(parts)
    assert [True, False, False, True] == [part > 0 for part in parts]


def test_a_prompt_beyond_the_context_is_reported_with_the_limit(model_server: ModelServer, settings: Settings) -> None:
    with serving(ToolLogProxy(settings=settings)) as url:
        body = {"messages": [user("word " * 20_000)]}
        refused = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()["error"]
        row = wait_for_build(settings)

    assert ("reported", "exact", refused["n_ctx"], refused["n_prompt_tokens"], None) == (
        row["truncation"],
        row["budget_source"],
        row["ctx_limit"],
        row["new_tokens"],
        row["input_tokens"],
    )


# ---- how good the estimates are -------------------------------------------------------------------------------------


def prompts() -> Iterator[dict[str, Any]]:
    """Yield chats of prose, code and JSON, with up to 24 tools.

    The texts are pages and code of this repository as they once were: with those of today the figures would change.
    """
    chance = random.Random(20)
    prose = (TEXTS / "prose.txt").read_text("utf-8")
    code = (TEXTS / "code.txt").read_text("utf-8")

    def cut(text: str, longest: int) -> str:
        begin = chance.randrange(len(text) - longest)
        return text[begin : begin + chance.randint(20, longest)]

    for number in range(40):
        tools = [_variant(tool, cut(prose, 120), i) for i in range((0, 1, 2, 8)[number % 4]) for tool in TOOLS]
        messages = [system(cut(prose, 1500))] if number % 3 else []
        for turn in range(chance.randint(1, 4)):
            messages.append(user(cut(prose, 300)))
            if tools:
                messages.append(assistant(None, call("tarx_recall", {"query": cut(prose, 60)}, f"c{turn}")))
                messages.append(result(f"c{turn}", {"found": cut(chance.choice([prose, code]), 1200)}))
            messages.append(assistant(cut(prose, 400)))
        messages.append(user(cut(prose, 300)))
        yield {"messages": messages, "tools": tools} if tools else {"messages": messages}


def _variant(tool: dict[str, Any], description: str, number: int) -> dict[str, Any]:
    function = tool["function"]
    return {
        "type": "function",
        "function": {**function, "name": f"{function['name']}_{number}", "description": description},
    }


def test_totals_and_shares_are_close_to_what_the_server_counts(model_server: ModelServer) -> None:
    """The bounds that docs/context-budget.md names."""
    calibration = Calibration()
    untaught, taught, shares = [], [], []
    with httpx.Client(base_url=model_server.base_url, timeout=60) as client:
        for body in prompts():
            total = client.post(COUNT, json=body).json()["input_tokens"]
            bare = client.post(COUNT, json={"messages": body["messages"]}).json()["input_tokens"]
            item = exchange(body["messages"], assistant("x"), tools=body.get("tools"), body=_usage(total))
            assert item.request is not None
            size = measure(item.request, 0)
            untaught.append(abs(Calibration().tokens(size.total) / total - 1))
            if calibration.is_sound:
                taught.append(abs(calibration.tokens(size.total) / total - 1))
            shares.append(abs(budget(item, size, calibration).tool_tokens - (total - bare)) / total)
            calibration.learn(size, total)

    for errors in (untaught, taught):
        assert statistics.median(errors) < 0.06
        assert max(errors) < 0.35
    assert statistics.median(shares) < 0.03
    assert max(shares) < 0.07


def _usage(total: int) -> dict[str, Any]:
    return {"model": "m", "usage": {"prompt_tokens": total, "completion_tokens": 1}}
