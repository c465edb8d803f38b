"""Finds the ready queries in their files."""

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.answers.ready.query import Parameter, ReadyQuery, parameter_names

GROUPS = {
    "tools": "Which tools fail, and how?",
    "difficulty": "Under which circumstances do calls go wrong?",
    "chains": "How do chains of calls go?",
    "context": "What happens to the context?",
    "time": "What takes long?",
    "drift": "What changes over time?",
    "training": "What is there to learn from?",
    "trust": "Can the log be trusted?",
    "reading": "What happened there?",
}
"""Group → its question, in the order of the page."""

_PARAMETERS = (
    Parameter("since", "time", "1970-01-01", "from this time on: 24h, 7d, 4w, 2026-05-31 (UTC)"),
    Parameter("tool", "text", "", "only this tool; empty is all"),
    Parameter(
        "signature", "text", "", "only chains that begin so, for example tarx_recall>tarx_remember; empty is all"
    ),
    Parameter("conversation", "text", "", "id of the conversation; empty is the latest"),
    Parameter("exchange", "text", None, "id of the exchange"),
    Parameter("limit", "number", "20", "rows at most"),
)
_HEAD = re.compile(r"-- (.*)")
_SQL = re.compile(r"^(?:SELECT|WITH)\b", re.MULTILINE)
_KEY = re.compile(r"([a-z_]+): (.*)")


@cache
def ready_queries() -> tuple[ReadyQuery, ...]:
    """Return all ready queries, in the order of their groups, and by name within them."""
    folder = files(__package__)
    found = [
        _read(file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=lambda query: (list(GROUPS).index(query.group), query.name)))


def find_ready(name: str) -> ReadyQuery:
    """Return the ready query of this name.

    Raises:
        NothingMatchedError: There is none.
    """
    by_name = {query.name: query for query in ready_queries()}
    if name not in by_name:
        near = get_close_matches(name, by_name, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise NothingMatchedError(f"no ready query {name!r}", hint=f"{meant}`toollog db queries` lists them")
    return by_name[name]


def _read(name: str, text: str) -> ReadyQuery:
    """Return the query of a file: comments up to the first line of SQL, of which those without a key go on the last."""
    title, *head = [found[1] for found in _HEAD.finditer(text)]
    begins = _SQL.search(text)
    assert begins is not None, name
    sql = text[begins.start() :].rstrip() + "\n"
    keys: dict[str, str] = {}
    last = ""
    for line in head:
        if found := _KEY.match(line):
            last = found[1]
            keys[last] = found[2]
        else:
            keys[last] += " " + line
    group, reading = keys.pop("group"), keys.pop("read")
    usual = {parameter.name: parameter for parameter in _PARAMETERS}
    parameters = tuple(
        Parameter(one, usual[one].kind, keys.get(one, usual[one].default), usual[one].meaning)
        for one in parameter_names(sql)
    )
    return ReadyQuery(name, title, group, reading, sql, parameters)
