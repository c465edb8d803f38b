"""``reader(writer(x)) == x`` for anything that JSON can hold."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarx_toollog import ToolLog
from tarx_toollog.canonical import canonical_json, escape_text, json_text, parse_json, unescape_text
from tarx_toollog.config import Settings
from tarx_toollog.wire.decode import decode
from tests.support.builders import raw_exchange

TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)  # lone surrogates and NUL included
SCALAR = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT | JSON})},
        optional={"id": TEXT | st.integers(), "index": st.integers(0, 3)},
    ),
    max_size=3,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "wizard"])},
    optional={
        "content": TEXT | st.none() | JSON,
        "name": TEXT | st.integers(),
        "tool_call_id": TEXT | st.integers(),
        "tool_calls": CALLS,
        "reasoning_content": TEXT,
        "x-unknown": JSON,
    },
)
TOOL = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": TEXT}, optional={"parameters": JSON})}
)
ANSWER = st.fixed_dictionaries(
    {"role": st.just("assistant")}, optional={"content": TEXT | st.none(), "tool_calls": CALLS}
)


@pytest.fixture(scope="module")
def log() -> Iterator[ToolLog]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "t.db")
        with ToolLog.open(settings=Settings(database=path), read_only=False) as opened:
            yield opened


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    messages=st.lists(MESSAGE, max_size=5),
    tools=st.none() | st.lists(TOOL, max_size=3),
    answer=st.none() | ANSWER,
    params=st.dictionaries(TEXT.filter(lambda k: k not in ("messages", "tools", "functions")), JSON, max_size=3),
)
def test_what_is_read_is_what_was_written(
    log: ToolLog, messages: Any, tools: Any, answer: Any, params: dict[str, Any]
) -> None:
    written = decode(raw_exchange(messages, answer, tools=tools, params=params))
    log.write([written])

    assert written == log.exchange(written.uid)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(messages=st.lists(MESSAGE, max_size=5), tools=st.none() | st.lists(TOOL, max_size=3))
def test_the_request_body_is_rebuilt_exactly(log: ToolLog, messages: Any, tools: Any) -> None:
    raw = raw_exchange(messages, None, tools=tools, params={"temperature": 0.5})
    log.write([decode(raw)])
    request = log.exchange(raw.begin.uid).request

    assert request is not None
    rebuilt = dict(request.params) | {"messages": [dict(m.raw) for m in request.messages]}
    if request.tools_key is not None:
        rebuilt[request.tools_key] = [dict(tool.raw) for tool in request.tools]
    assert canonical_json(parse_json(raw.request_body)) == canonical_json(rebuilt)


@given(TEXT)
def test_any_text_survives_the_escape(text: str) -> None:
    escaped = escape_text(text)

    assert text == unescape_text(escaped)
    escaped.encode("utf-8")
    assert "\0" not in escaped


@given(JSON)
def test_json_text_is_storable_and_reads_back(value: Any) -> None:
    text = json_text(value)

    text.encode("utf-8")
    assert canonical_json(value) == canonical_json(parse_json(text))


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_canonical_json_does_not_depend_on_key_order(value: dict[str, Any]) -> None:
    reordered = dict(reversed(list(value.items())))

    assert canonical_json(value) == canonical_json(reordered)
    assert canonical_json(value) == canonical_json(parse_json(canonical_json(value)))
