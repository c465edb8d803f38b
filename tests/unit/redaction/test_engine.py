"""Texts and trees: marks, JSON, keeping, time."""

import json
import re
import time
from typing import Any

import pytest

from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.redaction.engine import masked

KEY = bytes(range(32))
MARK = re.compile(r"⟦([A-Z_0-9]+):([0-9a-f]{10})⟧")
# Put together here, so that scanners of code hosts do not take it for real.
GITHUB = "ghp" + "_9aB8cD7eF6gH5iJ4kL3mN2oP1qR0sT9uV8wX"
PEM = "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIB\n" * 3
PEM += "-----END " + "PRIVATE KEY-----"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(Policy.load("all"), KEY)


def digits(text: str) -> list[str]:
    return [match[2] for match in MARK.finditer(text)]


def test_equal_values_have_equal_marks_whichever_rule_found_them(redactor: Redactor) -> None:
    texts = [
        "DB_PASSWORD=hunter2",
        '{"password": "hunter2"}',
        "postgres://max:hunter2@db/app",
        "the password is hunter2",
        "x --password hunter2",
        '{"key": "wifi password", "value": "hunter2"}',
    ]

    assert 1 == len({tuple(digits(redactor.text(text)[0])) for text in texts})


def test_different_values_have_different_marks(redactor: Redactor) -> None:
    assert 2 == len(set(digits(redactor.text("a@nordwind.se b@nordwind.se")[0])))


def test_spellings_of_one_value_have_one_mark(redactor: Redactor) -> None:
    text, _ = redactor.text("Max@Nordwind.se max@nordwind.se, +49 171 2345678 +49-171-2345678 0049 171 2345678")

    assert [1, 1] == [len(set(digits(text)[:2])), len(set(digits(text)[2:]))]


def test_another_key_gives_other_marks(redactor: Redactor) -> None:
    other = Redactor(Policy.load("all"), bytes(32))

    assert redactor.text(GITHUB)[0] != other.text(GITHUB)[0]


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Redactor(Policy.load("all"), b"short")


def test_a_text_without_a_value_is_the_same_object(redactor: Redactor) -> None:
    for text in ("Hello", "x" * 500, '{"a": [1, 2, "three"]}', "token token token " * 50):
        assert redactor.text(text)[0] is text
        assert redactor.text(text)[0] is text  # from the cache


def test_a_tree_without_a_value_is_the_same_object(redactor: Redactor) -> None:
    tree = {"role": "user", "content": [{"type": "text", "text": "hi"}], "n": 1.5}

    assert redactor.value(tree)[0] is tree


def test_the_cache_gives_what_was_found_again(redactor: Redactor) -> None:
    text = f"use {GITHUB} " + "and so on " * 30

    assert redactor.text(text) == redactor.text(text[:9] + text[9:])
    assert ["github_token"] == [found.rule for found in redactor.text(text)[1]]


def test_what_is_found_is_told_without_the_value(redactor: Redactor) -> None:
    ((rule, mark, hint),) = redactor.text(f"use {GITHUB}")[1]

    assert ("github_token", "GITHUB_TOKEN", "gh… (40 characters)") == (rule, mark.partition(":")[0], hint)
    assert "… (4 characters)" == masked("4921")


def test_only_values_of_a_tree_change_never_keys(redactor: Redactor) -> None:
    tree = {GITHUB: GITHUB, "list": [GITHUB, {"password": "x1"}], "password": None}

    new, marks = redactor.value(tree, "params")

    assert [GITHUB, "list", "password"] == list(new)
    assert ["github_token", "github_token", "secret_field"] == [mark.rule for mark in marks]
    assert [f"params.{GITHUB}", "params.list[0]", "params.list[1].password"] == [mark.path for mark in marks]


def test_json_text_changes_only_within_its_strings(redactor: Redactor) -> None:
    text = '{ "a" : 1.50,\n\t"password":"hunter2" , "b":"\\u00e9\\/", "password" : "hunter2"}'

    new, found = redactor.text(text)

    assert re.sub(r"⟦.*?⟧", "hunter2", new) == text
    assert 2 == len(found)


