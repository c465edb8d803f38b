"""Which chains a gate counts, and what it makes of those that nobody can judge."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binom  # type: ignore[import-untyped]

from tarx_toollog.replay.reports.chains import share_of
from tarx_toollog.replay.reports.gate import Gate, GateVerdict, Shares, gate_of
from tarx_toollog.replay.reports.gate_text import gate_text
from tarx_toollog.replay.reports.material import Material, Place
from tarx_toollog.replay.reports.text_report import report_text
from tarx_toollog.replay.statistics.proportion import wilson
from tarx_toollog.replay.statistics.sequential import any_time
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


def test_a_log_of_one_question_passes_no_gate_and_the_gate_says_what_would_help() -> None:
    alone = of({key: scenario(1) for key in range(1, 51)}, [trial(key, 1, True) for key in range(1, 51)])
    gate = gate_of(replace(alone, places={key: Place(f"s{key}", "one") for key in alone.scenarios}))
    text = gate_text(gate)

    assert ["pass", "inconclusive"] == [gate_of(alone).verdict, gate.verdict]
    assert "in 1 independent group, the largest of 50" in text
    assert "of about 21 other groups: other conversations, with other questions" in text
    assert (1050, 21, 50) == tuple(
        gate.to_json()[key] for key in ("chains_to_decide", "clusters_to_decide", "largest_cluster")
    )
    assert "other groups" not in gate_text(gate_of(loop(18, 2, 0)))


def test_a_sequential_gate_counts_the_first_chain_of_each_group_and_says_so() -> None:
    run = of({key: scenario(1) for key in range(1, 13)}, [trial(key, 1, key % 3 != 0) for key in range(1, 13)])
    grouped = replace(run, places={key: Place(f"s{key}", f"c{(key - 1) // 3}") for key in run.scenarios})
    told = "of each group the first chain counts alone"

    gate = gate_of(grouped, sequential=True)

    assert (4, 4) == (gate.chains.numerator, gate.chains.denominator)
    assert [True, False] == [told in gate_text(each) for each in (gate, gate_of(run, sequential=True))]


def test_a_sequential_gate_says_that_it_counts_all_chains_alike() -> None:
    run = of({key: scenario(1) for key in (1, 2)}, [trial(key, 1, key == 1) for key in (1, 2)])
    run = replace(run, places={1: Place("s1", "c1", 3.0), 2: Place("s2", "c2", 1.0)})

    plain, sequential = gate_of(run), gate_of(run, sequential=True)
    assert (0.75, 0.5) == (plain.chains.estimate, sequential.chains.estimate)
    told = "counts all chains alike"
    assert (False, True) == (told in gate_text(plain), told in gate_text(sequential))


def test_what_would_decide_is_held_against_the_undetermined_turns_too() -> None:
    """All that are known are right: more of the same decide only when they outweigh those that nobody can judge."""
    hopeless, near = gate_of(loop(90, 0, 30)), gate_of(loop(90, 0, 14))

    assert ("inconclusive", None) == (hopeless.verdict, hopeless.chains_to_decide)
    assert "more chains would not decide, while so many leave what was recorded" in gate_text(hopeless)
    assert hopeless.probability[0] < 0.01 < 0.99 < hopeless.probability[1]
    needed = near.chains_to_decide
    assert needed is not None
    assert wilson(round((104 + needed) * 90 / 104), 104 + needed).low >= 0.85 - 0.002


def test_an_open_sequential_gate_says_what_its_own_interval_needs() -> None:
    run = of({key: scenario(1) for key in range(1, 61)}, [trial(key, 1, key > 4) for key in range(1, 61)])

    plain, sequential = gate_of(run), gate_of(run, sequential=True)

    assert ["inconclusive"] * 2 == [plain.verdict, sequential.verdict]
    needed = sequential.chains_to_decide
    assert needed is not None
    assert needed > (plain.chains_to_decide or 0)
    assert any_time(round((60 + needed) * 56 / 60), 60 + needed, expected=0.85).low == pytest.approx(0.85, abs=0.01)


def test_a_sequential_gate_that_has_decided_stays_decided() -> None:
    """Answers that were on their way when the run ended come later, and must not take back what was clear."""
    clear = next(n for n in range(1, 100) if any_time(n, n, expected=0.85).low >= 0.85)
    keys = range(1, clear + 4)
    run = of({key: scenario(1) for key in keys}, [trial(key, 1, key <= clear) for key in keys])

    assert any_time(clear, clear + 3, expected=0.85).low < 0.85
    gate = gate_of(run, sequential=True)
    assert ("pass", clear) == (gate.verdict, gate.chains.denominator)


def test_what_is_asked_after_the_decision_changes_no_figure_of_a_sequential_gate() -> None:
    """Several processes ask a little more than one before they learn that it is decided."""
    clear = next(n for n in range(1, 100) if any_time(n, n, expected=0.85).low >= 0.85)

    def figures(n: int) -> dict[str, Any]:
        run = of({key: scenario(1) for key in range(1, n)}, [trial(key, 1, key <= clear) for key in range(1, n)])
        found = gate_of(run, sequential=True).to_json()
        names = ("verdict", "chains", "at_least", "at_most", "probability", "probability_at_most", "profiles")
        return {name: found[name] for name in names}

    assert figures(clear + 1) == figures(clear + 4)


def test_a_sequential_gate_does_not_look_behind_a_chain_that_may_still_come() -> None:
    run = of({key: scenario(1) for key in range(1, 41)}, [trial(key, 1, True) for key in range(1, 41) if key != 5])
    going_on = replace(run, run=replace(run.run, status="running"))
    lost = replace(going_on, trials=[*going_on.trials, trial(5, 1, None, "infra_error")])

    counted = [gate_of(each, sequential=True).chains.denominator for each in (run, going_on, lost)]

    assert counted[0] == counted[2] > 4 == counted[1]


def test_a_gate_says_of_how_much_of_the_log_no_chain_counts() -> None:
    tiers = {1: "gold", 2: "gold", 3: "bronze"}
    run = of({key: replace(scenario(1), tier=tier) for key, tier in tiers.items()}, [trial(k, 1, True) for k in tiers])
    places = {key: Place(f"s{key}", f"c{key}", 8.0 if key == 3 else 1.0, f"{key == 3}") for key in tiers}

    assert 0.2 == gate_of(replace(run, places=places)).covered
    assert "they speak for 20.0 % of what the suite stands for" in gate_text(gate_of(replace(run, places=places)))
    assert "they speak for" not in gate_text(gate_of(run))


SUITES = {
    "alone": [(1.0, 100, 0.85)],
    "kinds that fare alike, drawn unevenly": [(0.9, 20, 0.85), (0.1, 80, 0.85)],
    "kinds that fare otherwise": [(0.8, 30, 0.925), (0.15, 30, 0.6), (0.05, 30, 0.4)],
}
"""Kinds of turns: what they are of the log, how many chains of them count, and how many of a hundred are right."""


@pytest.mark.parametrize("largest", [1, 5], ids=["each for itself", "in conversations"])
@pytest.mark.parametrize("kinds", SUITES.values(), ids=SUITES)
def test_a_gate_errs_in_less_than_five_of_a_hundred_suites(kinds: list[tuple[float, int, float]], largest: int) -> None:
    """The true share is the bound: FAIL is an error, and PASS would be one a hair below it."""
    draw, n_suites, errors, total = random.Random(4), 2000, Counter[str](), 0.0
    for _ in range(n_suites):
        places: dict[int, Place] = {}
        verdicts: dict[int, bool] = {}
        for kind, (turns, n, chance) in enumerate(kinds):
            luck, left = chance, 0
            for key in range(len(places), len(places) + n):
                if not left:  # a new conversation, whose chains share its luck: a correlation of 0.3
                    left = draw.randint(1, largest)
                    luck = chance if largest == 1 else draw.betavariate(chance * 7 / 3, (1 - chance) * 7 / 3)
                    name = f"c{key}"
                left -= 1
                places[key] = Place("", name, turns * 1000 / n, str(kind))
                verdicts[key] = draw.random() < luck
        share = share_of(replace(of({}, []), places=places), verdicts)
        total += share.estimate or 0.0
        errors["pass"] += share.low >= 0.85
        errors["fail"] += share.high < 0.85

    assert pytest.approx(0.85, abs=0.005) == total / n_suites
    assert errors["pass"] / n_suites < 0.05
    assert errors["fail"] / n_suites < 0.05


@pytest.mark.parametrize("bound", [0.8, 0.85, 0.9, 0.95])
def test_a_gate_on_few_chains_fails_a_model_at_the_bound_no_more_often_than_it_says(bound: float) -> None:
    for n in (1, 3, 4, 5, 7, 10, 11, 15, 19, 22, 31, 43, 56):
        fails = [k for k in range(n + 1) if few(k, n).verdict(bound) == "fail"]
        assert binom.cdf(max(fails, default=-1), n, bound) <= 0.05 + 1e-9


def few(right: int, n: int) -> Shares:
    return Shares(*[wilson(right, n)] * 3)


def test_one_wrong_chain_is_no_reason_to_fine_tune() -> None:
    assert ["inconclusive", "fail"] == [gate_of(loop(0, wrong, 0)).verdict for wrong in (1, 2)]


def test_a_server_that_answers_with_nothing_but_errors_is_doubted_before_the_model() -> None:
    told = "every answer is an error of the server"
    scenarios = {key: scenario(1) for key in range(1, 31)}
    for n_errors, is_told in ((30, True), (29, False)):
        trials = [trial(key, 1, key > n_errors, "model_error" if key <= n_errors else "ok") for key in scenarios]
        gate = gate_of(of(scenarios, trials))
        assert is_told is (told in gate_text(gate)) is (told in report_text(gate.report))
