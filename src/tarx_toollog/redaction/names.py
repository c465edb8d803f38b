"""Which names promise a secret (``db_password``, ``apiKey``), and which values do not keep the promise. Pure.

The same judgement serves keys of JSON objects, assignments in text, query strings and command-line options.
"""

import re
from functools import lru_cache
from typing import Literal

from tarx_toollog.redaction.rules import words

Promise = Literal["secret", "maybe", "code", "mixed"]
"""``secret``: whatever stands there; ``maybe``: what looks random; ``code``: a few digits, or what looks random;
``mixed``: what looks like a password, for names that mean other things as a rule (``pass``)."""

Stated = Literal["", "default", "choice", "pair"]
"""How a value belongs to its name. Empty: it stands under it. ``default``: it is an example or one of several states,
``{"password": {"default": …}}``. ``choice``: it is one of an ``enum``. ``pair``: it stands behind it in a list."""

NAME_ANCHORS = (
    "pass",
    "pwd",
    "kennwort",
    "secret",
    "token",
    "key",
    "auth",
    "credential",
    "cookie",
    "sig",
    "session",
    "jwt",
    "pin",
    "otp",
    "cvv",
    "cvc",
    "seed",
    "mnemonic",
    "recovery",
    "tan",
    "mfa",
    "2fa",
    "verification",
    "unlock",
    "backup",
    "xsrf",
    "csrf",
)
"""Literals, one of which occurs in every name that promises a secret."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = words(
    "password passwd passwort kennwort pwd passphrase passcode secret secrets apikey apitoken authtoken accesstoken "
    "refreshtoken clientsecret secretkey privatekey accesskey sharedaccesskey mnemonic pgpassword"
)
_SECRET_PAIRS = words(
    "api_key access_key secret_key private_key encryption_key signing_key master_key account_key auth_key "
    "shared_key service_key access_token refresh_token auth_token id_token session_token bearer_token api_token "
    "bot_token oauth_token security_token client_secret recovery_code recovery_phrase seed_phrase pass_word "
    "pass_phrase db_pass smtp_pass mysql_pass redis_pass ftp_pass user_pass admin_pass root_pass mail_pass "
    "email_pass pg_pass ssh_pass sudo_pass wifi_pass wlan_pass login_pass wifi_key wlan_key wpa_key"
)
_MAYBE = words(
    "token auth authorization credential credentials cookie signature sig session sid jwt key pass sessionid "
    "phpsessid jsessionid csrftoken xsrftoken"
)
_CODE = words("pin otp cvv cvc tan")
_CODE_PAIRS = words("otp_code mfa_code totp_code fa_code verification_code unlock_code backup_code")
_NUMBERS = words("password passwd passwort kennwort pwd passphrase passcode pgpassword pass otp cvv cvc code")
"""Last words of names under which a bare number cannot be anything but the secret: no count, no id, no place."""
_PIN_OF = words("card sim bank atm door lock unlock alarm user new old current confirm phone device login security")
"""Words before ``pin`` that make it somebody's; alone it is a leg of a chip, a mark on a map, or an Indian postcode."""
_TRAILERS = words(
    "value text plain plaintext prod production dev test staging live old new current confirm confirmation again "
    "repeat base64 b64 env"
)
_REMARK_BEFORE = words("has is use uses require requires show hide allow forgot reset change min max no with without")
"""First words of names that say something about a secret."""
_OTHER_KEY_BEFORE = words(
    "public primary foreign cache sort partition hot idempotency row object s3 index map group page next "
    "continuation pagination sync cursor eos bos pad unk stop special start end sep cls mask image per first "
    "second last lookup join unique natural composite surrogate sha md5 translation i18n"
)
"""Words before ``key`` and ``token`` that make them something else."""

