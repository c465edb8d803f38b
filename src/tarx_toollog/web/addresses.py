"""The addresses of the pages: made in one place, and read back in another only by the router.

The pages may be mounted anywhere (``/toollog`` of a Workbench); every address begins with the place.
"""

import re
from contextvars import ContextVar
from urllib.parse import quote, unquote, urlencode

from tarx_toollog.store.replays import RunRow

BASE: ContextVar[str] = ContextVar("base", default="")
"""Where the pages are mounted: comes before every address. The guard sets it for each request."""

_OWN = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # ASCII that can be seen, without a backslash; `//` begins a host
_PLAIN = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._~@:+-]+")


def overview(**filters: object) -> str:
    """Return the first page: what happened, and what went wrong."""
    return with_query(_at("/"), **filters)


def conversations(**filters: object) -> str:
    """Return the list of conversations."""
    return with_query(_at("/conversations"), **filters)


def conversation(uid: str, turn_no: int | None = None, step_no: int | None = None) -> str:
    """Return the page of a conversation, at one of its turns or steps."""
    place = "" if turn_no is None else f"#turn-{turn_no}" if step_no is None else f"#step-{turn_no}-{step_no}"
    return with_query(_at(f"/conversations/{quote(uid, safe='')}"), turn=turn_no) + place


def exchanges(**filters: object) -> str:
    """Return the list of exchanges."""
    return with_query(_at("/exchanges"), **filters)


def exchange(uid: str) -> str:
    """Return the request and the answer of an exchange."""
    return _at(f"/exchanges/{quote(uid, safe='')}")


def exchange_file(uid: str) -> str:
    """Return the same as a file."""
    return f"{exchange(uid)}/json"


def tools(**filters: object) -> str:
    """Return the list of tools."""
    return with_query(_at("/tools"), **filters)


def tool(name: str, **filters: object) -> str:
    """Return the page of a tool. Its name may be anything that a model wrote, so it stands in the query."""
    return with_query(_at("/tools/one"), name=name, **filters)


def calls(**filters: object) -> str:
    """Return the list of calls."""
    return with_query(_at("/calls"), **filters)


def live() -> str:
    """Return the page on which exchanges appear as they happen."""
    return _at("/live")


def live_rows(after: int) -> str:
    """Return the exchanges that came after a key."""
    return with_query(_at("/live/rows"), after=after)


def search(**filters: object) -> str:
    """Return the search."""
    return with_query(_at("/search"), **filters)


def labels() -> str:
    """Return where forms go that label."""
    return _at("/labels")


def label(uid: str, back: str = "") -> str:
    """Return the page on which something is labelled, and from which the browser goes back to another."""
    return with_query(_at("/labels/one"), uid=uid, back=back or None)


def withdraw_label(label_id: int) -> str:
    """Return where the form goes that takes a label back."""
    return _at(f"/labels/{label_id}/withdraw")


def queue(**filters: object) -> str:
    """Return what is worth a label."""
    return with_query(_at("/labels/queue"), **filters)


def replay() -> str:
    """Return the suites with their runs."""
    return _at("/replay")


def run(row: RunRow) -> str:
    """Return the page of a run. A name that would not stay one part of an address is replaced by the uid."""
    return _at(f"/replay/runs/{quote(row.name if _PLAIN.fullmatch(row.name) else row.uid, safe='')}")


def steps(row: RunRow, **filters: object) -> str:
    """Return the list of steps of a run."""
    return with_query(f"{run(row)}/steps", **filters)


def step(row: RunRow, scenario_uid: str, step_no: int) -> str:
    """Return the page of one step of a run."""
    return f"{run(row)}/steps/{quote(scenario_uid, safe='')}/{step_no}"


def accept(row: RunRow, scenario_uid: str, step_no: int) -> str:
    """Return where the form goes that accepts an answer."""
    return f"{step(row, scenario_uid, step_no)}/accept"


def comparison(first: str | None = None, second: str | None = None) -> str:
    """Return two runs side by side."""
    return with_query(_at("/replay/compare"), first=first, second=second)


def static(name: str) -> str:
    """Return a file of the package: a style, a script, the icon."""
    return _at(f"/static/{name}")


def _at(path: str) -> str:
    return BASE.get() + path


def with_query(address: str, **values: object) -> str:
    """Return an address with those values added to its query that are not None.

    Example:
        >>> with_query("/replay?code=wrong#list", tool=None, depth=2)
        '/replay?code=wrong&depth=2#list'
    """
    given = {name: str(value).encode("utf-8", "surrogatepass") for name, value in values.items() if value is not None}
    head, mark, place = address.partition("#")
    return f"{head}{'&' if '?' in head else '?'}{urlencode(given)}{mark}{place}" if given else address


def own_address(address: str) -> str:
    r"""Return an address that a form names, without what the page said last; the first page when it leads elsewhere.

    Example:
        >>> own_address("/replay/runs/a?x=1&notice=labelled#b"), own_address("//evil.example/x")
        ('/replay/runs/a?x=1#b', '/')
    """
    if not _OWN.fullmatch(address) or not address.startswith(f"{BASE.get()}/"):
        return overview()
    head, mark, place = address.partition("#")
    path, _, query = head.partition("?")
    if ".." in unquote(path).split("/"):  # which a browser would follow out of the place where we are mounted
        return overview()
    kept = "&".join(pair for pair in query.split("&") if pair and not pair.startswith("notice="))
    return path + (f"?{kept}" if kept else "") + mark + place
