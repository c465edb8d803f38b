"""Single rules where the corpus says too little: neighbours, checks, names."""

import re

import pytest

from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.redaction.checks import luhn
from tarx_toollog.redaction.names import keeps, keeps_number, looks_mixed, looks_random, promise
from tarx_toollog.redaction.rules import lower

REDACTOR = Redactor(Policy.load("all"), bytes(32))
OPENAI = "sk-" + "proj-" + "a8B7c6D5e4F3g2H1i0J9k8L7"


def rules_in(text: str) -> list[str]:
    return [found.rule for found in REDACTOR.text(text)[1]]


@pytest.mark.parametrize(
    "text",
    [
        f"({OPENAI})",
        f"'{OPENAI}'",
        f"<{OPENAI}>",
        f"key:{OPENAI},",
        f"{OPENAI}.",
        f"a\n{OPENAI}\nb",
        f"a\\n{OPENAI}\\nb",
        f"https://x.example/?k={OPENAI}&y=1",
        f"https://x.example/?q=%22{OPENAI}%22",
        f"|{OPENAI}|",
        f"{OPENAI}\N{RIGHT DOUBLE QUOTATION MARK}",
    ],
)
def test_a_key_is_found_whatever_stands_around_it(text: str) -> None:
    assert ["openai_key"] == rules_in(text)
    assert "a8B7c6" not in REDACTOR.text(text)[0]


@pytest.mark.parametrize("text", [f"x{OPENAI}", f"9{OPENAI}", f"_{OPENAI}"])
def test_a_key_does_not_begin_within_a_word(text: str) -> None:
    assert [] == rules_in(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("password", "secret"),
        ("DB_PASSWORD", "secret"),
        ("newPassword2", "secret"),
        ("wifi password", "secret"),
        ("x-api-key", "secret"),
        ("apiKey", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("clientSecret", "secret"),
        ("refresh_token", "secret"),
        ("PGPASSWORD", "secret"),
        ("token", "maybe"),
        ("Authorization", "maybe"),
        ("STRIPE_KEY", "maybe"),
        ("pin", "code"),
        ("key", None),
        ("max_tokens", None),
        ("eos_token", None),
        ("next_page_token", None),
        ("password_length", None),
        ("has_password", None),
        ("forgotPassword", None),
        ("public_key", None),
        ("cache_key", None),
        ("tokenizer", None),
        ("secretary", None),
        ("", None),
        ("42", None),
    ],
)
def test_what_a_name_promises(name: str, expected: str | None) -> None:
    assert expected == promise(name)


@pytest.mark.parametrize(
    "value", ["", "  ", "********", "<your password>", "${PW}", "{{ pw }}", "%(pw)s", "None", "required"]
)
def test_a_placeholder_or_a_remark_is_no_value(value: str) -> None:
    assert not keeps("secret", value)


def test_what_looks_random() -> None:
    assert looks_random("9f8a6c1e27b04d53a1")
    assert not looks_random("read_the_documentation_of_2_tools")
    assert not looks_random("12345678901234567890")
    assert not looks_random("https://a1b2c3d4e5f6.example")


def test_check_digits() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert not luhn("0000000000000000")


def test_lower_case_keeps_the_length() -> None:
    assert "i\N{COMBINING DOT ABOVE}" == "İ".lower()
    for text in ("İSTANBUL sk-", "abc", "ẞß", "A" * 10):
        assert len(text) == len(lower(text))
    assert "sk-" == lower("İİ SK-")[-3:]


def test_what_stands_after_an_umlaut_with_two_lower_case_letters_is_found() -> None:
    assert ["email"] == rules_in("İİİ max@nordwind.se")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/mhuber/a.txt", "/home/⟦⟧/a.txt"),
        ("https://max:geheim1@host.io/x", "https://max:⟦⟧@host.io/x"),
        ("IBAN DE89370400440532013000, BIC X", "IBAN ⟦⟧, BIC X"),
        ("Cookie: sid=31d4d96e407aad42", "Cookie: ⟦⟧"),
        ("Call +49 171 2345678.", "Call ⟦⟧."),
        ("(max@nordwind.se)", "(⟦⟧)"),
        ("Tel: 030 1234567, 10 Uhr", "Tel: ⟦⟧, 10 Uhr"),
        ("password: hunter2.", "password: ⟦⟧."),
    ],
)
def test_only_the_value_itself_is_replaced(text: str, left: str) -> None:
    new, found = REDACTOR.text(text)

    for one in found:
        new = new.replace(f"⟦{one.mark}⟧", "⟦⟧")
    assert left == new


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Token 3f9a8c7d6e5f4a3b2c1d, x", "Authorization: Token ⟦⟧, x"),
        (f'Digest username="a", response="{"5f3a" * 10}", x', 'Digest username="a", response="⟦⟧", x'),
        (f"sha256 digest ok, response={'5f3a' * 4}", f"sha256 digest ok, response={'5f3a' * 4}"),
        ("postgres://u:S3c/r@pw@h:5432/db?mail=a@b.example", "postgres://u:⟦⟧@h:5432/db?mail=a@b.example"),
        ("http://u:pw1@h?x=a@b.example", "http://u:⟦⟧@h?x=a@b.example"),
        ("http://a.example:80,http://u:pw1@b", "http://a.example:80,http://u:⟦⟧@b"),
        ("<password> S3crtpw9x </password>", "<password> ⟦⟧ </password>"),
        ('the password is "two blue herons".', 'the password is "⟦⟧".'),
    ],
)
def test_of_what_stands_around_a_value_everything_stays(text: str, left: str) -> None:
    assert left == re.sub("⟦[^⟧]+⟧", "⟦⟧", REDACTOR.text(text)[0])


@pytest.mark.parametrize(
    ("name", "digits", "expected"),
    [
        ("password", "8401", True),
        ("password", "840", False),
        ("dbPassword", "84019273", True),
        ("sudo_pass", "84019273", True),
        ("pass", "84019273", False),
        ("otp", "730154", True),
        ("cvv2", "391", True),
        ("mfaCode", "402113", True),
        ("card_pin", "7719", True),
        ("pin", "7719", False),
        ("secret", "7719", False),
        ("api_key", "7719", False),
        ("otp", "730154000", False),
        ("max_tokens", "4096", False),
        ("token", "29871", False),
        ("tan", "4931", False),
        ("zip_code", "88213", False),
    ],
)
def test_a_number_is_secret_only_under_a_name_that_can_mean_nothing_else(
    name: str, digits: str, expected: bool
) -> None:
    assert expected == keeps_number(name, digits)
    is_gone = f'{{"{name}": {digits}}}' != REDACTOR.text(f'{{"{name}": {digits}}}')[0]
    assert is_gone == (expected or (name, digits) == ("pin", "7719"))  # alone in its object a PIN is one


@pytest.mark.parametrize("value", ["S3crtpw9x", "gr8Oak!77", "T4nnenbaum-x", "k9Lw2pQ8"])
def test_what_looks_like_a_password_that_somebody_chose(value: str) -> None:
    assert looks_mixed(value)


@pytest.mark.parametrize(
    "value",
    ["phase2", "stage-3", "v1.2.3-rc1", "2026-05-31T10:15:00Z", "x86_64", "LH2203", "98.5%", "12/14", "sha256sum"],
)
def test_what_is_a_word_a_number_or_a_version(value: str) -> None:
    assert not looks_mixed(value)
