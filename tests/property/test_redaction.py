"""Redaction leaves everything but the values as it was, wherever they are planted."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import Json
from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.wire.decode import decode
from tests.support.builders import raw_exchange

REDACTOR = Redactor(Policy.load("all"), bytes(range(32)))
MARK = re.compile(r"⟦[A-Z_0-9]+:[0-9a-f]{10}⟧")

# Put together here, so that scanners of code hosts do not take them for real.
PLANTED = (
    "sk-" + "proj-" + "a8B7c6D5e4F3g2H1i0J9k8L7",
    "ghp" + "_9aB8cD7eF6gH5iJ4kL3mN2oP1qR0sT9uV8wX",
    "max.huber@nordwind.se",
    "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111",
    "+49 171 2345678",
    "192.168.178.23",
)
NOISE = st.text(st.characters(exclude_categories=[]), max_size=12) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "\n",
        "⟦",
        "⟧",
        "password",
        "password: ",
        "token=",
        "://a:b@",
        "Bearer ",
        "/home/",
        "{",
        "}",
        '{"a":',
    ]
)
TEXT = st.lists(NOISE, max_size=4).map("".join)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return noise with a value planted in it, apart from its neighbours."""
    if draw(st.booleans()):
        return draw(TEXT)
    return f"{draw(TEXT)} {draw(st.sampled_from(PLANTED))} {draw(TEXT)}"


KEYS = (
    st.sampled_from(
        [
            "password",
            "apiKey",
            "token",
            "pass",
            "pin",
            "otp",
            "query",
            "name",
            "key",
            "value",
            "default",
            "enum",
            "n",
            "",
        ]
    )
    | TEXT
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(0, 99_999)
    | st.floats(allow_nan=False)
    | texts()
)
TREES = st.recursive(
    SCALARS | st.just(4111111111111111),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@st.composite
def nested(draw: st.DrawFn) -> Json:
    """Return a tree, in some of whose strings there is JSON, in whose strings there is JSON."""
    tree = draw(TREES)
    for _ in range(draw(st.integers(0, 2))):
        text = json.dumps(tree, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        tree = {draw(KEYS): text, **draw(st.dictionaries(KEYS, SCALARS, max_size=2))}
    # A number alone is what a person typed rather than JSON.
    return tree if isinstance(tree, str | dict | list) else [tree]


def shape(value: Json) -> Any:
    """Return a tree without its strings: keys and their order, lists, and what kind of leaf stands where."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    # A number may be that of a card, or a secret under its name: then it becomes a mark.
    return "text" if isinstance(value, str) or (type(value) is int and 100 <= value < 10**19) else repr(value)


def strings(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@given(nested())
def test_json_text_keeps_its_keys_and_its_form(tree: Json) -> None:
    text = json.dumps(tree)

    new = REDACTOR.text(text)[0]

    assert shape(json.loads(text)) == shape(json.loads(new))


@given(nested())
def test_redacting_the_text_and_redacting_the_tree_are_the_same(tree: Json) -> None:
    if isinstance(tree, dict | list):
        for ensure_ascii in (True, False):
            text = json.dumps(tree, ensure_ascii=ensure_ascii)
            assert REDACTOR.value(tree)[0] == json.loads(REDACTOR.text(text)[0])


@given(nested())
def test_no_planted_value_is_left(tree: Json) -> None:
    for text in strings(REDACTOR.value(tree)[0]):
        assert [] == [value for value in PLANTED if f" {value} " in text]


@given(nested())
def test_redacting_a_tree_twice_changes_nothing(tree: Json) -> None:
    once = REDACTOR.value(tree)[0]

    assert REDACTOR.value(once) == (once, ())


@given(texts() | TEXT)
def test_redacting_a_text_twice_changes_nothing(text: str) -> None:
    once = REDACTOR.text(text)[0]

    assert (once, []) == REDACTOR.text(once)


@given(texts())
def test_what_is_between_the_values_stays(text: str) -> None:
    new, found = REDACTOR.text(text)
    at = 0
    for piece in MARK.split(new):
        at = text.find(piece, at)
        assert at >= 0
        at += len(piece)
    assert len(found) >= len(MARK.findall(new)) - len(MARK.findall(text))


@given(st.binary(max_size=60) | nested().map(lambda tree: json.dumps(tree).encode()))
def test_a_body_that_is_json_stays_json(body: bytes) -> None:
    new = REDACTOR.body(body)
    try:
        value = json.loads(body)
    except ValueError:
        return
    assert shape(value) == shape(json.loads(new))


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={
            "content": texts() | st.none() | nested(),
            "name": texts(),
            "tool_call_id": st.just("c1"),
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {"function": st.fixed_dictionaries({"name": st.just("f"), "arguments": nested().map(json.dumps)})},
                    optional={"id": st.just("c1")},
                ),
                max_size=2,
            ),
            "reasoning_content": texts(),
            "x-unknown": nested(),
        },
    ),
    max_size=4,
)


@given(
    MESSAGES,
    st.dictionaries(KEYS.filter(lambda key: key not in ("messages", "tools", "functions")), nested(), max_size=2),
)
def test_a_redacted_exchange_is_what_the_decoder_would_make_of_a_redacted_request(
    messages: list[dict[str, Any]], params: dict[str, Any]
) -> None:
    item = decode(raw_exchange(messages, {"role": "assistant", "content": "ok"}, params=params))
    once, marks = REDACTOR.exchange(item)
    assert once.request is not None
    redacted = [dict(message.raw) for message in once.request.messages]
    again = decode(raw_exchange(redacted, {"role": "assistant", "content": "ok"}, params=dict(once.request.params)))

    assert again.request is not None
    assert again.request.messages == once.request.messages
    assert (once, ()) == REDACTOR.exchange(once)
    assert bool(marks) == (once is not item)
