"""The addresses of the pages: made in one place, and read back in another only by the router."""

import re
from urllib.parse import quote, urlencode

from tarx_toollog.store.replays import RunRow

HOME = "/replay"
COMPARE = "/replay/compare"
LABELS = "/labels"

_OWN = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # ASCII that can be seen, without a backslash; `//` begins a host
_PLAIN = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._~@:+-]+")


def run(row: RunRow) -> str:
    """Return the page of a run. A name that would not stay one part of an address is replaced by the uid."""
    return f"/replay/runs/{quote(row.name if _PLAIN.fullmatch(row.name) else row.uid, safe='')}"


def steps(row: RunRow, **filters: object) -> str:
    """Return the list of steps of a run."""
    return with_query(f"{run(row)}/steps", **filters)


def step(row: RunRow, scenario_uid: str, step_no: int) -> str:
    """Return the page of one step of a run."""
    return f"{run(row)}/steps/{quote(scenario_uid, safe='')}/{step_no}"


def accept(row: RunRow, scenario_uid: str, step_no: int) -> str:
    """Return where the form goes that accepts an answer."""
    return f"{step(row, scenario_uid, step_no)}/accept"


def exchange(uid: str) -> str:
    """Return the request and the answer of an exchange."""
    return f"/exchanges/{quote(uid, safe='')}"


def compare(first: str, second: str) -> str:
    """Return two runs side by side."""
    return with_query(COMPARE, first=first, second=second)


def with_query(address: str, **values: object) -> str:
    """Return an address with those values in its query that are not None.

    Example:
        >>> with_query("/replay", code="wrong tool", tool=None)
        '/replay?code=wrong+tool'
    """
    given = {name: str(value).encode("utf-8", "surrogatepass") for name, value in values.items() if value is not None}
    return f"{address}?{urlencode(given)}" if given else address


def own_path(address: str) -> str:
    r"""Return the path of an address that a form names, as one of ours; ``HOME`` when it leads elsewhere.

    Example:
        >>> own_path("/replay/runs/a?x=1"), own_path("//evil.example/x"), own_path("/\\evil.example")
        ('/replay/runs/a', '/replay', '/replay')
    """
    path = address.partition("?")[0].partition("#")[0]
    return path if _OWN.fullmatch(path) else HOME
