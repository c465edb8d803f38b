"""What tells who somebody is: addresses, numbers, machines, homes. Data; off unless asked for."""

import re
import string

from tarx_toollog.redaction import checks
from tarx_toollog.redaction.rules import Rule

_LOCAL = frozenset(string.ascii_letters + string.digits + "._%+'-")

_NAME = r"[^\s/\\\"'`:;,<>|?*⟦⟧]{1,40}"

_PHONE = re.compile(
    r"[+(\d](?<![\w.,/#$€£%@+-][+(\d])(?:"
    r"(?<=\+)[1-9]\d{0,2}+(?:[ ./-]?\(?\d{1,5}+\)?){2,6}+"  # +49 (0)30 1234567
    r"|(?<=0)0[1-9]\d?+(?:[ ./-]\(?\d{1,5}+\)?){2,6}+"  # 0049 30 1234567
    r"|(?<=\()(?:0\d{1,4}+|[2-9]\d{2})\)[ ./-]{0,2}+\d{3,5}+(?:[ .-]?\d{2,5}+){0,3}+"  # (555) 123-4567
    r"|(?<=[2-9])\d{2}(?P<sep>[ .-])\d{3}(?P=sep)\d{4}"  # 555-123-4567
    r"|(?<=0)(?!\d{4}-\d{4}\b)[1-9]\d{1,4}+"  # 030 1234567, not an American postal code
    r"[ /-]{1,3}+\d{3,10}+(?:[ -]\d{2,6}+){0,3}+"
    r")(?![\w@]|[.,:/-]\d)"
)
_SPOKEN_PHONE = re.compile(
    r"(?:phone|mobile|cell|tel|telefon|handy|fax|whatsapp|call me (?:at|on)|nummer)(?: (?:number|nummer|no|nr))?"
    r"(?: (?:is|ist|was|now))?[.:=]{0,2}[\"' ]{0,3}(\+?\d[\d ./()-]{5,20}\d)(?![\w@]|[.,:/-]\d)",
    re.IGNORECASE,
)


def _digits(value: str) -> str:
    """Return the digits; ``00`` before the country is the same as ``+``."""
    digits = "".join(c for c in value if c.isdigit())
    return digits.removeprefix("00")


PERSONAL_RULES: tuple[Rule, ...] = (
    Rule(
        "email",
        "personal",
        re.compile(
            r"[A-Za-z0-9._%+'-]{1,64}+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
            r"(?![A-Za-z0-9_-]|\.[A-Za-z])"
        ),
        anchors=("@",),
        check=checks.email,
        normalise=str.lower,
        before=64,
        before_chars=_LOCAL,
    ),
    Rule(
        "iban",
        "personal",
        re.compile(r"[A-Z](?<![A-Za-z0-9][A-Z])[A-Z]\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?"),
        check=checks.iban,
        normalise=lambda value: value.replace(" ", ""),
    ),
    Rule(
        "card",
        "personal",
        re.compile(r"\d(?<![\w.,:/+-]\d)(?:[ -]?\d){12,18}(?![\w]|[.,:/-]\d)"),
        check=checks.card,
        normalise=_digits,
    ),
    Rule("phone", "personal", _PHONE, check=checks.phone, normalise=_digits),
    Rule(
        "spoken_phone",
        "personal",
        _SPOKEN_PHONE,
        anchors=("phone", "mobile", "cell", "tel", "handy", "fax", "whatsapp", "call me", "nummer"),
        label="PHONE",
        group=1,
        normalise=_digits,
    ),
    Rule(
        "ipv4",
        "personal",
        re.compile(r"\d(?<![\w.-]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"),
        label="IP",
        check=checks.ipv4,
    ),
    Rule(
        "ipv6",
        "personal",
        re.compile(
            r"[0-9A-Fa-f](?<![\w:.][0-9A-Fa-f])[0-9A-Fa-f]{2,3}:"
            r"(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])"
            r"(?![\w:])"
        ),
        anchors=(":",),
        label="IP",
        check=checks.ipv6,
        normalise=str.lower,
    ),
    Rule(
        "home_path",
        "personal",
        re.compile(
            r"(?<![A-Za-z0-9_.-])/(?:home|Users)/([^\s/\\\"'`:;,<>|?*()\[\]{}⟦⟧]{1,64})"
            r"|[A-Za-z]:(?:\\{1,8}|/)(?:Users|Documents and Settings)(?:\\{1,8}|/)"
            rf"({_NAME}(?: {_NAME}){{0,2}}(?=[\\/])|{_NAME})"
        ),
        anchors=("/home/", "/users/", "\\users\\", "documents and settings"),
        label="USER",
        check=checks.home,
    ),
)
"""The rules for personal data, in the order in which they are applied."""
