"""Which chains a gate counts, and what it makes of those that nobody can judge."""

from dataclasses import replace

import pytest

from tarx_toollog.replay.reports.gate import Gate, GateVerdict, gate_of
from tarx_toollog.replay.reports.gate_text import gate_text
from tarx_toollog.replay.reports.material import Material, Place
from tests.unit.replay.test_report import RUN, of, scenario, trial, turn

CLOSED_LOOP = replace(RUN, mode="closed_loop")


def loop(right: int, wrong: int, undetermined: int) -> Material:
    verdicts = [True] * right + [False] * wrong + [None] * undetermined
    trials = [turn(key, verdict) for key, verdict in enumerate(verdicts, 1)]
    return of({key: scenario(1, 2) for key in range(1, len(verdicts) + 1)}, trials, CLOSED_LOOP)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((90, 0, 0), "pass"),
        ((90, 0, 4), "pass"),
        ((90, 0, 30), "inconclusive"),
        ((20, 40, 0), "fail"),
        ((20, 40, 5), "fail"),
        ((20, 40, 200), "inconclusive"),
        ((0, 0, 50), "inconclusive"),
    ],
)
def test_undetermined_turns_count_against_either_verdict(counts: tuple[int, int, int], verdict: GateVerdict) -> None:
    gate = gate_of(loop(*counts))

    assert verdict == gate.verdict
    assert (counts[2], counts[0], counts[0] + counts[1]) == (
        gate.n_undetermined,
        gate.chains.numerator,
        gate.chains.denominator,
    )
    assert (f"{counts[2]} more left what was recorded: wrong for PASS" in gate_text(gate)) is (counts[2] > 0)


def mixed(n_gold: int, n_bronze: int) -> Gate:
    """Return a gate on a run in which all gold chains are right, and all bronze ones are wrong."""
    keys = range(1, n_gold + n_bronze + 1)
    tiers = {key: "gold" if key <= n_gold else "bronze" for key in keys}
    run = of({key: replace(scenario(1), tier=tiers[key]) for key in keys}, [trial(k, 1, k <= n_gold) for k in keys])
    return gate_of(run)


def test_only_labelled_chains_count_where_there_are_any() -> None:
    gate = mixed(40, 60)

    assert ("pass", {"gold": 40}, "accuracy") == (gate.verdict, gate.tiers, gate.to_json()["kind"])
    assert "PASS: at least 85 % of chains are right" in gate_text(gate)
    assert "in 40 independent groups (gold 40); 60 scenarios are not counted" in gate_text(gate)


def test_without_labels_the_gate_is_on_agreement_and_says_so() -> None:
    gate = mixed(0, 60)

    assert ("fail", {"bronze": 60}, "agreement") == (gate.verdict, gate.tiers, gate.to_json()["kind"])
    assert "FAIL: less than 85 % of chains agree with the log" in gate_text(gate)


def test_chains_that_are_nearly_the_same_are_one_group() -> None:
    alone = of({key: scenario(1) for key in range(1, 41)}, [trial(key, 1, key > 4) for key in range(1, 41)])
    places = {key: Place(f"s{key}", "one" if key <= 20 else f"c{key}") for key in alone.scenarios}
    grouped = gate_of(replace(alone, places=places))

    assert (40, 21) == (gate_of(alone).n_clusters, grouped.n_clusters)
    assert grouped.chains.low < gate_of(alone).chains.low


def test_a_sequential_gate_says_that_it_counts_all_chains_alike() -> None:
    run = of({key: scenario(1) for key in (1, 2)}, [trial(key, 1, key == 1) for key in (1, 2)])
    run = replace(run, places={1: Place("s1", "c1", 3.0), 2: Place("s2", "c2", 1.0)})

    plain, sequential = gate_of(run), gate_of(run, sequential=True)
    assert (0.75, 0.5) == (plain.chains.estimate, sequential.chains.estimate)
    told = "counts all chains alike"
    assert (False, True) == (told in gate_text(plain), told in gate_text(sequential))
