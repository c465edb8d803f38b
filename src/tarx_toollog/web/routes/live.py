"""The live view: exchanges appear as they happen. The page asks each second; most of the time nothing has come."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from tarx_toollog.store.answers.call_words import faults_of
from tarx_toollog.store.answers.exchange_pages import live_lines, live_state
from tarx_toollog.web import addresses
from tarx_toollog.web.routes.replay import MAX_INTEGER, Log
from tarx_toollog.web.site import render
from tarx_toollog.web.trace import step_address

router = APIRouter(prefix="/live")

SHOWN = 50
"""Exchanges that the page begins with."""
MOST = 150
"""Exchanges that it keeps."""


@router.get("")
def live(request: Request, log: Log) -> HTMLResponse:
    """Return the page."""
    with log.engine.connect() as connection:
        lines = live_lines(connection, None, SHOWN)
    # What is shown is asked for again together with what is new, because open exchanges end.
    rows = addresses.live_rows(lines[-1].id - 1 if lines else 0)
    return render(request, "log/live.html", lines=lines, rows=rows, most=MOST, faults_of=faults_of, place=step_address)


@router.get("/rows")
def rows(request: Request, log: Log, after: Annotated[int, Query(ge=0, le=MAX_INTEGER)]) -> Response:
    """Return the rows of the exchanges after a key, newest first; 304 when they are as they were."""
    with log.engine.connect() as connection:
        last, unfinished = live_state(connection)
        state = hashlib.sha256(f"{after} {last} {unfinished}".encode()).hexdigest()[:32]
        tag = f'"{state}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        lines = live_lines(connection, after, MOST)
    answer = render(request, "log/live_rows.html", lines=lines, faults_of=faults_of, place=step_address)
    answer.headers["etag"] = tag
    return answer
