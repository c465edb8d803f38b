"""Secrets that are known by their form (tokens, key files, logins in URLs) or by what stands before them.

The order counts: what is certain comes first, so that a key of a provider keeps the provider's name also where an
assignment would have found it.
"""

import re

from tarx_toollog.redaction import checks
from tarx_toollog.redaction.context_rules import AUTHORIZATION, MARKUP, QUOTE, SECRET, URL_PASSWORD, URL_TOKEN
from tarx_toollog.redaction.names import NAME_ANCHORS, is_algorithm, keeps, looks_mixed, looks_random, promise
from tarx_toollog.redaction.provider_keys import BEGINS, PROVIDER_RULES
from tarx_toollog.redaction.rules import NAME_CHARS, Rule, Span, words

__all__ = ["FIELD_RULE", "SECRET", "SECRET_RULES"]

FIELD_RULE = "secret_field"
"""Name of the rule for JSON values under a key that promises a secret. It needs the tree, so the engine holds it."""

_GAP = r"[ \t]{0,3}+"

_ASSIGNMENT = re.compile(
    rf"(?P<name>[A-Za-z0-9_.-]{{1,80}}+)(?:{QUOTE})?{_GAP}(?P<sep>:=|=>|==?|:){_GAP}(?:[bBrRuUfF](?=[\"']))?"
    r"(?:\"(?P<double>(?:[^\"\\\r\n⟦⟧]|\\[^\r\n]){1,400}+)"
    r"|'(?P<single>(?:[^'\\\r\n⟦⟧]|\\[^\r\n]){1,400}+)"
    r"|`(?P<tick>[^`\r\n⟦⟧]{1,400}+)"
    r"|\\{1,8}[\"'](?P<escaped>[^\"'\\\r\n⟦⟧]{1,400}+)"
    r"|(?P<bare>[^\s\"'`,;&|<>(){}\[\]\\⟦⟧]{3,400}+))(?P<next>[(\[{]?)"
)
_LEAST = 3  # characters; what is shorter is an example, or an access key of HTML
_CODE_PATH = re.compile(r"[A-Za-z_]\w*(?:(?:\.|->|::)[A-Za-z_]\w*)*[.!?:]?")
_QUERY = re.compile(r"(?<=[?&])(?P<name>[A-Za-z0-9_.-]{1,80}+)=(?P<value>[^\s&\"'`<>\\#;⟦⟧]{4,2000}+)")
_QUERY_ANCHORS = tuple(
    f"{word}="
    for word in sorted(
        words("key token sig signature password passwd pwd pass secret auth code session sid jwt credential otp pin")
    )
)
_OPTION = re.compile(
    r"--(?P<name>[A-Za-z][A-Za-z0-9-]{1,60}+) {1,3}+"
    rf"(?:{QUOTE})?(?P<value>[^\s\"'`\\⟦⟧-][^\s\"'`\\⟦⟧]{{3,300}}+)"
)
_SPOKEN = re.compile(
    r"(?P<name>passw(?:or)?d|passwort|passphrase|passcode|pin|secret|token|api[ -]key)"
    r"(?: (?:code|number))?(?: (?:for|to|of|on|at|f(?:ü|ue)r)(?: [^\s.,;:!?]{1,40}+){1,4}?)?"
    r" (?:is|was|ist|lautet)(?: now| set to| simply|:)? {0,2}"
    r"(?:[\"'`“„«](?P<quoted>[^\"'`”“«»\r\n\\⟦⟧]{3,120}+)(?=[\"'`”“»])"
    r"|(?P<quote>[\"'`“„«]?)(?P<value>[^\s\"'`”“«»\\⟦⟧]{3,200}+))",
    re.IGNORECASE,
)
_PEM_HEAD = r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"


def _key_file(match: re.Match[str]) -> Span | None:
    """Take a key file that has a body; its first line alone is documentation."""
    has_body = re.search(r"[A-Za-z0-9+/=]{30}", match[0][len("-----BEGIN PRIVATE KEY-----") :])
    end = match.end() - len(match[0]) + len(match[0].rstrip())
    return Span(match.start(), end) if has_body else None


def _discord(match: re.Match[str]) -> Span | None:
    text = match[0]
    is_mixed = text != text.lower() and text != text.upper()
    return checks.whole(match) if is_mixed and sum(c.isdigit() for c in text) >= 3 else None


def _plausible(match: re.Match[str]) -> Span | None:
    return Span(*match.span(1)) if len(match[1]) >= _LEAST and keeps("secret", match[1]) else None


