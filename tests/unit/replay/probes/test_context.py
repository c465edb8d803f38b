"""Where the needed fact stands, what fills the context, and what is read from the cells."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.probes.cases import Case, Original, Reading
from tarx_toollog.replay.probes.context import (
    AS_IT_IS,
    Scale,
    Spot,
    context_variants,
    distractor,
    intended,
    level_of,
    prompt_chars,
    spot,
)
from tarx_toollog.replay.probes.context_report import Asked, ContextReport, context_report_of
from tarx_toollog.replay.probes.context_text import context_text
from tarx_toollog.replay.probes.padding import neutral_turns, padding, size_of
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep, Variant
from tarx_toollog.store.replays import RunRow
from tests.unit.replay.support import TOOLS, Json, saying

RUN = RunRow(1, "u", "r", "t", "m", "http://s", "teacher_forced", {}, None, "finished", datetime.now(UTC), None)
SYSTEM = {"role": "system", "content": "Be brief."}
SCALE = Scale(8_000, 4.0, 4.0)


def user(text: str) -> Json:
    return {"role": "user", "content": text}


MOVABLE = (
    SYSTEM,
    user("My order is 4711."),
    saying("I see."),
    user("And the weather?"),
    saying("Dry."),
    user("Find it."),
)
FIXED = (SYSTEM, user("Hello."), saying("Hello."), user("Find order 4711."))


def scenario(messages: Sequence[Json], *calls: Call) -> Scenario:
    expected = calls or (Call("recall", {"query": "4711"}),)
    step = ScenarioStep(2, "x", tuple(messages), tuple(TOOLS), {}, expected, Recorded({}, None, None))
    return Scenario("conversation", 1, (step,))


def test_a_fact_of_an_earlier_turn_can_be_moved_and_one_of_the_turn_that_asks_cannot() -> None:
    moved, fixed = spot(scenario(MOVABLE)), spot(scenario(FIXED))

    assert isinstance(moved, Spot)
    assert isinstance(fixed, Spot)
    assert (1, 3, ("start", "middle", "end")) == (moved.before, moved.after, moved.positions)
    assert (3, 3, ("end",)) == (fixed.before, fixed.after, fixed.positions)


def test_a_scenario_without_a_fact_says_why_it_is_not_probed() -> None:
    made_up = scenario(MOVABLE, Call("recall", {"query": "something else"}))
    answering = replace(made_up, steps=(replace(made_up.steps[0], expected=()),))

    assert ("no_fact", "no_call") == (spot(made_up), spot(answering))
    with pytest.raises(ConfigError, match="nothing that it has to call with"):
        context_variants([Original("a", made_up, "t")], neutral_turns(), SCALE)
    found = context_variants([Original("a", made_up, "t"), Original("b", scenario(FIXED), "t")], neutral_turns(), SCALE)
    assert ({"no_fact": 1}, 1) == (found.left_out, found.fixed)


def test_padding_stands_behind_the_fact_around_it_or_before_it_and_the_rest_keeps_its_order() -> None:
    made = context_variants([Original("uid", scenario(MOVABLE), "t")], neutral_turns(), SCALE, (50,)).scenarios
    by = {each.variant.factor: [*each.steps[0].messages] for each in made if each.variant}

    assert list(MOVABLE) == by[AS_IT_IS]
    places = {position: by[position].index(MOVABLE[1]) for position in ("start", "middle", "end")}
    n_padding = len(by["start"]) - len(MOVABLE)
    assert {"start": 1, "end": 1 + n_padding} == {key: places[key] for key in ("start", "end")}
    assert 0.3 < places["middle"] / n_padding < 0.7
    for messages in by.values():
        assert list(MOVABLE) == [each for each in messages if each in MOVABLE]
        assert SYSTEM == messages[0]
        assert all(one["role"] != other["role"] for one, other in pairwise(messages))


def test_a_fill_is_nearly_reached_and_never_passed() -> None:
    for fill in (25, 50, 75, 90):
        made = context_variants([Original("uid", scenario(MOVABLE), "t")], neutral_turns(), SCALE, (fill,)).scenarios
        level, tokens = made[-1].variant, intended(level_of(fill, SCALE))[1]
        assert level is not None
        assert (fill, round(fill * 80)) == intended(level.level)
        added = [each for each in made[-1].steps[0].messages if each not in MOVABLE]
        n_tokens = (prompt_chars(MOVABLE, TOOLS) + size_of(added)) / 4
        assert 0.9 * tokens < n_tokens <= tokens


def test_padding_is_the_same_every_time_and_another_for_another_scenario() -> None:
    turns = neutral_turns()
    first, again, other = (padding(turns, seed, "c", (), 9_000) for seed in (b"a", b"a", b"b"))

    assert first == again != other
    assert sum(turn.size for turn in first) <= 9_000


@pytest.mark.parametrize("size", [150, 400, 1_000])
def test_a_small_room_is_filled_with_short_turns(size: int) -> None:
    found = padding(neutral_turns(), b"", "c", (), size)

    assert size - 80 < sum(turn.size for turn in found) <= size


def test_padding_leaves_out_the_conversation_itself_and_what_holds_a_value_that_is_asked_for() -> None:
    turns = neutral_turns()
    told = replace(turns[0], messages=(user("4711 is late."), saying("I see.")))
    own = replace(turns[1], conversation_uid="conversation")
    found = padding([told, own, turns[2]], b"", "conversation", (Call("recall", {"query": "4711"}),), 100_000)

    assert [turns[2]] == [turn for turn in found if turn in (told, own, turns[2])]


def test_the_neutral_turns_differ_and_fill_a_context_of_32_000_tokens() -> None:
    turns = neutral_turns()

    assert len(turns) == len({str(turn.messages) for turn in turns})
    assert sum(turn.size for turn in turns) > 25_000 * 3


def test_a_distractor_is_of_the_same_kind_and_not_the_value_itself() -> None:
    step = scenario(MOVABLE).steps[0]
    asked, _ = distractor(step, (), b"seed")
    number = str(asked["content"]).rpartition(" ")[2].rstrip(".")
    assert (4, True, False) == (len(number), number.isdigit(), number == "4711")
    assert "the query is" in str(asked["content"])

    word = replace(step, expected=(Call("recall", {"query": "cat"}),))
    assert "the query is dog" in str(distractor(word, (Call("recall", {"query": "dog"}),), b"seed")[0]["content"])
    assert () == distractor(word, (Call("recall", {"query": "cat"}), Call("save", {"title": "dog"})), b"seed")


def report(cells: dict[tuple[str, int], tuple[int, int]], n: int = 40) -> ContextReport:
    """Return the report of cells: position and fill → right cases, and cases that did not reach the fill."""
    asked = [one(number, AS_IT_IS, 0, is_right=True) for number in range(n)]
    for (position, fill), (right, short) in cells.items():
        asked += [
            one(number, position, fill, is_right=number < right, is_short=number >= n - short) for number in range(n)
        ]
    return context_report_of(Reading(RUN, tuple(each.case for each in asked), 0), asked)


def one(number: int, factor: str, fill: int, *, is_right: bool, is_short: bool = False) -> Asked:
    variant = Variant(f"s{number}", "context", factor, level_of(fill, SCALE))
    code = None if is_right else "wrong_reference"
    case = Case(replace(scenario(MOVABLE), variant=variant), variant, is_right, code, (), f"c{number}")
    return Asked(case, 40 if is_short else max(100, fill * 80), 2_000.0 * max(1, fill), None)


def test_the_effective_context_is_the_largest_fill_that_holds_with_all_before_it_at_the_worst_position() -> None:
    found = report({("end", 25): (40, 0), ("end", 50): (40, 0), ("middle", 25): (40, 0), ("middle", 50): (20, 0)})

    effective = {position: cell and cell.tokens for position in found.positions for cell in [found.effective(position)]}
    assert {"middle": 2_000, "end": 4_000} == effective
    assert "effective context: at least 2000 tokens (25 % of 8000), wherever the needed fact stands" == found.sentence
    assert "middle is worse" in context_text(found)
    assert [50.0, 100.0, 50.0, 100.0] == [cell.seconds for cell in found.cells]


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (10, "effective context: less than 2000 tokens, with the needed fact at the end"),
        (36, "INCONCLUSIVE: 25 % with the fact at the end is undecided (40 cases; too near to the bound to be told)"),
        (39, "INCONCLUSIVE: 25 % with the fact at the end is undecided (40 cases; about 62 would decide)"),
    ],
)
def test_where_the_first_fill_does_not_hold_it_is_said_whether_it_breaks(right: int, sentence: str) -> None:
    found = report({("end", 25): (right, 0), ("end", 50): (40, 0)})

    assert sentence == found.sentence
    assert found.effective("end") is None


def test_four_cases_are_too_few_to_break_anything() -> None:
    found = report({("end", 25): (0, 0)}, n=4)

    assert "undecided" == found.cells[0].state
    assert found.sentence.endswith("is undecided (4 cases, and 5 are the least)")


def test_a_prompt_that_was_cut_is_not_counted() -> None:
    found = report({("end", 25): (40, 5), ("end", 50): (40, 40)})
    first, second = found.cells

    assert (40, 35, 35) == (first.n_cases, first.n_reached, first.share.denominator)
    assert ("holds", "undecided", 0) == (first.state, second.state, second.share.denominator)
    assert "NOT REACHED in 5 of 40, not counted" in context_text(found)
