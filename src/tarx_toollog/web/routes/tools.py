"""Tools: which there are with what goes wrong, and all that is known of one."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.store.answers.calls import KINDS
from tarx_toollog.store.answers.overview import whole_days
from tarx_toollog.store.answers.tool_details import SAMPLE, tool_detail
from tarx_toollog.store.answers.tools import listed_tools
from tarx_toollog.store.filters import Filters
from tarx_toollog.web.log_filters import OfLog
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import render
from tarx_toollog.web.tool_page import days_chart, diff_lines, faults_chart, tools_chart, values_chart

router = APIRouter(prefix="/tools")

_MOST = 200  # tools in one table: a model that makes names up makes many
_ORDERS = {
    "calls": lambda row: -row["calls"],
    "failing": lambda row: -row["failed"],
    "share": lambda row: -row["error_share"],
    "slow": lambda row: -(row["p95_ms"] or 0),
    "name": lambda row: row["tool"],
}
"""What the list may be sorted by."""


@router.get("")
def tools(request: Request, log: Log, chosen: OfLog, sort: str = "calls") -> HTMLResponse:
    """Return the list of tools."""
    found = listed_tools(log.engine, _in_whole_days(chosen.filters))
    order = sort if sort in _ORDERS else "calls"
    return render(
        request,
        "tools.html",
        rows=sorted(found, key=_ORDERS[order])[:_MOST],
        n=len(found),
        chosen=chosen,
        chart=tools_chart(found, chosen.query),
        order=order,
    )


@router.get("/one")
def tool(request: Request, log: Log, chosen: OfLog, name: Annotated[str, Query()]) -> HTMLResponse:
    """Return the page of a tool."""
    query = {key: value for key, value in chosen.query.items() if key != "tool"}
    found = tool_detail(log.engine, name, _in_whole_days(chosen.filters))
    return render(
        request,
        "tool.html",
        found=found,
        chosen=chosen,
        query=query,
        days=days_chart(found, query),
        faults=faults_chart(found, query),
        values_chart=values_chart,
        diff_lines=diff_lines,
        sample=SAMPLE,
        kinds=KINDS,
    )


def _in_whole_days(filters: Filters) -> Filters:
    """Return the same for whole days: only these are counted already."""
    period = whole_days(filters)
    return replace(filters, since=period.since, until=period.until)
