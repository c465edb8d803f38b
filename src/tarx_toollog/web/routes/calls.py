"""The list of tool calls: all, or those of one kind."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.store.answers.calls import KINDS, Place, call_page
from tarx_toollog.web.log_filters import OfLog
from tarx_toollog.web.routes.replay import MAX_INTEGER, Log
from tarx_toollog.web.site import render

router = APIRouter(prefix="/calls")

_MAX_DIGITS = 10  # of a depth: Python refuses to read a number of thousands


@router.get("")
def calls(
    request: Request, log: Log, chosen: OfLog, kind: str = "all", depth: str = "", after: str = ""
) -> HTMLResponse:
    """Return tool calls, newest first, in pages."""
    kind = kind if kind in KINDS else "all"
    at = min(int(depth), MAX_INTEGER) if depth.isdecimal() and len(depth) <= _MAX_DIGITS else None
    found = call_page(log.engine, chosen.filters, kind=kind, depth=at, after=Place.parse(after))
    query = {**chosen.query, "kind": kind, "depth": at}
    return render(
        request, "calls.html", found=found, chosen=chosen, query=query, kinds=KINDS, kind=kind, depth=at, after=after
    )