def test_escapes_do_not_hide_a_value(redactor: Redactor) -> None:
    escaped = json.dumps({"url": "https://max:geheim1@db/x", "mail": "max@nordwind.se", "pem": PEM})
    escaped = escaped.replace("/", "\\/").replace("@", "\\u0040")

    value = json.loads(redactor.text(escaped)[0])

    assert [1, 1, 1] == [len(digits(text)) for text in value.values()]
    assert redactor.text(PEM)[0] == value["pem"]


def test_json_in_json_in_json_is_read_to_the_bottom(redactor: Redactor) -> None:
    inner = json.dumps({"password": 'a"b\\c\n9'})
    text = json.dumps({"arguments": json.dumps({"body": inner})})

    new = redactor.text(text)[0]

    bottom = json.loads(json.loads(json.loads(new)["arguments"])["body"])
    assert redactor.value({"password": 'a"b\\c\n9'})[0] == bottom


def test_text_that_is_only_nearly_json_is_searched_as_text(redactor: Redactor) -> None:
    text, found = redactor.text('{"password": "hunter2", "query": "tea", "user": "ma')

    assert ["secret_assignment"] == [one.rule for one in found]
    assert text.startswith('{"password": "⟦SECRET:')


def test_the_number_of_a_card_is_found_as_a_number(redactor: Redactor) -> None:
    new, _ = redactor.value({"card": 4111111111111111, "at": 1790000000123, "flag": True, "f": 4.111111111111111e15})
    text, _ = redactor.text('{"card": 4111111111111111, "at": 1790000000123}')

    assert ["⟦CARD:", 1790000000123, True] == [new["card"][:6], new["at"], new["flag"]]
    assert {"card": new["card"], "at": 1790000000123} == json.loads(text)


def test_a_placeholder_is_never_taken_for_a_value(redactor: Redactor) -> None:
    text = "password: ⟦SECRET:0123456789⟧, tel ⟦PHONE:4155552671⟧ key=⟦OPENAI_KEY:aaaaaaaaaa⟧"

    assert redactor.text(text)[0] is text
    assert redactor.value({"password": "⟦SECRET:0123456789⟧", "auth": "Bearer ⟦SECRET:0123456789⟧"})[1] == ()


def test_the_digits_of_a_mark_do_not_make_a_password(redactor: Redactor) -> None:
    tree = {
        "pin": "⟦EMAIL:fb1430fced⟧ 0",
        "pass": "/home/⟦USER:83a48f2962⟧",
        "password": {"default": "/home/⟦USER:83a48f2962⟧"},
    }

    assert (tree, ()) == redactor.value(tree)


def test_a_key_behind_its_scheme_keeps_the_provider_s_name(redactor: Redactor) -> None:
    new, _ = redactor.value({"headers": {"x-api-key": f"Bearer {GITHUB}"}})

    assert "Bearer ⟦GITHUB_TOKEN:" == new["headers"]["x-api-key"][:21]


def test_a_password_around_an_address_is_taken_out_as_a_whole(redactor: Redactor) -> None:
    new, _ = redactor.value({"password": "max@nordwind.se-2019"})

    assert MARK.fullmatch(new["password"])


def test_json_under_a_secret_key_keeps_its_keys(redactor: Redactor) -> None:
    new, _ = redactor.value({"secret": json.dumps({"user": "max", "password": "hunter2"})})

    assert {"user", "password"} == set(json.loads(new["secret"]))


def test_values_to_keep_are_kept(tmp_path: Any) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('keep = ["support@tarx.io", "hunter2"]\n')
    redactor = Redactor(Policy.load("all", rules), KEY)

    text = 'mail Support@tarx.io or eva@tarx.io {"password": "hunter2"}'

    assert ["email"] == [found.rule for found in redactor.text(text)[1]]
    assert () == redactor.value({"password": "hunter2"})[1]


def test_lone_surrogates_and_nul_are_carried_along(redactor: Redactor) -> None:
    text = json.dumps({"a": "\ud800\0", "password": "hunter2\udfff"})

    value = json.loads(redactor.text(text)[0])

    assert "\ud800\0" == value["a"]
    assert MARK.fullmatch(value["password"])


def test_deep_nesting_is_no_trouble(redactor: Redactor) -> None:
    tree: Any = {"password": "hunter2"}
    for _ in range(20_000):
        tree = [tree]

    new, marks = redactor.value(tree)

    assert ["secret_field"] == [mark.rule for mark in marks]
    while isinstance(new, list):
        new = new[0]
    assert MARK.fullmatch(new["password"])
    assert ("[" * 200_000, []) == redactor.text("[" * 200_000)