def _bearer(match: re.Match[str]) -> Span | None:
    value = match[1].rstrip(".")
    is_token = looks_random(value, 12) or (any(c.isdigit() for c in value) and len(value) >= 20)
    return Span(match.start(1), match.start(1) + len(value)) if is_token else None


def _cookie(match: re.Match[str]) -> Span | None:
    """Take a header: pairs with an equals sign, not a sentence about cookies."""
    return Span(*match.span(1)) if re.match(r"\s*[\w.!#$%&*+^`|~-]{1,80}=\S", match[1]) else None


def _query(match: re.Match[str]) -> Span | None:
    promised = promise(match["name"])
    if promised is None and match["name"].lower() in ("key", "code", "pass"):
        promised = "maybe"
    return Span(*match.span("value")) if promised and keeps(promised, match["value"]) else None


def _assignment(match: re.Match[str]) -> Span | None:
    promised = promise(match["name"])
    if promised is None:
        return None
    for group in ("double", "single", "tick", "escaped"):
        value = match[group]
        if value is not None:
            is_value = len(value) >= _LEAST and value.lower() != match["name"].lower() and keeps(promised, value)
            return Span(*match.span(group)) if is_value else None
    bare = match["bare"].rstrip(",:.") if match["bare"] else ""
    if len(bare) < _LEAST or match["next"] or not keeps(promised, bare):
        return None
    if _CODE_PATH.fullmatch(bare) and not any(c.isdigit() for c in bare) and not _stands_alone(match):
        return None  # `password=get_password`, `token: Token`
    return Span(match.start("bare"), match.start("bare") + len(bare))


def _stands_alone(match: re.Match[str]) -> bool:
    """Say whether an assignment of plain letters is a line of an environment file or of YAML rather than code."""
    text, name = match.string, match["name"]
    line_start = max(text.rfind("\n", 0, match.start()) + 1, match.start() - 60)
    head = text[line_start : match.start()].strip(" \t-")
    is_line_end = text[match.end("bare") : match.end("bare") + 1] in ("", "\n", "\r")
    if match["sep"] == "=":
        return name == name.upper() and head in ("", "export", "set", "ENV", "env") and match["bare"] != name
    is_word = match["bare"].replace("-", "").isalpha()
    return match["sep"] == ":" and head == "" and is_line_end and is_word and match["bare"][0].islower()


def _option(match: re.Match[str]) -> Span | None:
    promised = promise(match["name"])
    value = match["value"]
    has_more = any(not c.isalpha() for c in value.rstrip(".,"))
    return Span(*match.span("value")) if promised and has_more and keeps(promised, value) else None


def _spoken(match: re.Match[str]) -> Span | None:
    """Take what a sentence says; a plain word after "is" is a remark unless it is in quotes."""
    if match["quoted"] is not None:
        is_code = match["name"].lower() == "pin"
        is_value = keeps("code" if is_code else "secret", match["quoted"])
        return Span(*match.span("quoted")) if is_value else None
    value = match["value"].rstrip(".,;:!?)") or match["value"]
    if match["name"].lower() == "pin":
        is_marked = value.isdigit() and 3 <= len(value) <= 12
    else:
        is_marked = bool(match["quote"]) or any(not c.isalpha() for c in value)
    if not is_marked or not keeps("secret", value):
        return None
    if is_algorithm(value) and not match["quote"]:
        return None
    is_name = _CONTRACTED.fullmatch(value) or _CODE_PATH.fullmatch(value)
    if is_name and not match["quote"] and not value[-1].isdigit() and not looks_mixed(value):
        return None
    # An exclamation mark belongs to the password where something other than letters stands before it.
    value = value if value.isalpha() else match["value"].rstrip(".,;:?)")
    return Span(match.start("value"), match.start("value") + len(value))


_CONTRACTED = re.compile(r"[A-Za-z]+(?:[-'’/][A-Za-z]+)+")