_NOT_A_VALUE = words(
    "none null nil true false yes no on off string str text number int integer bool boolean bytes any object "
    "undefined required optional redacted hidden masked removed unset empty missing invalid incorrect wrong "
    "expired valid unknown example placeholder todo tbd n/a na password passwd passwort pwd pass secret token key "
    "xxx type default here value username user changed unchanged disabled enabled denied accepted protected "
    "encrypted"
)
_STANDS_FOR_VALUE = re.compile(
    r"[*•.:xX_-]+"  # masked already
    r"|<[^<>]*>|\[[^\[\]]*\]|\(.*\)"  # <your password>
    r"|\$\{.*|\$\(.*|\$[A-Za-z_]\w*|\{\{.*|\{\w*\}|%\(?\w*\)?s?|%\w+%|@\w+@"  # a variable
    r"|(?:your|my|the|some|insert|enter)[-_ ].*",
    re.IGNORECASE | re.DOTALL,
)
_PROSE = re.compile(
    r"\b(?:must|should|is|are|be|was|has|have|the|your|not|no|of|to|for|required|invalid|incorrect|wrong|missing|"
    r"please|enter|least|cannot|expired|characters)\b",
    re.IGNORECASE,
)
_ORDINARY = re.compile(
    r"[A-Za-z]+(?:[-_./][A-Za-z]+)*[-_.]?\d{0,6}[A-Za-z]?"  # words and a number: stage-3, phase2b, LH2203
    r"|[vV]?\d+(?:\.\d+)+[\w.+-]*"  # a version
    r"|\d{2,4}-\d\d?-\d\d?.*"  # a date
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|[\d.,/:x%-]+[A-Za-z%]{0,4}"  # a number and its unit
    r"|(?:hs|rs|es|ed|x)-?\d{2,5}\w*"
    r"|(?:sha|md|base|utf|rsa|aes|ripemd|blake|pbkdf|argon|bcrypt)-?\d.*",
    re.IGNORECASE,
)
_ALGORITHM = re.compile(
    r"(?:sha|md|base|utf|rsa|aes|ripemd|blake|pbkdf|argon|scrypt|bcrypt)-?\d{1,4}\D.*", re.IGNORECASE
)
_PUBLIC = re.compile(r"AWS4-[A-Z0-9-]+|[^\s/]+/\d{8}/\S+/aws4_request[,;]?")
"""What stands in a signed request beside its signature: the algorithm, and the scope of the key."""
_RUN = re.compile(r"[A-Za-z0-9_+/=.~-]{16,}+")
_DIGITS = re.compile(r"\d{3,8}")
_MAX_CODE_DIGITS: dict[str | None, int] = {"secret": 19, "mixed": 0, "code": 8}
"""Digits that a bare number may have. ``{"pass": 4931}`` counts tests, whatever its length."""


@lru_cache(maxsize=4096)
def promise(name: str) -> Promise | None:
    """Return what a name promises; None for a name like any other.

    Example:
        >>> promise("DB_PASSWORD"), promise("nextPageToken"), promise("password_length"), promise("x-auth-token")
        ('secret', None, None, 'secret')
    """
    parts = _parts(name)
    if not parts or parts[0] in _REMARK_BEFORE:
        return None
    last, before = parts[-1], parts[-2] if len(parts) > 1 else ""
    if last in _SECRET or f"{before}_{last}" in _SECRET_PAIRS:
        return "secret"
    if last in _CODE or f"{before}_{last}" in _CODE_PAIRS:
        return "code"
    if last == "pass" and not before:
        return "mixed"
    if before in _OTHER_KEY_BEFORE or (last == "key" and not before):
        return None
    return "maybe" if last in _MAYBE else None


def keeps(promised: Promise, value: str, stated: Stated = "") -> bool:
    """Say whether a value is one that the name promised, rather than a placeholder or a remark about it."""
    bare = value.strip()
    if not bare or bare.lower().strip(".,:;!?") in _NOT_A_VALUE or _STANDS_FOR_VALUE.fullmatch(bare):
        return False
    if (stated or promised == "code") and not _is_stated(promised, bare, stated):
        return False
    if promised == "mixed":
        return looks_mixed(bare) or (_has_random(bare) and not _ORDINARY.fullmatch(bare))
    if promised == "maybe":
        return _has_random(bare) and not _PUBLIC.fullmatch(bare)
    return not (" " in bare and _PROSE.search(bare))


