"""Rules for single arguments: what each takes for right, and what a file of them must look like."""

from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Rule, compare_arguments
from tarx_toollog.replay.matching.rules import RULES, load_rules
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.suites import Suites
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, saying

FILE = """
[recall."/query"]
rule = "text"
[recall."/limit"]
rule = "number"
atol = 2
[save."/tags/*"]
rule = "regex"
pattern = "[a-z]+"
"""


@pytest.mark.parametrize(
    ("rule", "expected", "actual", "is_right"),
    [
        (Rule("exact"), "Home", "home", False),
        (Rule("exact"), {"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (Rule("text"), "Miez is 3 years old and eats fish", "Miez, 3 years old, eats fish", True),
        (Rule("text"), "Miez is 3 years old and eats fish", "Miez is 4 years old and eats fish", False),
        (Rule("text"), "Miez is 3 years old and eats fish", "Miez is 3 years old and never eats fish", False),
        (Rule("number", rtol=0.1), 100, 109.0, True),
        (Rule("number", rtol=0.1), 100, 120, False),
        (Rule("number", atol=1), 5, "5", False),
        (Rule("number", rtol=0.1), 5, 10**400, False),
        (Rule("number", rtol=0.1), 10**400, 10**400, True),
        (Rule("set"), ["a", "b", "b"], ["b", "a", "b"], True),
        (Rule("set"), ["a", "b", "b"], ["b", "a", "a"], False),
        (Rule("regex", pattern="[A-Z]{2}"), "PT", "ES", True),
        (Rule("regex", pattern="[A-Z]{2}"), "PT", "ESP", False),
        (Rule("oneof", values=("a", "b")), "a", "B.", True),
        (Rule("oneof", values=("a", "b")), "a", "c", False),
        (Rule("ignore"), "a", 7, True),
        (Rule("present"), "a", None, True),
    ],
)
def test_what_a_rule_takes_for_right(rule: Rule, expected: Any, actual: Any, is_right: bool) -> None:
    assert is_right is (() == compare_arguments({"x": expected}, {"x": actual}, {}, {"/x": rule}))


def test_what_may_be_left_out() -> None:
    def is_right(rule: Rule, expected: dict[str, Any], actual: dict[str, Any]) -> bool:
        return () == compare_arguments(expected, actual, {}, {"/x": rule})

    may = Rule("oneof", values=("a",), may_omit=True)
    assert is_right(may, {"x": "a"}, {})
    assert is_right(may, {}, {"x": "a"})
    assert not is_right(may, {}, {"x": "b"})
    assert not is_right(Rule("oneof", values=("a",)), {"x": "a"}, {})
    assert is_right(Rule("ignore"), {"x": "a"}, {})
    assert is_right(Rule("ignore"), {}, {"x": "a"})
    assert not is_right(Rule("present"), {"x": "a"}, {})


def test_every_rule_is_told_about_and_survives_its_json() -> None:
    rules = [
        Rule("exact"),
        Rule("text"),
        Rule("number", rtol=0.1, atol=2.0),
        Rule("set"),
        Rule("regex", pattern="a+"),
        Rule("oneof", values=("a", 1, None), may_omit=True),
        Rule("ignore"),
        Rule("present"),
    ]
    assert list(RULES) == [rule.kind for rule in rules]
    assert rules == [Rule.from_json(rule.to_json()) for rule in rules]


def test_rules_of_a_file_are_frozen_with_the_scenarios(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(FILE)
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        Chat(log, "c").turn("u", calling(("recall", {"query": "home", "limit": 3})), saying("Porto"))
        build(log, "plain", EVERY_SPLIT)
        told = run(
            *("--database", log.settings.database, "replay", "build", "--tag", "ruled"),
            *("--rules", str(tmp_path / "rules.toml"), "--split", "train", "--split", "dev", "--split", "eval"),
        )
        (plain,), (ruled,) = (Suites(log).scenarios(tag) for tag in ("plain", "ruled"))

    assert 0 == told.exit_code, told.output
    assert (3, 3) == (plain.definition["format"], ruled.definition["format"])
    rules = Scenario.from_json(ruled.definition).steps[0].rules
    assert {"recall": {"/query": Rule("text"), "/limit": Rule("number", atol=2.0)}} == rules


def test_places_of_arrays_share_a_rule(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(FILE)
    rules = load_rules(tmp_path / "rules.toml")["save"]

    assert () == compare_arguments({"tags": ["a", "b"]}, {"tags": ["x", "y"]}, {}, rules)
    (found,) = compare_arguments({"tags": ["a", "b"]}, {"tags": ["x", "7"]}, {}, rules)
    assert ("/tags/1", "arg_value") == (found.path, found.code)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[recall", "rules.toml"),
        ("recall = 1", 'write [recall."/argument"]'),
        ('[recall.query]\nrule = "text"', 'write [recall."/query"]'),
        ('[recall."/query"]\nrule = "magic"', "`rule` must be one of exact, text"),
        ('[recall."/query"]\nrule = "regex"\npattern = "("', "missing )"),
        ('[recall."/query"]\nrule = "text"\nspeed = 1', "unknown key 'speed'"),
        ('[recall."/query"]\nrule = "oneof"', "`values` is missing"),
        ('[recall."/query"]\nrule = "number"\nrtol = "much"', "could not convert"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_a_way_out(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_rules(tmp_path / "rules.toml")
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_the_page_tells_of_every_rule() -> None:
    page = (Path(__file__).parents[3] / "docs" / "replay-reference.md").read_text("utf-8")
    for name, meaning in RULES.items():
        assert f"| `{name}` | {meaning} |" in page