SECRET_RULES: tuple[Rule, ...] = (
    Rule(
        "private_key",
        "secret",
        re.compile(
            _PEM_HEAD + r"(?:[^\"'⟦⟧-]*+(?:-(?!----)[^\"'⟦⟧-]*+)*+-----END [A-Z0-9 ]{3,60}+-----"
            r"|(?:\s|\\[nrt]|[A-Za-z0-9+/=]{30,}+)++)"
        ),
        anchors=("-----begin ",),
        check=_key_file,
        normalise=lambda value: re.sub(r"\s+|\\[nrt]", "", value),
        before=0,
    ),
    Rule(
        "jwt",
        "secret",
        re.compile(BEGINS + r"eyJ[A-Za-z0-9_-]{8,}+(?:\.{1,2}[A-Za-z0-9_-]{2,}+){1,4}+"),
        anchors=("eyj",),
        check=checks.jwt,
        before=0,
        where="word",
    ),
    *PROVIDER_RULES,
    Rule(
        "telegram_bot_token",
        "secret",
        re.compile(r"(?<![0-9A-Za-z])(?:bot)?(\d{8,10}:AA[A-Za-z0-9_-]{32,33})(?![A-Za-z0-9])"),
        anchors=(":aa",),
        group=1,
        where="word",
    ),
    Rule(
        "azure_storage_key",
        "secret",
        re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)", re.IGNORECASE),
        anchors=("accountkey=",),
        group=1,
        where="word",
        before=0,
    ),
    Rule(
        "azure_client_secret",
        "secret",
        re.compile(r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~-])"),
        anchors=("q~",),
        where="word",
    ),
    Rule(
        "discord_bot_token",
        "secret",
        re.compile(
            r"(?<![A-Za-z0-9_.-])[MNO][A-Za-z0-9_-]{23,27}\.[GXY][A-Za-z0-9_-]{5}\."
            r"[A-Za-z0-9_-]{27,40}(?![A-Za-z0-9_-])"
        ),
        anchors=(".g", ".x", ".y"),
        check=_discord,
        where="word",
        before=28,
        before_chars=NAME_CHARS - {"."},
    ),
    Rule(
        "mailchimp_key",
        "secret",
        re.compile(r"(?<![A-Za-z0-9])[0-9a-f]{32}-us\d{1,2}(?!\w)"),
        anchors=("-us",),
        where="word",
    ),
    Rule(
        "password_hash",
        "secret",
        re.compile(
            r"\$2[abxy]\$\d\d\$[A-Za-z0-9./]{53}"
            r"|\$argon2(?:id|i|d)\$[A-Za-z0-9$=,+/]{30,400}+"
            r"|\$[156y]\$[A-Za-z0-9./=$]{30,200}+"
        ),
        anchors=("$2a$", "$2b$", "$2y$", "$2x$", "$argon2", "$1$", "$5$", "$6$", "$y$"),
        before=0,
        where="word",
    ),
    URL_PASSWORD,
    URL_TOKEN,
    Rule(
        "bearer_token",
        "secret",
        re.compile(r"bearer[ \t]{1,3}([A-Za-z0-9._~+/-]{12,}+={0,2})", re.IGNORECASE),
        anchors=("bearer ",),
        label=SECRET,
        check=_bearer,
        before=0,
    ),
    Rule(
        "basic_auth",
        "secret",
        re.compile(r"basic[ \t]{1,3}([A-Za-z0-9+/]{8,}+={0,2})", re.IGNORECASE),
        anchors=("basic ",),
        check=checks.basic,
        before=0,
    ),
    AUTHORIZATION,
    Rule(
        "cookie",
        "secret",
        re.compile(
            rf"cookie(?:{QUOTE})?[ \t]{{0,3}}:[ \t]{{0,3}}(?:{QUOTE})?([^\"'\r\n\\⟦⟧]{{4,4000}}+)", re.IGNORECASE
        ),
        anchors=("cookie",),
        check=_cookie,
        before=0,
    ),
    Rule(
        "curl_login",
        "secret",
        re.compile(
            rf"(?<!\S)(?:-u|--user|--proxy-user)[ =]{{0,3}}+(?:{QUOTE})?"
            r"[^\s:\"'\\]{1,64}+:([^\s\"'\\⟦⟧]{1,200}+)"
        ),
        anchors=("curl ",),
        label=SECRET,
        check=_plausible,
    ),
    Rule("query_secret", "secret", _QUERY, anchors=_QUERY_ANCHORS, label=SECRET, check=_query, before=40),
    Rule(
        "secret_assignment",
        "secret",
        _ASSIGNMENT,
        anchors=NAME_ANCHORS,
        label=SECRET,
        check=_assignment,
        before=40,
    ),
    MARKUP,
    Rule("secret_option", "secret", _OPTION, anchors=("--",), label=SECRET, check=_option, before=0),
    Rule(
        "spoken_secret",
        "secret",
        _SPOKEN,
        anchors=("pass", "pin", "secret", "token", "api"),
        label=SECRET,
        check=_spoken,
        before=0,
    ),
)
"""The rules for secrets, in the order in which they are applied."""
