"""Which tools are added to a scenario, where they stand among the others, and what is read from the pairs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.probes.cases import Case, Original, Reading
from tarx_toollog.replay.probes.catalogue import ordinary_tools, scopes
from tarx_toollog.replay.probes.differences import difference_text, pairs_of
from tarx_toollog.replay.probes.distractors import like, mixed, pool_of, random_tools, shuffled, similar_tools
from tarx_toollog.replay.probes.levels import MARGIN, at, ladder
from tarx_toollog.replay.probes.tools import AS_IT_IS, ORDER, SHUFFLED, tool_variants
from tarx_toollog.replay.probes.tools_report import tools_report_of
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep, Variant
from tarx_toollog.store.replays import RunRow
from tests.unit.replay.support import TOOLS, tool

MESSAGES = ({"role": "user", "content": "What is my cat called?"},)
RECALL = Call("recall", {"query": "cat"})
STEP = ScenarioStep(1, "exchange", MESSAGES, tuple(TOOLS), {}, (RECALL,), Recorded({}, None, None))
SCENARIO = Scenario("conversation", 1, (STEP,))
RUN = RunRow(1, "u", "r", "t", "m", "http://s", "teacher_forced", {}, None, "finished", datetime.now(UTC), None)


def names(tools: Sequence[Any]) -> list[str]:
    return [each["function"]["name"] for each in tools]


def test_random_tools_come_from_the_log_first_and_then_from_the_catalogue() -> None:
    pool = pool_of([*TOOLS, tool("weather", {}), tool("mail", {})])
    found = random_tools(SCENARIO, pool, 5)

    assert {"weather", "mail"} == set(names(found.tools)[:2])
    assert set(names(found.tools)[2:]) < set(names(list(ordinary_tools())))
    assert (5, 3) == (len(found.tools), found.n_made)


def test_similar_tools_are_the_likest_first_and_made_ones_say_what_they_are_only_for() -> None:
    other = tool("recall_file", {"path": {"type": "string"}})
    found = similar_tools(SCENARIO, pool_of([tool("weather", {}), other, *TOOLS]), 3)

    assert "recall_file" == names(found.tools)[0]
    meanings = dict(scopes())
    for made in found.tools[1:]:
        function = made["function"]
        assert TOOLS[0]["function"]["parameters"] == function["parameters"]
        assert function["description"] == f"recall Only for {meanings[function['name'].removeprefix('recall_')]}."
    assert 2 == found.n_made


def test_a_purpose_that_the_dialogue_is_about_makes_no_distractor() -> None:
    said = replace(STEP, messages=({"role": "user", "content": "Where are my beehives and the invoices?"},))
    found = similar_tools(replace(SCENARIO, steps=(said,)), {}, 100)

    assert len(scopes()) - 2 == len(found.tools)
    assert {"recall_beehives", "recall_invoices"}.isdisjoint(names(found.tools))


def test_likeness_is_of_names_and_descriptions() -> None:
    cat, cats, sum_up = (tool(name, {}) for name in ("find_cat", "find_cats", "sum_up"))

    assert like(cat, cat) == 1.0 > like(cat, cats) > 0.5 > like(cat, sum_up)


def test_the_catalogue_and_the_purposes_are_enough_for_the_highest_level_and_differ() -> None:
    catalogue = names(list(ordinary_tools()))

    assert len(catalogue) == len(set(catalogue)) >= 36
    assert len(scopes()) == len(dict(scopes())) >= 30


def test_levels_are_nested_and_nothing_changes_its_order() -> None:
    added = list(ordinary_tools())
    few, many = (names(mixed(TOOLS, added[:count], b"seed")) for count in (5, 20))

    assert few == [name for name in many if name in few]
    assert names(TOOLS) == [name for name in many if name in names(TOOLS)]
    assert many[:3] != names(TOOLS), "the others stand among them, not behind them"


def test_tools_are_added_in_the_shape_of_those_that_are_there() -> None:
    legacy = [each["function"] for each in TOOLS]
    found = mixed(legacy, list(ordinary_tools())[:3], b"seed")

    assert all("name" in each and "function" not in each for each in found)


def test_shuffled_tools_are_the_same_in_another_order_every_time() -> None:
    for seed in (b"a", b"b", b"c"):
        found = shuffled(TOOLS, seed)
        assert found != tuple(TOOLS)
        assert found == shuffled(TOOLS, seed)
        assert sorted(names(TOOLS)) == sorted(names(found))


def test_variants_change_the_tools_and_nothing_else() -> None:
    answering = replace(STEP, step_no=2, tools=(), expected=())
    original = Original("uid", replace(SCENARIO, steps=(STEP, answering)), "t")
    made = tool_variants([original], {}, (5, 10))

    told = [(each.variant.factor, each.variant.level) for each in made.scenarios if each.variant]
    assert [
        (AS_IT_IS, "0"), ("random_tools", "5"), ("random_tools", "10"), ("similar_tools", "5"), ("similar_tools", "10"),
        (ORDER, SHUFFLED),
    ] == told  # fmt: skip
    assert [3, 8, 13, 8, 13, 3] == [len(each.steps[0].tools) for each in made.scenarios]
    assert {()} == {each.steps[1].tools for each in made.scenarios}, "where no tool was offered, none is added"
    assert {"", "uid"} == {step.exchange_uid for each in made.scenarios for step in each.steps} | {
        each.variant.of for each in made.scenarios if each.variant
    }
    unchanged = [replace(each, variant=None, steps=tuple(replace(step, tools=()) for step in each.steps))
                 for each in made.scenarios]  # fmt: skip
    assert 1 == len({each.content_hash for each in unchanged})
    assert len(made.scenarios) == len({each.content_hash for each in made.scenarios})


def test_scenarios_without_tools_cannot_be_probed() -> None:
    bare = Original("uid", replace(SCENARIO, steps=(replace(STEP, tools=()),)), "t")

    with pytest.raises(ConfigError, match="no scenario offers a tool"):
        tool_variants([bare], {})
    assert 1 == tool_variants([bare, Original("other", SCENARIO, "t")], {}).without_tools


def cases(factor: str, level: str, results: Sequence[bool | None], cluster: str = "") -> list[Case]:
    """Return cases of one level; a cluster of their own each, unless one is named."""
    return [
        Case(replace(SCENARIO, variant=(variant := Variant(f"s{number}", "tools", factor, level))), variant, result,
             None if result else "wrong_tool", (), cluster or f"c{number}")
        for number, result in enumerate(results)
    ]  # fmt: skip


def test_a_level_holds_breaks_or_is_undecided_by_the_whole_interval_of_the_difference() -> None:
    base = cases(AS_IT_IS, "0", [True] * 40)
    lost = {"5": 0, "10": 2, "20": 8, "30": 30}
    levels = {name: cases("x", name, [False] * count + [True] * (40 - count)) for name, count in lost.items()}
    found = ladder("x", base, levels)

    assert ["holds", "undecided", "undecided", "breaks"] == [level.state for level in found.levels]
    assert ("5", "30", ["10", "20"]) == (
        found.holds_to and found.holds_to.name,
        found.breaks_by and found.breaks_by.name,
        [level.name for level in found.undecided],
    )
    assert found.sentence("more tools") == (
        "holds to 5 more tools (loses at most 6.6 points), breaks by 30 (loses at least 56.3 points), "
        "10, 20: undecided (40 scenarios; about 97 would decide about 10)"
    )


def test_the_number_of_scenarios_that_would_decide_does_decide() -> None:
    level = ladder("x", cases(AS_IT_IS, "0", [True] * 12), {"5": cases("x", "5", [True] * 12)}).levels[0]
    needed = level.pairs_to_decide(MARGIN)

    assert needed is not None
    states = [
        ladder("x", cases(AS_IT_IS, "0", [True] * n), {"5": cases("x", "5", [True] * n)}).levels[0].state
        for n in (needed - 1, needed)
    ]
    assert ["undecided", "holds"] == states


def test_cases_that_hang_together_leave_more_open() -> None:
    alone, together = (
        ladder("x", cases(AS_IT_IS, "0", [True] * 40), {"5": cases("x", "5", [True] * 40, cluster)}).levels[0].share
        for cluster in ("", "one")
    )
    pairs = [pairs_of(dict.fromkeys("abcdef", True), dict.fromkeys("abcdef", True), clusters)
             for clusters in ({}, dict.fromkeys("abcdef", "one"))]  # fmt: skip

    assert together.low < alone.low
    assert (None, 1.0) == tuple(each.n_effective for each in pairs)
    assert pairs[1].low < pairs[0].low


def test_only_cases_with_a_verdict_are_counted_and_none_is_inconclusive() -> None:
    found = ladder("x", cases(AS_IT_IS, "0", [True, None]), {"5": cases("x", "5", [None, True])})

    assert (0, "undecided") == (found.levels[0].difference.n_pairs, found.levels[0].state)
    assert "INCONCLUSIVE: 5: undecided (no scenario was judged)" == found.sentence("more tools")
    assert "–" == difference_text(found.levels[0].difference)


def test_the_report_has_each_kind_of_tools_and_the_order() -> None:
    asked = [
        *cases(AS_IT_IS, "0", [True] * 9),
        *cases("random_tools", "5", [True] * 9),
        *cases("random_tools", "30", [True] * 8 + [False]),
        *cases("similar_tools", "5", [False] * 9),
        *cases(ORDER, SHUFFLED, [True] * 8 + [None]),
    ]
    found = tools_report_of(Reading(RUN, tuple(asked), 1))
    told = found.to_json()

    assert [["5", "30"], ["5"]] == [[level["level"] for level in each["levels"]] for each in told["factors"]]
    assert [{}, {"wrong_tool": 1}] == [level["failures"] for level in told["factors"][0]["levels"]]
    assert (9, 8) == (told["as_it_is"]["denominator"], told["order"]["levels"][0]["difference"]["pairs"])
    assert (1, 1) == (told["unjudged"], told["infra_errors"])
    assert 9 == len(at(asked, "similar_tools", "5"))
