"""Every recorded exchange of a real llama-server against its golden summary."""

import json
import random
from typing import Any

import pytest

from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tests.support.captures import CAPTURES, golden_path, load_raw, split_at, summary, wire_captures


def golden(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(golden_path(name).read_text("utf-8"))
    return loaded


def as_json(exchange: Exchange) -> dict[str, Any]:
    """Return the summary as it reads from a file, so that tuples and lists are the same."""
    loaded: dict[str, Any] = json.loads(json.dumps(summary(exchange)))
    return loaded


@pytest.mark.parametrize("name", wire_captures())
def test_a_capture_decodes_to_its_golden_summary_however_it_is_cut(name: str) -> None:
    raw = load_raw(name)
    size = len(raw.response_body)
    places = random.Random(name)
    cuts = [range(size), *([places.randrange(size) for _ in range(places.randrange(1, 40))] for _ in range(5) if size)]

    assert golden(name) == as_json(decode(raw))
    whole = decode(split_at(raw, []))
    assert golden(name) == as_json(whole)
    for cut in cuts:
        assert whole == decode(split_at(raw, cut))


def test_every_capture_has_a_golden_summary_and_every_summary_a_capture() -> None:
    goldens = {path.name.removesuffix(".expected.json") for path in CAPTURES.glob("*.expected.json")}

    assert set(wire_captures()) == goldens


@pytest.mark.parametrize(
    "name",
    [
        "chat_plain",
        "chat_tool",
        "chat_tool_result_round",
        "think_tool",
        "chain_step1",
        "toy_chain_chat_1",
        "toy_chain_chat_2",
    ],
)
def test_a_streamed_answer_has_the_form_of_the_same_answer_without_streaming(name: str) -> None:
    """The server was asked the same at temperature 0, so only ids differ, and ``content`` null for empty."""

    def shape(capture: str) -> dict[str, Any]:
        raw = golden(capture)["response"]["choices"][0]["raw_message"]
        calls = [{**call, "id": "…"} for call in raw.get("tool_calls", [])]
        return {**raw, "content": raw["content"] or "", "tool_calls": calls}

    assert shape(name) == shape(f"{name}_stream")
