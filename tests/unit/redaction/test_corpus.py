"""The labelled corpus: what the rules reach on it may not get worse."""

from collections import Counter

import pytest

from bench.redaction import KEY, Case, evaluate, evaluate_held_out, judge, load, load_held_out
from tarx_toollog.redaction import Policy, Redactor, rule_names
from tarx_toollog.wire.decode import decode
from tests.support.captures import load_raw, wire_captures

CASES = list(load())


def test_the_corpus_is_large_and_covers_every_rule() -> None:
    labels = Counter(rule for case in CASES for rule, _ in case.expected)

    assert set(rule_names()) == set(labels)
    assert sum(labels.values()) >= 240
    assert sum(1 for case in CASES if not case.expected) >= 250
    assert len(CASES) == len({case.id for case in CASES})


def test_precision_and_recall_are_held() -> None:
    rules, _ = evaluate()

    assert [] == [name for name, row in rules.items() if row["precision"] is not None and row["precision"] < 1.0]
    assert rules["all"]["recall"] >= 0.99
    assert [] == [name for name, row in rules.items() if row["recall"] is not None and row["recall"] < 0.95]


def test_the_held_out_cases_are_other_cases_than_those_of_the_corpus() -> None:
    held_out = load_held_out()

    assert set() == {case.text for case in held_out} & {case.text for case in CASES}
    assert sum(1 for case in held_out if case.expected) >= 60
    assert sum(1 for case in held_out if not case.expected) >= 60


def test_what_is_reached_on_the_held_out_cases_does_not_get_worse() -> None:
    figures, _ = evaluate_held_out()

    assert 1.0 == figures["precision"]
    assert figures["recall"] >= 0.8


@pytest.mark.parametrize("level", ["secrets", "all"])
def test_redacting_twice_changes_nothing(level: str) -> None:
    redactor = Redactor(Policy.load(level), KEY)

    changed = [
        case.id for case in [*CASES, *load_held_out()] if redactor.text(once := redactor.text(case.text)[0])[0] != once
    ]

    assert [] == changed


def test_by_default_no_personal_data_is_taken_out() -> None:
    redactor = Redactor(Policy.load("secrets"), KEY)
    personal = [case for case in CASES if case.id.startswith("personal/")]

    assert [case.text for case in personal] == [redactor.text(case.text)[0] for case in personal]


def test_nothing_is_taken_out_of_what_real_servers_sent() -> None:
    redactor = Redactor(Policy.load("all"), KEY)
    raws = {name: load_raw(name) for name in wire_captures()}
    items = {name: decode(raw) for name, raw in raws.items()}

    assert [] == [name for name, item in items.items() if redactor.exchange(item)[0] is not item]
    assert [] == [name for name, raw in raws.items() if redactor.body(raw.response_body) != raw.response_body]
    assert len(raws) > 50


def test_the_judge_counts_a_value_that_is_only_partly_gone_as_missed() -> None:
    redactor = Redactor(Policy.load("secrets"), KEY)
    case = Case("made", "DB_PASSWORD=hunter2 and more", is_json=False, expected=(("secret_assignment", "hunter2 and"),))

    verdict = judge(case, redactor)

    assert (Counter(), Counter(secret_assignment=1), Counter(secret_assignment=1)) == (
        verdict.found,
        verdict.missed,
        verdict.false,
    )
