"""What makes a step hard: where its arguments come from, and its place on each axis."""

import doctest
from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.replay import provenance
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.provenance import Origin, origins
from tarx_toollog.replay.reports.axes import AXES, axes, bins
from tarx_toollog.replay.scenario import Recorded, ScenarioStep
from tests.unit.replay.support import TOOLS, calling, saying

SHOWN: list[dict[str, Any]] = [
    {"role": "system", "content": "You serve the office in Braga."},
    {"role": "user", "content": "My badge is A-77."},
    saying("Noted."),
    {"role": "user", "content": [{"type": "text", "text": "Book room 12 for Ana, as last time."}]},
    calling(("recall", {"query": "last booking"})),
    {"role": "tool", "tool_call_id": "c", "content": '{"id": 4711, "time": "9:30", "who": "Ana"}'},
]


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        (12, Origin("/x", "turn", 3)),
        (4711, Origin("/x", "result", 5)),
        ("9:30", Origin("/x", "result", 5)),
        ("Ana", Origin("/x", "result", 5)),
        ("as  LAST time", Origin("/x", "turn", 3)),
        ("A-77", Origin("/x", "earlier", 1)),
        ("last booking", Origin("/x", "earlier", 4)),
        ("Braga", Origin("/x", "system", 0)),
        (471, Origin("/x", "generated")),
        ("An", Origin("/x", "generated")),
        ("", Origin("/x", "generated")),
    ],
)
def test_a_value_comes_from_the_latest_place_that_holds_it_as_a_word(value: Any, origin: Origin) -> None:
    assert (origin,) == origins(Call("book", {"x": value}), SHOWN)


def test_what_stands_nowhere_may_be_the_schemas() -> None:
    schema = {"properties": {"kind": {"enum": ["fact", "wish"]}, "limit": {"default": 5}}}
    found = origins(Call("book", {"kind": "wish", "limit": 5, "a/b": ["made up"], "yes": True}), SHOWN, schema)
    assert [("/kind", "enum"), ("/limit", "default"), ("/a~1b/0", "generated")] == [
        (origin.path, origin.source) for origin in found
    ]


def step(**changes: Any) -> ScenarioStep:
    call = Call("recall", {"query": "4711", "place": {"room": 12}})
    whole = ScenarioStep(3, "", tuple(SHOWN), tuple(TOOLS), {}, (call,), Recorded({}, None, None))
    return replace(whole, **changes)


def test_a_step_has_its_place_on_every_axis() -> None:
    found = axes(step())

    assert set(AXES) == set(found)
    assert {
        "depth": 3, "tools": 3, "calls": 1, "arguments": 2, "nesting": 2, "references": 1, "distance": 3,
        "messages": 6, "turns": 2, "errors": 0,
    }.items() <= found.items()  # fmt: skip
    assert 0 < found["likeness"] < 1


def test_an_answer_in_text_has_a_place_on_the_axes_of_its_history_alone() -> None:
    failed = {"role": "tool", "content": "Error: no such room"}
    found = axes(step(expected=(), messages=(*SHOWN, failed)))
    assert (0, 1, 7) == (found["calls"], found["errors"], found["messages"])
    assert {"likeness", "arguments", "references", "distance"}.isdisjoint(found)


def test_bins_keep_equal_values_together_and_are_not_too_small() -> None:
    steps = [(step(step_no=1 + n % 3, expected=()), f"c{n}", n % 3 == 0) for n in range(60)]
    found = [part for part in bins(steps) if part.axis == "depth"]

    assert [(1, 1, 20, 20), (2, 2, 0, 20), (3, 3, 0, 20)] == [
        (part.low, part.high, part.share.numerator, part.share.denominator) for part in found
    ]
    assert {"depth"} == {part.axis for part in bins(steps)}


def test_few_steps_have_no_bins() -> None:
    assert () == bins([(step(step_no=n), f"c{n}", True) for n in range(1, 15)])


def test_examples_in_the_docstrings_run() -> None:
    result = doctest.testmod(provenance)
    assert (0, True) == (result.failed, result.attempted > 0)
