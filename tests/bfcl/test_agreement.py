"""Our profile of BFCL's rules against BFCL's own checker, on answers of which is known what is wrong with them."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice, permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tarx_toollog.replay.bfcl import check_calls
from tarx_toollog.replay.matching import Call
from tests.bfcl.mutations import SEEN_OTHERWISE, Output, kinds, outputs
from tests.bfcl.places import HARMLESS, canonical, places_of, with_value
from tests.bfcl.ruler import Asked, verdicts, with_calls

ALLOWED = {
    "greedy pairing": "BFCL gives each expected call the first made call that fits, and may have none left for the "
    "last; it accepts the same calls in another order",
}
"""Why the two may disagree. Nothing else is allowed."""

ALL_ORDERS = 5
"""So many calls are put into every order; of more, into some."""
SOME_ORDERS = 120
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -5, 1.0, 2.5, 10**400, "", " ", "1", "True", "é.A-b", "it's",
    [], [""], ["A"], [1], [1.0], [True], [None], [[]], [[1]], [{}], {}, {"k": "v"}, {"k": ["v"]}, {"": None},
)  # fmt: skip


class Judged(NamedTuple):
    """One answer, and what both checkers say of it."""

    asked: Asked
    output: Output
    code: str
    """Our primary code; ``HARMLESS`` when nothing is found."""
    is_valid: bool
    """BFCL's verdict."""

    @property
    def disagree(self) -> bool:
        return self.is_valid is not (self.code == HARMLESS)


def judge(bfcl: Path, answers: Sequence[tuple[Asked, Sequence[Output]]], folder: Path) -> list[Judged]:
    valid = verdicts(bfcl, [(asked, [output.calls for output in made]) for asked, made in answers], folder)
    return [
        Judged(asked, output, code_of(asked, output.calls), is_valid)
        for (asked, made), judged in zip(answers, valid, strict=True)
        for output, is_valid in zip(made, judged, strict=True)
    ]


def code_of(asked: Asked, calls: Sequence[Call]) -> str:
    found = check_calls(asked.case, calls)
    return found[0].code if found else HARMLESS


def disagreements(bfcl: Path, judged: Sequence[Judged], folder: Path) -> Counter[str]:
    """Return how often the two disagree, by reason (``ALLOWED``) where one is recognised."""
    differing = [one for one in judged if one.disagree]
    orders = [(one.asked, list(orders_of(one.output.calls))) for one in differing]
    accepted = verdicts(bfcl, orders, folder)
    return Counter(
        "greedy pairing" if not one.is_valid and any(valid) else f"unknown: {one}"
        for one, valid in zip(differing, accepted, strict=True)
    )


def orders_of(calls: Sequence[Call]) -> Iterator[tuple[Call, ...]]:
    if len(calls) <= ALL_ORDERS:
        return permutations(calls)
    shuffling = random.Random(len(calls))
    shuffled = (tuple(shuffling.sample(calls, len(calls))) for _ in range(SOME_ORDERS - 1))
    return islice(chain([tuple(reversed(calls))], shuffled), SOME_ORDERS)


@pytest.fixture(scope="module")
def mutated(bfcl: Path, asked: list[Asked], tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    answers = [(one, list(outputs(one.case))) for one in with_calls(asked)]
    return judge(bfcl, answers, tmp_path_factory.mktemp("mutated"))


def test_all_kinds_of_changes_were_made(mutated: list[Judged]) -> None:
    made = Counter(one.output.kind for one in mutated)

    assert set(kinds()) == set(made)
    assert len(made) >= 29
    assert 2351 == made["canonical"]


def test_both_checkers_agree_but_where_greedy_pairing_refuses_right_calls(
    bfcl: Path, mutated: list[Judged], tmp_path: Path
) -> None:
    why = disagreements(bfcl, mutated, tmp_path)

    assert ALLOWED.keys() == set(why)
    assert why.total() <= len(mutated) // 1000


def test_both_checkers_agree_on_any_value_in_any_place(bfcl: Path, asked: list[Asked], tmp_path: Path) -> None:
    answers = []
    for one in with_calls(asked):
        made = canonical(one.case)
        chance = random.Random(one.case.id)
        places = [place for number, call in enumerate(made) for place in places_of(one.case, number, call)]
        answers.append(
            (
                one,
                [
                    Output("odd value", "", with_value(made, place, value))
                    for place in places
                    for value in chance.sample(ODD_VALUES, 3)
                ],
            )
        )

    judged = judge(bfcl, answers, tmp_path)

    assert set() == set(disagreements(bfcl, judged, tmp_path))
    assert 300 < sum(one.is_valid for one in judged)


def test_what_is_planted_is_the_primary_code(mutated: list[Judged]) -> None:
    # What is right to BFCL before it is changed; six of its accepted answers are not.
    sound = {one.asked.case.id for one in mutated if one.output.kind == "canonical" and one.is_valid}
    counted = [one for one in mutated if one.asked.case.id in sound and one.output.kind not in SEEN_OTHERWISE]
    found = Counter((one.output.planted == HARMLESS, one.output.planted == one.code) for one in counted)

    assert len(sound) > 2340
    for is_harmless in (False, True):
        named, other = found[is_harmless, True], found[is_harmless, False]
        assert named / (named + other) >= 0.99


def test_bfcl_and_the_truth_part_on_the_kinds_that_are_listed(mutated: list[Judged]) -> None:
    parted = {one.output.kind for one in mutated if one.code != one.output.planted}

    assert set() == SEEN_OTHERWISE.keys() - parted


def test_right_calls_are_right_in_every_order(bfcl: Path, asked: list[Asked], tmp_path: Path) -> None:
    several = [one for one in with_calls(asked) if len(one.case.accepted) > 1]
    right = [one for one in several if code_of(one, canonical(one.case)) == HARMLESS]
    answers = [(one, [Output("order", HARMLESS, calls) for calls in orders_of(canonical(one.case))]) for one in right]

    judged = judge(bfcl, answers, tmp_path)

    assert 3942 == sum(len(one.output.calls) <= ALL_ORDERS for one in judged)
    assert [] == [one for one in judged if one.code != HARMLESS]
    assert {"parallel_178": 12} == Counter(one.asked.case.id for one in judged if not one.is_valid)
