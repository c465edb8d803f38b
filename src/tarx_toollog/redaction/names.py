"""Which names promise a secret (``db_password``, ``apiKey``), and which values do not keep the promise. Pure.

The same judgement serves keys of JSON objects, assignments in text, query strings and command-line options.
"""

import re
from functools import lru_cache
from typing import Literal

from tarx_toollog.redaction.rules import words

Promise = Literal["secret", "maybe", "code"]
"""``secret``: whatever stands there; ``maybe``: what looks random; ``code``: a few digits, or what looks random."""

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
_MAYBE = words("token auth authorization credential credentials cookie signature sig session sid jwt key pass")
_CODE = words("pin otp cvv cvc cvv2 tan")
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
_RUN = re.compile(r"[A-Za-z0-9_+/=.~-]{16,}+")
_DIGITS = re.compile(r"\d{3,8}")


@lru_cache(maxsize=4096)
def promise(name: str) -> Promise | None:
    """Return what a name promises; None for a name like any other.

    Example:
        >>> promise("DB_PASSWORD"), promise("nextPageToken"), promise("password_length"), promise("x-auth-token")
        ('secret', None, None, 'secret')
    """
    parts = [part.lower() for part in _WORD.findall(name[-80:])]
    while len(parts) > 1 and (parts[-1] in _TRAILERS or parts[-1].isdigit()):
        parts.pop()
    if not parts:
        return None
    last, before = parts[-1], parts[-2] if len(parts) > 1 else ""
    if parts[0] in _REMARK_BEFORE:
        return None
    if last in _SECRET or f"{before}_{last}" in _SECRET_PAIRS:
        return "secret"
    if last in _CODE:
        return "code"
    if before in _OTHER_KEY_BEFORE or (last in ("key", "pass") and not before):
        return None
    return "maybe" if last in _MAYBE else None


def keeps(promised: Promise, value: str) -> bool:
    """Say whether a value is one that the name promised, rather than a placeholder or a remark about it."""
    bare = value.strip()
    if not bare or bare.lower().strip(".,:;!?") in _NOT_A_VALUE or _STANDS_FOR_VALUE.fullmatch(bare):
        return False
    if promised == "code":
        return bool(_DIGITS.fullmatch(bare)) or looks_random(bare)
    if promised == "maybe":
        return any(looks_random(run) for run in _RUN.findall(bare))
    return not (" " in bare and _PROSE.search(bare))


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