def keeps_number(name: str, digits: str) -> bool:
    """Say whether a bare number is the secret that its name promises. Few names can mean nothing else.

    Example:
        >>> keeps_number("password", "20417755"), keeps_number("pin", "4931"), keeps_number("total_tokens", "9396")
        (True, False, False)
    """
    promised = promise(name)
    if promised not in ("secret", "code", "mixed") or len(digits) > _MAX_CODE_DIGITS.get(promised, 0):
        return False
    *before, last = _parts(name)
    if last == "pin":
        return bool(before) and before[-1] in _PIN_OF
    # A number of three digits is a card's check number, or a status, or seconds.
    return last in _NUMBERS and len(digits) >= (3 if last in ("cvv", "cvc") else 4)


def _is_stated(promised: Promise, bare: str, stated: Stated) -> bool:
    if stated == "pair":
        return _has_random(bare)
    if promised == "code":
        return not stated and (bool(_DIGITS.fullmatch(bare)) or looks_random(bare))
    # What a schema or a form says about a password is words; a password of a system has a digit in it.
    is_word = len(bare) < 4 or " " in bare or not any(c.isdigit() for c in bare)
    return not is_word and (stated == "default" or looks_made_up(bare))


@lru_cache(maxsize=4096)
def _parts(name: str) -> list[str]:
    """Return the words of a name, in lower case, without those at its end that say nothing."""
    parts = [part.lower() for part in _WORD.findall(name[-80:])]
    while len(parts) > 1 and (parts[-1] in _TRAILERS or parts[-1].isdigit()):
        parts.pop()
    return parts


def _has_random(text: str) -> bool:
    return any(looks_random(run) for run in _RUN.findall(text))


def is_algorithm(text: str) -> bool:
    """Say whether a text begins with the name of an algorithm, as in "the password is sha256-hashed"."""
    return _ALGORITHM.fullmatch(text) is not None


def looks_made_up(text: str) -> bool:
    """Say whether a text of one word is none of a language, and no version, date, number or name of an algorithm."""
    if not 6 <= len(text) <= 64 or any(c.isspace() for c in text):
        return False
    has_both = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    return has_both and not _ORDINARY.fullmatch(text)


def looks_mixed(text: str) -> bool:
    """Say whether a text looks like a password that somebody chose: a digit among letters, and capitals or signs.

    Example:
        >>> looks_mixed("S3crtpw9x"), looks_mixed("stage-3"), looks_mixed("v1.2.3-rc1"), looks_mixed("x86_64")
        (True, False, False, False)
    """
    has_sign = any(c in "!@#$%^&*+?" for c in text)
    has_digit_within = re.search(r"[A-Za-z]\d+[A-Za-z]", text) is not None
    is_mixed = has_sign or (has_digit_within and text != text.lower() and text != text.upper())
    return is_mixed and looks_made_up(text)


def looks_random(text: str, least: int = 16) -> bool:
    """Say whether a text looks like a key: long, letters and digits mixed, and few characters twice.

    Example:
        >>> looks_random("9f8a6c1e27b04d53a1"), looks_random("read_the_documentation"), looks_random("a1" * 12)
        (True, False, False)
    """
    if len(text) < least or text.isdigit() or text.startswith(("http:", "https:", "/", "./", "~/")):
        return False
    has_digit = any(c.isdigit() for c in text)
    has_letter = any(c.isalpha() for c in text)
    # Words of a language have no digits in them; `model-v2.1-instruct` has one or two.
    n_digits = sum(c.isdigit() for c in text)
    return has_digit and has_letter and n_digits * 12 >= len(text) and len(set(text)) >= 8
