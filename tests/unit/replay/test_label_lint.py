"""What is wrong with expectations: each thing is found, and what is right is left alone."""

from typing import Any

import pytest

from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import GOLD, Recorded, Scenario, ScenarioStep, TurnCall
from tarx_toollog.replay.suites.label_lint import ERROR, WARNING, lint
from tests.unit.replay.support import TOOLS, Json, tool

ORDER: Json = tool(
    "order",
    {
        "id": {"type": "string"},
        "amount": {"type": "number"},
        "count": {"type": "integer"},
        "day": {"type": "string", "format": "date"},
        "state": {"type": "string", "enum": ["open", "s404"]},
        "currency": {"type": "string", "default": "EUR2"},
        "note": {"type": "string"},
    },
    ["id"],
)
FREE: Json = {
    "type": "function",
    "function": {"name": "free", "parameters": {"type": "object", "additionalProperties": True}},
}
SAID = ({"role": "user", "content": "Order A-17 for 1,200 euros tomorrow; the client is C 44 B."},)


def scenario(*calls: Call, recording: tuple[TurnCall, ...] = (), **more: Any) -> Scenario:
    tier = more.pop("tier", "bronze")
    step = ScenarioStep(2, "e", SAID, (*TOOLS, ORDER, FREE), {}, calls, Recorded({}, None, None), **more)
    return Scenario("c", 3, (step,), tier=tier, recording=recording)


def found(*calls: Call, **more: Any) -> list[tuple[str, str]]:
    return [(finding.code, finding.detail) for finding in lint([scenario(*calls, **more)]).findings]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"id": "A-17", "size": 3}, [("unknown_arg", "order: /size")]),
        ({"state": "open"}, [("missing_required", "order: (root): 'id' is a required property")]),
        ({"id": "A-17", "amount": "all"}, [("against_schema", "order: /amount: 'all' is not of type 'number'")]),
        ({"id": "A-17", "state": "shut"}, [("against_schema", "order: /state: 'shut' is not one of ['open', 's404']")]),
    ],
    ids=str,
)
def test_what_no_tool_could_take_is_an_error(arguments: Any, expected: list[tuple[str, str]]) -> None:
    assert expected == found(Call("order", arguments))
    assert expected == found(alternatives=((Call("order", arguments),),))


def test_a_tool_that_is_not_offered_is_an_error_and_one_that_takes_anything_is_not() -> None:
    assert [("unknown_tool", "fly")] == found(Call("fly", {"to": 1}))
    assert [] == found(Call("free", {"anything": "x"}))


@pytest.mark.parametrize(
    "arguments",
    [
        {"id": "A-17", "amount": 1200},
        {"id": "a-17", "amount": 1200.0, "count": 2},
        {"id": "A-17", "day": "2031-07-09"},
        {"id": "A-17", "state": "s404", "currency": "EUR2"},
        {"id": "A-17", "note": "4 boxes for the client"},
        {"id": "A-17", "note": "urgent"},
    ],
    ids=str,
)
def test_what_was_said_or_made_by_rule_is_reachable(arguments: Any) -> None:
    assert [] == found(Call("order", arguments))


@pytest.mark.parametrize(
    "arguments", [{"id": "B-99"}, {"id": "A-17", "amount": 1350}, {"id": "A-17", "note": "ref77"}], ids=str
)
def test_an_id_or_an_amount_that_nobody_said_is_a_warning(arguments: Any) -> None:
    ((code, _),) = found(Call("order", arguments))
    assert "unreachable_value" == code
    top = list(arguments)[-1]
    assert [] == found(Call("order", arguments), rules={"order": {f"/{top}": Rule("present")}})


def test_a_text_answer_has_nothing_that_could_be_wrong() -> None:
    assert [] == found()


@pytest.mark.parametrize(("tier", "expected"), [("corrected", "expects_known_bad"), (GOLD, "expects_what_failed")])
def test_the_very_call_that_failed_cannot_be_what_was_right(tier: str, expected: str) -> None:
    call = Call("order", {"id": "A-17"})
    failed = (TurnCall(2, "order", {"id": "A-17"}, "no", is_error=True),)
    assert [(expected, "order")] == found(call, recording=failed, tier=tier)
    assert [] == found(Call("order", {"id": "C 44 B"}), recording=failed, tier=tier)
    for other in (
        TurnCall(1, "order", {"id": "A-17"}, "no", is_error=True),
        TurnCall(2, "order", {"id": "A-17"}, "ok"),
    ):
        assert [] == found(call, recording=(other,), tier=tier)


def test_a_report_counts_in_the_order_of_the_codes_and_shows_the_first_of_each() -> None:
    report = lint([scenario(Call("order", {"id": "B-99"})), scenario(Call("fly", {})), scenario(Call("fly", {}))])
    assert {"unknown_tool": 2, "unreachable_value": 1} == report.counts
    shown = report.to_json(1)
    assert (2, 1, 2) == (shown["errors"], shown["warnings"], len(shown["findings"]))
    assert [ERROR, WARNING] == [finding["level"] for finding in shown["findings"]]
    assert {"conversation_uid": "c", "turn_no": 3, "step_no": 2, "exchange_uid": "e"}.items() <= shown["findings"][
        0
    ].items()
