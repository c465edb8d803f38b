"""Values that do not survive the way to a trainer: half characters, numbers that JSON or Arrow do not have."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tarx_toollog.export.template.findings import Finding, short

_INT64 = 2**63  # Arrow, which datasets reads JSON with, has no larger integers
_SUSPECT = re.compile(r"\\u[dD][89a-fA-F]|\d{19}|NaN|Infinity|[\ud800-\udfff]")


def value_rules(value: Any, text: str, where: str = "") -> Iterator[Finding]:
    """Yield what is wrong with the strings and numbers of a JSON value.

    Args:
        value: What to look through.
        text: Its JSON: what cannot stand there need not be looked for.
        where: Path of the value.
    """
    if not _SUSPECT.search(text):
        return
    waiting: list[tuple[str, Any]] = [(where, value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += [(f"{place}.{short(key)}".lstrip("."), inner) for key, inner in item.items()]
            waiting += [(place, key) for key in item if isinstance(key, str) and not key.isascii()]
        elif isinstance(item, list):
            waiting += [(f"{place}[{number}]", inner) for number, inner in enumerate(item)]
        elif code := _code(item):
            yield Finding(code, place, short(item))


def _code(item: Any) -> str | None:
    if isinstance(item, str):
        return None if item.isascii() or _is_unicode(item) else "lone_surrogate"
    if isinstance(item, float):
        return None if math.isfinite(item) else "number_not_finite"
    if isinstance(item, int) and not -_INT64 <= item < _INT64:
        return "number_too_large"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
