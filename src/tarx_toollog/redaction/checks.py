"""Checks: is what a pattern found really one? Each returns the part of the match that is the value, or None. Pure."""

import base64
import binascii
import ipaddress
import re

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.redaction.rules import Span, words

_IBAN_LENGTHS = {
    # Registry of IBAN formats (ISO 13616), the countries that have issued them for years.
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23,
    "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27,
    "MD": 24, "ME": 22, "MK": 19, "MT": 31, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29,
    "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VG": 24,
    "XK": 20,
}  # fmt: skip
_CARD_BRANDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|2(?:22[1-9]|2[3-9]\d|[3-6]\d{2}|7[01]\d|720))\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d{2}|4[4-9]\d)\d{12}"  # Discover
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14}"  # UnionPay
)
_NOT_PEOPLE = frozenset(("git", "noreply", "no-reply", "donotreply", "do-not-reply", "mailer-daemon"))
_EXAMPLE_DOMAINS = re.compile(
    r"(?:.*\.)?(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|local)", re.IGNORECASE
)
_FILE_ENDINGS = words(
    "png jpg jpeg gif svg webp ico css js mjs ts tsx jsx py pyc rb go rs java class json yml yaml toml md txt html xml "
    "service socket timer target mount whl zip gz tar exe dll so"
)
_NO_PERSON = words(
    "user username you me name shared public default all guest runner ubuntu admin administrator vagrant app node "
    "docker ec2-user vscode jovyan runneradmin linuxbrew git www www-data deploy root home xxx foo bar example"
)
_RESOLVERS = frozenset(("1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "4.4.4.4", "1.2.3.4"))


def whole(match: re.Match[str]) -> Span:
    """Take the whole match."""
    return Span(*match.span())


def jwt(match: re.Match[str]) -> Span | None:
    """Take a token whose header decodes to a JSON object that names an algorithm or a type."""
    header = match[0].partition(".")[0]
    try:
        value = parse_json(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, InvalidJsonError):
        return None
    return whole(match) if isinstance(value, dict) and ("alg" in value or "typ" in value or "enc" in value) else None


def basic(match: re.Match[str]) -> Span | None:
    """Take Basic credentials: base64 of ``user:password``."""
    try:
        text = base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return Span(*match.span(1)) if ":" in text and text.isprintable() else None


def card(match: re.Match[str]) -> Span | None:
    """Take the number of a card: a known brand, its length, and a right check digit."""
    digits = "".join(c for c in match[0] if c.isdigit())
    return whole(match) if _CARD_BRANDS.fullmatch(digits) and luhn(digits) and _is_grouped(match[0]) else None


def luhn(digits: str) -> bool:
    """Say whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0 and len(set(digits)) > 1


def _is_grouped(text: str) -> bool:
    """Say whether the digits stand together, or in groups as they are printed on cards."""
    groups = re.split(r"[ -]", text)
    sizes = [len(group) for group in groups]
    return len(groups) == 1 or all(size == 4 for size in sizes[:-1]) or sizes in ([4, 6, 5], [4, 6, 4])


def iban(match: re.Match[str]) -> Span | None:
    """Take an account number: the length of its country and a right checksum (ISO 7064, mod 97-10)."""
    length = _IBAN_LENGTHS.get(match[0][:2].upper())
    if length is None:
        return None
    end, compact = match.start(), ""
    for char in match[0]:
        end += 1
        compact += char if char != " " else ""
        if len(compact) == length:
            break
    rest = match.string[end : end + 1]
    if len(compact) != length or rest.isalnum():
        return None
    number = int("".join(str(int(c, 36)) for c in (compact[4:] + compact[:4]).upper()))
    return Span(match.start(), end) if number % 97 == 1 else None


def email(match: re.Match[str]) -> Span | None:
    """Take an address of a person: no documentation domain, no file name, no machine's account."""
    local, _, domain = match[0].rpartition("@")
    ending = domain.rpartition(".")[2].lower()
    if ending in _FILE_ENDINGS or local.lower() in _NOT_PEOPLE or _EXAMPLE_DOMAINS.fullmatch(domain):
        return None
    return whole(match)


def phone(match: re.Match[str]) -> Span | None:
    """Take a telephone number: as many digits as E.164 allows, and no word before that names another kind of number."""
    n_digits = sum(c.isdigit() for c in match[0])
    before = match.string[max(0, match.start() - 16) : match.start()]
    if not 7 <= n_digits <= 15 or _OTHER_NUMBER.search(before) or len(set(match[0])) < 4:
        return None
    return whole(match)


_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|case|ref|sku|isbn|part|serial|model|build|version|id|no\.?|nr\.?|#)\W{0,3}$",
    re.IGNORECASE,
)


def ipv4(match: re.Match[str]) -> Span | None:
    """Take an address of a machine: not loopback, a mask, documentation or a public resolver, and no version."""
    text = match.string
    before = text[max(0, match.start() - 10) : match.start()]
    # `Chrome/120.0.1.2` is a product; `http://10.0.0.5/` is an address.
    if re.search(r"(?:\bv|version\W{0,2}|release\W{0,2}|build\W{0,2}|[A-Za-z0-9]/)$", before, re.IGNORECASE):
        return None
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return None
    octets = address.packed
    is_section = max(octets) < 32 and octets[0] != 10  # 4.12.7.3 in a text with numbered sections
    is_nobody = address.is_loopback or octets[0] in (0, 255) or octets[2:] == b"\0\0" or match[0] in _RESOLVERS
    is_documentation = any(address in net for net in _DOCUMENTATION)
    return None if is_section or is_nobody or is_documentation else whole(match)


_DOCUMENTATION = tuple(map(ipaddress.IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))


def ipv6(match: re.Match[str]) -> Span | None:
    """Take an address that is global, unique local or link local, and not of the documentation range."""
    try:
        address = ipaddress.IPv6Address(match[0])
    except ValueError:
        return None
    first = match[0].partition(":")[0]
    if len(first) < 3 or first[0].lower() not in "23f" or address in _DOCUMENTATION6:
        return None
    return whole(match)


_DOCUMENTATION6 = ipaddress.IPv6Network("2001:db8::/32")


def home(match: re.Match[str]) -> Span | None:
    """Take the name in a path to somebody's home, unless it is an account that everybody has."""
    name = match[match.lastindex or 0]
    if name.lower() in _NO_PERSON or not any(c.isalpha() for c in name) or name.startswith(("$", "<", "{", "%", ".")):
        return None
    return Span(*match.span(match.lastindex or 0))
