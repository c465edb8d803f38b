"""The policy file: what it can say, and that what is wrong in it is named."""

from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.redaction import Policy, Redactor

KEY = bytes(32)


def policy(tmp_path: Path, text: str, level: str = "secrets") -> Policy:
    path = tmp_path / "rules.toml"
    path.write_text(text, "utf-8")
    return Policy.load(level, path)


def found(rules: Policy, text: str) -> list[str]:
    return [one.rule for one in Redactor(rules, KEY).text(text)[1]]


def test_the_levels() -> None:
    text = "DB_PASSWORD=hunter2 max@nordwind.se"

    assert [] == found(Policy.load("off"), text)
    assert ["secret_assignment"] == found(Policy.load("secrets"), text)
    assert ["email", "secret_assignment"] == sorted(found(Policy.load("all"), text))


def test_a_rule_of_ones_own(tmp_path: Path) -> None:
    rules = policy(tmp_path, "[[rule]]\nname = 'customer'\npattern = 'KD-(\\d{8})'\ngroup = 1\nkeep = ['00000000']\n")

    text, founds = Redactor(rules, KEY).text("KD-12345678 and KD-00000000")

    assert ["customer"] == [one.rule for one in founds]
    assert f"KD-⟦{founds[0].mark}⟧ and KD-00000000" == text
    assert founds[0].mark.startswith("CUSTOMER:")


def test_rules_can_be_disabled_and_enabled(tmp_path: Path) -> None:
    rules = policy(tmp_path, "disable = ['url_password', 'secret_field']\nenable = ['email']\n")

    assert ["email"] == found(rules, "postgres://max:geheim1@db, max@nordwind.se")
    assert [] == found(rules, '{"password": "hunter2"}')


def test_what_a_rule_leaves_is_looked_at_again_by_the_rules_before_it(tmp_path: Path) -> None:
    rules = policy(tmp_path, "[[rule]]\nname = 'first'\npattern = '\\A\\|\\d{8}'\n", "all")

    once = Redactor(rules, KEY).text("192.168.178.23|12345678")[0]

    assert "|" not in once
    assert once == Redactor(rules, KEY).text(once)[0]


def test_nothing_is_in_force_when_off_whatever_the_file_says(tmp_path: Path) -> None:
    assert policy(tmp_path, "enable = ['email']\n", "off").is_off


def test_the_id_tells_policies_apart_and_is_stable(tmp_path: Path) -> None:
    ids = [
        Policy.load("off").policy_id,
        Policy.load("secrets").policy_id,
        Policy.load("all").policy_id,
        policy(tmp_path, "keep = ['x']").policy_id,
        policy(tmp_path, "disable = ['cookie']").policy_id,
        policy(tmp_path, "[[rule]]\nname = 'a'\npattern = 'b'").policy_id,
    ]

    assert 6 == len(set(ids))
    assert {12} == {len(one) for one in ids}
    assert Policy.load("all").policy_id == ids[2]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[[rule", "is not valid TOML", "rules.toml"),
        ("[[rule]]\nname='a'\npattern='('", "rule 'a': the pattern is no regular expression", "mend the pattern"),
        ("[[rule]]\npattern='x'", "rule 1 needs a name", "small letters"),
        ("[[rule]]\nname='A b'\npattern='x'", "rule 'A b' needs a name", "small letters"),
        ("[[rule]]\nname='a'", "rule 'a' needs a pattern", "regular expression"),
        ("[[rule]]\nname='a'\npattern='x*'", "rule 'a': the pattern matches the empty text", "+ instead of *"),
        ("[[rule]]\nname='a'\npattern='x'\ngroup=2", "rule 'a': there is no group 2", "0 groups"),
        ("[[rule]]\nname='a'\npattern='x'\nkind='odd'", "rule 'a': kind cannot be 'odd'", "secret or personal"),
        ("[[rule]]\nname='a'\npattern='x'\nflags=1", "rule 'a': unknown key 'flags'", "known: "),
        ("[[rule]]\nname='email'\npattern='x'", "rule 'email': there is a built-in rule", "another name"),
        ("rule = 3", "rules are written as [[rule]] tables", "[[rule]]"),
        ("disable = ['cokie']", "disable names 'cokie'", "did you mean cookie"),
        ("disable = 'cookie'", "disable must be a list of strings", "disable = "),
        ("keep = [1]", "keep must be a list of strings", "keep = "),
        ("rules = []", "unknown key 'rules'", "known: "),
    ],
)
def test_what_is_wrong_is_named_with_file_and_rule(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(tmp_path, text)

    assert message in caught.value.message
    assert "rules.toml" in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_missing_and_a_level_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        Policy.load("secrets", tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="redact cannot be 'some'"):
        Policy.load("some")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"keep = [", "is not valid TOML: "),
        (b"\xe4", "byte 1 is not UTF-8"),
        (b"keep = " + b"1" * 9999, "is not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_names_the_options_that_name_it(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "rules.toml").write_bytes(data)

    with pytest.raises(ConfigError, match=message) as caught:
        Policy.load("secrets", tmp_path / "rules.toml")
    assert "leave --rules, --redact-rules or the setting redact_rules away" in caught.value.hint


def test_a_byte_order_mark_before_the_rules_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_bytes(b'\xef\xbb\xbfkeep = ["00000000"]')

    assert {"00000000"} == Policy.load("secrets", tmp_path / "rules.toml").keep
