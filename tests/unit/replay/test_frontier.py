"""How deep chains go: where they end, which steps hold and which break, and the sentence about it."""

import random

import pytest

from tarx_toollog.replay.reports.frontier import chain_ends, frontier
from tarx_toollog.replay.scenario import Omitted, Recorded, Scenario, ScenarioStep
from tarx_toollog.replay.statistics.survival import survival


def scenario(n_steps: int, *left_out: int) -> Scenario:
    steps = tuple(
        ScenarioStep(number, "", (), (), {}, (), Recorded({}, None, None))
        for number in range(1, n_steps + 1)
        if number not in left_out
    )
    return Scenario("c", 1, steps, tuple(Omitted(number, "no_output") for number in left_out))


@pytest.mark.parametrize(
    ("asked", "results", "end"),
    [
        (scenario(3), {1: True, 2: True, 3: True}, [(3, False)]),
        (scenario(3), {1: True, 2: False, 3: True}, [(2, True)]),
        (scenario(3), {1: True, 3: True}, [(1, False)]),
        (scenario(3, 2), {1: True, 3: False}, [(1, False)]),
        (scenario(3, 1), {2: True, 3: True}, []),
        (scenario(2), {}, []),
    ],
    ids=["right", "wrong at 2", "2 not answered", "2 left out", "1 left out", "nothing known"],
)
def test_a_chain_is_known_up_to_its_first_fault_or_gap(
    asked: Scenario, results: dict[int, bool], end: list[tuple[int, bool]]
) -> None:
    assert end == list(chain_ends({7: asked}, [(7, step_no, ok) for step_no, ok in results.items()]).values())


def test_the_sentence_names_the_last_step_that_holds_and_the_first_that_breaks() -> None:
    chains = [(1, True)] * 4 + [(2, True)] * 2 + [(2, False)] * 80 + [(3, True)] * 20 + [(3, False)] * 100
    chains += [(4, True)] * 30 + [(4, False)] * 20
    found = frontier(survival(chains))

    assert found.holds_to is not None
    assert found.breaks_by is not None
    assert (2, 4, [3]) == (found.holds_to.step_no, found.breaks_by.step_no, [step.step_no for step in found.undecided])
    assert found.sentence.startswith("holds to step 2 (lower bound 95 %), breaks by step 4 (upper bound ")
    assert "step 3 is undecided (170 chains; about " in found.sentence


def test_few_chains_leave_every_step_undecided() -> None:
    found = frontier(survival([(2, False)] * 5 + [(1, True)]))
    assert (None, None, [1, 2]) == (found.holds_to, found.breaks_by, [step.step_no for step in found.undecided])
    assert found.sentence.endswith(", so is step 2")


def test_without_chains_it_says_so() -> None:
    assert "no chain could be judged" == frontier(survival([])).sentence


@pytest.mark.parametrize(
    ("hazards", "stay", "largest"),
    [
        ([0.15, 0.0, 0.0, 0.0], 0.7, 1),
        ([0.053, 0.053, 0.053, 0.3], 1.0, 5),
        ([0.02, 0.02, 0.115, 0.5], 0.3, 1),
        ([0.02, 0.02, 0.115, 0.5], 0.3, 5),
    ],
    ids=["at the first step", "little by little, in conversations", "few get far", "few get far, in conversations"],
)
def test_each_end_of_the_frontier_errs_in_less_than_five_of_a_hundred_runs(
    hazards: list[float], stay: float, largest: int
) -> None:
    """After one step or three, the share is 85 % or a hair from it: it holds before, and breaks behind."""
    draw, n_runs, held, broken = random.Random(8), 500, 0, 0
    last_right = 4 if hazards[3] == 0 else 3
    for _ in range(n_runs):
        chains, names = list[tuple[int, bool]](), list[str]()
        while len(chains) < 120:
            luck, name = [draw.random() for _ in hazards], f"c{len(chains)}"
            for _ in range(draw.randint(1, largest)):
                is_alike = largest > 1 and draw.random() < 0.5
                chains.append(_chain(luck if is_alike else [draw.random() for _ in hazards], hazards, stay, draw))
                names.append(name)
        found = frontier(survival(chains, names))
        held += found.holds_to is not None and found.holds_to.step_no >= (1 if hazards[0] == 0.15 else 3)
        broken += found.breaks_by is not None and found.breaks_by.step_no <= last_right
    assert held / n_runs < 0.05
    assert broken / n_runs < 0.05


def _chain(luck: list[float], hazards: list[float], stay: float, draw: random.Random) -> tuple[int, bool]:
    for step_no, (each, hazard) in enumerate(zip(luck, hazards, strict=True), 1):
        if each < hazard:
            return step_no, True
        if step_no == len(hazards) or draw.random() > stay:
            return step_no, False
    raise AssertionError("a chain has at least one step")