HOSTILE = {
    "prefixes": "sk-" * 30_000,
    "key names": "password" * 12_000,
    "assignments": "password=" * 10_000,
    "quotes": 'password="' * 10_000,
    "escapes": '\\"password\\":\\"' * 6_000,
    "at signs": "a@" * 50_000,
    "dots and at": "a.b@c." * 16_000,
    "digits": "4111" * 25_000,
    "spaced digits": "4 1 1 1 " * 12_000,
    "plus digits": "+1" * 50_000,
    "plus long digits": "+123456789012345678901234567890x" * 3_000,
    "zeros": "01 234 " * 14_000,
    "dots": "1.1.1." * 16_000,
    "colons": "2a02:" * 20_000,
    "colon colon": "fe80::" * 16_000,
    "schemes": "://a:" * 20_000,
    "begin": "-----BEGIN " * 9_000,
    "begin key": ("-----BEGIN " + "PRIVATE KEY-----\n") * 3_500,
    "dashes": "-" * 100_000,
    "options": "--token " * 12_000,
    "jwt": "eyJ" * 33_000,
    "jwt parts": "eyJhbGciOi." * 9_000,
    "bearer": "bearer " * 14_000,
    "cookie": "cookie: a=" * 10_000,
    "spoken": "password for the a a a a " * 4_000,
    "iban": "DE89 3704 " * 10_000,
    "home": "/home/" * 16_000,
    "windows": "C:\\Users\\" * 11_000,
    "query": "?key=" * 20_000,
    "one word": "A" * 100_000,
    "hex": "0123456789abcdef" * 6_000,
    "placeholders": "⟦EMAIL:0123456789⟧" * 5_000,
    "half placeholders": "⟦EMAIL:" * 14_000,
    "open braces": "{" * 100_000 + "}",
    "json strings": "[" + '"password",' * 9_000 + '""]',
    "data lines": "data: {\n" * 12_000,
    "hash": "$2b$12$" * 14_000,
    "curl": "curl -u " * 12_000,
    "authorization": "authorization: " * 7_000,
    "authorization schemes": "authorization: a " * 6_000,
    "authorization values": "authorization=Token-" * 5_000,
    "digests": f"response={'0123456789abcdef' * 2} " * 2_500,
    "logins": "://a:b/@" * 12_000,
    "logins with a path": "://a:" + "b/" * 50_000 + "@c",
    "hosts": "://a:b@" + "c.d@" * 25_000,
    "users": "https://" + "Ab1" * 33_000,
    "users again": "://Ab1Cd2Ef3Gh4Ij5Kl6Mn7@" * 4_000,
    "elements": "<password>x" * 9_000 + "</",
    "closed elements": "<a>bcd</a>" * 10_000,
    "attributes": 'name="' * 16_000 + 'value="',
    "spaces in an element": "<a " + " " * 100_000 + "</",
    "quoted words": 'password is "' + "a " * 50_000,
    "quoted again": 'password is "a ' * 6_000,
}


HOSTILE_JSON = {
    "numbers": ('{"password":[', "1234,", "1]}"),
    "numbers without a name": ('{"token":[', "128009,", "1]}"),
    "pairs": ("[", '["password","a1"],', "[]]"),
    "pins": ("[", '{"pin":1234},', "{}]"),
    "values": ("[", '{"password":{"value":"a1"}},', "{}]"),
}
"""Beginning, what is repeated, and end: a part of it is no JSON, so the parts are made."""


def seconds(text: str) -> float:
    best = 9.0
    for _ in range(3):
        fresh = Redactor(Policy.load("all"), KEY)
        start = time.process_time()  # others use this machine as well
        fresh.text(text)
        fresh.body(text.encode())
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_in_hostile_text(name: str) -> None:
    # A quarter of the text first: linear time is then four times as long. Squared it would be sixteen times.
    text = HOSTILE[name]

    assert seconds(text) < 11 * seconds(text[: len(text) // 4]) + 0.05


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_time_is_linear_in_hostile_json(name: str) -> None:
    begin, repeated, end = HOSTILE_JSON[name]

    assert seconds(begin + repeated * 8_000 + end) < 11 * seconds(begin + repeated * 2_000 + end) + 0.05
