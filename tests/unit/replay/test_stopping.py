import random

from tarx_toollog.replay.running.stopping import Chain, Stopping
from tarx_toollog.store.work import UnitKey

BOUND = 0.7


def chains(n: int, steps: int = 2, per_cluster: int = 1) -> list[Chain]:
    return [
        Chain(f"c{number // per_cluster}", [UnitKey(number, step, 1) for step in range(1, steps + 1)])
        for number in range(n)
    ]


def decided_after(order: list[UnitKey], right: bool | None, known: list[Chain]) -> int | None:
    """Return how many units had been answered when it was decided."""
    stopping, verdicts = Stopping(BOUND, known), dict[UnitKey, bool | None]()
    for number, key in enumerate(order, start=1):
        verdicts[key] = right
        stopping.see(verdicts, ())
        if stopping.is_decided:
            return number
    return None


def in_order(known: list[Chain]) -> list[UnitKey]:
    return [unit for chain in known for unit in chain.units]


def test_a_good_and_a_bad_model_end_early_and_an_undetermined_one_never_does() -> None:
    known = chains(60)
    assert (decided_after(in_order(known), True, known) or 99) < 60
    assert (decided_after(in_order(known), False, known) or 99) < 20
    assert decided_after(in_order(known), None, known) is None


def test_the_first_chain_of_a_cluster_counts() -> None:
    single, grouped = chains(60), chains(60, per_cluster=60)
    assert decided_after(in_order(grouped), False, grouped) is None
    assert decided_after(in_order(single), False, single) is not None


def test_answers_in_another_order_decide_nothing_before_those_in_front_are_known() -> None:
    known = chains(40)
    order = in_order(known)[1:]
    random.Random(3).shuffle(order)
    assert decided_after(order, False, known) is None  # the very first unit is missing
    assert len(order) + 1 == decided_after([*order, in_order(known)[0]], False, known)


def test_a_chain_that_the_network_ate_is_passed_over() -> None:
    known = chains(40)
    first, *others = in_order(known)
    stopping = Stopping(BOUND, known)
    stopping.see(dict.fromkeys(others, False), ())
    assert not stopping.is_decided
    stopping.see(dict.fromkeys(others, False), {first})
    assert stopping.is_decided
