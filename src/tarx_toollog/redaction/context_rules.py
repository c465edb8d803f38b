"""Secrets that are known by what stands around them: headers, logins in URLs, elements and attributes. Pure.

Each check reads a bounded piece of text, so that time stays linear however often a rule's anchor occurs.
"""

import re

from tarx_toollog.redaction.names import keeps, looks_random, promise
from tarx_toollog.redaction.rules import Rule, Span

SECRET = "SECRET"  # noqa: S105 - what placeholders of values say whose kind only the context tells
QUOTE = r"\\{0,8}[\"'`]"

_AUTHORIZATION = re.compile(
    rf"authorization(?:{QUOTE})?[ \t]{{0,3}}+(?:[:=,]|=>)[ \t]{{0,3}}+(?:{QUOTE})?"
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9-]{1,30}+)[ \t]{1,3}+)?(?P<value>[A-Za-z0-9._~+/=:-]{8,2000}+)"
    rf"|(?<![A-Za-z0-9_])response=(?:{QUOTE})?(?P<digest>[0-9a-f]{{32,128}}+)",
    re.IGNORECASE,
)
_DIGEST_WITHIN = 600  # characters of a Digest header before its response
_LEAST_BARE = 16  # characters of a credential without a scheme
_LEAST_SCHEMED = 12

_LOGIN = re.compile(r"://(?P<user>[^\s/:@\"'<>\\?#\[⟦⟧]{0,100}+):(?=(?P<rest>[^\s\"'<>\\⟦⟧]{2,200}+))")
_ENDS_OF_LOGIN = ("/?#", "/", "")
"""What may not stand in a password, from the strict reading of RFC 3986 to what people write."""
_PORT = re.compile(r"(?:\d{1,5}|port|[{$<%:\]].{0,40}?)[/?#,]", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,10}(?::\d{1,5})?(?=[/?#\s\"'`,;)]|$)")
_USER_TOKEN = re.compile(
    r"://(?P<token>[A-Za-z0-9_.~-]{20,255}+)(?::x-oauth-basic)?@(?P<host>[A-Za-z0-9.-]{1,255}+)", re.IGNORECASE
)
_NO_PASSWORD = "x-oauth-basic"  # noqa: S105 - what stands behind a token that is given as the user
_LEAST = 3  # characters of a password: what is shorter is an example

_MARKUP = re.compile(
    r"<(?P<element>[A-Za-z][A-Za-z0-9_.:-]{1,60}+)(?:[ \t\r\n][^<>⟦⟧]{0,200}+)?>(?P<content>[^<>⟦⟧\r\n]{3,400}+)"
    r"</(?P=element)"
    r"|\b(?:name|key|id)=\\{0,4}[\"'](?P<name>[^\"'<>\\]{1,80}+)\\{0,4}[\"'][ \t]{1,4}+"
    r"value=\\{0,4}[\"'](?P<value>[^\"'<>\\⟦⟧]{3,400}+)",
    re.IGNORECASE,
)


def _authorization(match: re.Match[str]) -> Span | None:
    if match["digest"] is not None:
        before = match.string[max(0, match.start() - _DIGEST_WITHIN) : match.start()]
        return Span(*match.span("digest")) if "digest" in before.lower() else None
    value = match["value"].rstrip(".:")
    if re.match(r"[A-Za-z][A-Za-z0-9_-]{0,40}=[^=]", value):
        return None  # `Credential=…`: the parameters of a signed request
    is_token = looks_random(value, _LEAST_SCHEMED if match["scheme"] else _LEAST_BARE)
    is_long = len(value) >= 20 and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    start = match.start("value")
    return Span(start, start + len(value)) if is_token or (is_long and "-" not in value) else None


def _login(match: re.Match[str]) -> Span | None:
    """Take the password of a login; one with `/`, `?`, `#` or `@` in it only where it cannot be a port or a path."""
    rest = match["rest"]
    for ends in _ENDS_OF_LOGIN:
        head = rest if not ends else re.split(f"[{ends}]", rest, maxsplit=1)[0]
        at = head.rfind("@") if ends == "/?#" else _first_at_a_host(head)
        if at <= 0:
            continue
        value = rest[:at]
        if value == _NO_PASSWORD:
            return None
        is_strict = ends == "/?#"
        is_login = keeps("secret", value) and "://" not in value and (is_strict or _is_odd_password(value))
        return Span(match.start("rest"), match.start("rest") + at) if len(value) >= _LEAST and is_login else None
    return None


def _first_at_a_host(text: str) -> int:
    """Return where the first `@` stands that a host follows, or one that no other `@` follows; -1 for none."""
    at = text.find("@")
    while at >= 0:
        if _HOST.match(text, at + 1):
            return at
        at = text.find("@", at + 1)
    return -1


def _is_odd_password(value: str) -> bool:
    # `host:8080/a@b`, `docs:intro/how@v2`: a port or a path. A password has a sign or a digit among its letters.
    is_path = re.fullmatch(r"[A-Za-z0-9]?[A-Za-z_-]*\d{0,3}(?:/[A-Za-z_.-]*\d{0,3})*", value) is not None
    return not _PORT.match(value) and len(value) <= 64 and not is_path


def _user_token(match: re.Match[str]) -> Span | None:
    is_public = "sentry" in match["host"].lower()  # the public key of a project, which its web pages carry
    is_token = looks_random(match["token"], 20) and not is_public
    return Span(*match.span("token")) if is_token else None


def _markup(match: re.Match[str]) -> Span | None:
    is_element = match["element"] is not None
    promised = promise(match["element" if is_element else "name"])
    group = "content" if is_element else "value"
    value = match[group]
    if promised is None or not keeps(promised, value):
        return None
    start = match.start(group) + len(value) - len(value.lstrip())
    return Span(start, start + len(value.strip()))


AUTHORIZATION = Rule(
    "authorization",
    "secret",
    _AUTHORIZATION,
    anchors=("authorization", "response="),
    label=SECRET,
    check=_authorization,
    before=0,
)
URL_PASSWORD = Rule("url_password", "secret", _LOGIN, anchors=("://",), label=SECRET, check=_login, before=0)
URL_TOKEN = Rule("url_token", "secret", _USER_TOKEN, anchors=("://",), label=SECRET, check=_user_token, before=0)
MARKUP = Rule("secret_markup", "secret", _MARKUP, anchors=("</", "value="), label=SECRET, check=_markup)
