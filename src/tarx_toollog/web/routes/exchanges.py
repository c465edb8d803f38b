"""One exchange as it went over the wire: the request as the model got it, and the answer."""

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tarx_toollog.model import Exchange
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import render
from tarx_toollog.wire.protocols import protocol_named

router = APIRouter(prefix="/exchanges/{uid}")

_LONG = 200_000  # characters: what a browser lays out in an instant


@router.get("")
def exchange(request: Request, log: Log, uid: str) -> HTMLResponse:
    """Return the page of an exchange."""
    found = log.exchange(uid)
    parts = {name: json.dumps(value, ensure_ascii=False, indent=2) for name, value in _parts(found).items()}
    return render(request, "exchange.html", exchange=found, parts=parts, long=_LONG)


@router.get("/json")
def download(log: Log, uid: str) -> Response:
    """Return all of it, as a file."""
    found = log.exchange(uid)
    # In ASCII: a file holds half characters only as escapes.
    body = json.dumps({"uid": found.uid, **_parts(found)}, indent=2)
    name = f'attachment; filename="{found.uid}.json"'
    return Response(body, media_type="application/json", headers={"content-disposition": name})


def _parts(found: Exchange) -> dict[str, Any]:
    request = None if found.request is None else protocol_named(found.protocol).request_body(found.request)
    response = found.response
    answer = None
    if response is not None:
        answer = {
            "model": response.model,
            "choices": [
                {"index": one.index, "finish_reason": one.finish_reason, "message": one.message.raw}
                for one in response.choices
            ],
            "error": response.error,
            **response.extra,
        }
    return {"request": request, "answer": answer}
