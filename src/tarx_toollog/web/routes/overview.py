"""The first page: what happened, what went wrong, and where to look."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.store.answers.overview import choices, overview, whole_days
from tarx_toollog.web.log_filters import OfLog
from tarx_toollog.web.overview_page import KINDS, Part, overview_page
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import render

router = APIRouter()

_PRESETS = (7, 28)
"""Days that one click chooses, today among them."""


@router.get("/")
def first_page(request: Request, log: Log, chosen: OfLog) -> HTMLResponse:
    """Return what a part of the log adds up to, in whole days."""
    period = whole_days(chosen.filters)
    part = Part.of(period, chosen.query)
    found = overview(log.engine, chosen.filters, period, at_once=True)
    return render(
        request,
        "overview.html",
        found=found,
        part=part,
        shown=overview_page(found, part),
        choices=choices(log.engine),
        presets=[(days, part.overview(since=_days_ago(days - 1), until=None)) for days in _PRESETS],
        kinds=[words for words, _, _ in KINDS],
    )


def _days_ago(days: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()
