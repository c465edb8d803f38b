"""Any scenario that a person could have written, or that was frozen from a log."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import TIERS, Omitted, Recorded, Scenario, ScenarioStep, TurnCall, Variant
from tests.unit.replay.support import TOOLS, calling, saying

TEXT = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["recall", "remember", "save"])
CALLS = st.builds(Call, NAMES, st.dictionaries(TEXT, VALUES, max_size=3))
ANSWERS = st.lists(CALLS, max_size=3).map(tuple)
PICTURE = {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
MESSAGES = st.lists(
    TEXT.map(lambda text: {"role": "user", "content": text})
    | st.lists(st.sampled_from([{"type": "text", "text": "{{ a }}"}, PICTURE, SOUND]), max_size=2).map(
        lambda parts: {"role": "user", "content": parts}
    )
    | TEXT.map(lambda text: {"role": "developer", "content": text, "name": "x"})
    | TEXT.map(saying)
    | st.tuples(NAMES, st.dictionaries(TEXT, VALUES, max_size=2) | st.just("{broken")).map(calling)
    | TEXT.map(lambda text: {"role": "tool", "tool_call_id": "c", "content": text}),
    min_size=1,
    max_size=4,
).map(tuple)
RULES = st.sampled_from([Rule("ignore"), Rule("oneof", values=("a", 1), may_omit=True), Rule("regex", pattern="a+")])


@st.composite
def steps(draw: st.DrawFn) -> ScenarioStep:
    expected = draw(ANSWERS)
    return ScenarioStep(
        step_no=1,
        exchange_uid="",
        messages=draw(MESSAGES),
        tools=tuple(draw(st.lists(st.sampled_from(TOOLS), max_size=3))),
        params=draw(st.dictionaries(st.sampled_from(["max_tokens", "model"]), st.integers(), max_size=2)),
        expected=expected,
        recorded=Recorded({}, None, None),
        alternatives=tuple(draw(st.lists(ANSWERS, max_size=2))),
        rules=draw(
            st.dictionaries(NAMES, st.dictionaries(TEXT.map("/{}".format), RULES, min_size=1, max_size=2), max_size=2)
        ),
        asks=not expected and draw(st.booleans()),
        text_check=draw(st.sampled_from([{}, {"says": ["TARX"]}])),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    numbers = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True).map(sorted))
    of_turn: list[Any] = [draw(st.sampled_from([(), (Omitted(2, "no_output"),)]))]
    of_turn.append(draw(st.sampled_from([(), (TurnCall(1, "recall", {"query": "a"}, "Porto"),)])))
    of_turn.append(draw(st.sampled_from([None, Variant("u", "tools", "similar_tools", "10")])))
    return Scenario(
        draw(TEXT),
        1,
        tuple(replace(draw(steps()), step_no=number) for number in numbers),
        omitted=of_turn[0],
        tier=draw(st.sampled_from(TIERS)),
        recording=of_turn[1],
        variant=of_turn[2],
    )
