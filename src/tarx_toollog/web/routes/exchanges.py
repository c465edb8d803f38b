"""Exchanges: the list, and one as it went over the wire with all that is known of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from tarx_toollog.config import Settings
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.model import Exchange
from tarx_toollog.store.answers.call_words import faults_of
from tarx_toollog.store.answers.conversation_trace import traced_steps
from tarx_toollog.store.answers.exchange_pages import (
    InBuild,
    exchange_key,
    exchange_list,
    in_builds,
    training_reasons,
)
from tarx_toollog.store.answers.statements import exchange_statement
from tarx_toollog.store.dataset_queries import ABSENT
from tarx_toollog.web import addresses
from tarx_toollog.web.log_filters import OfLog
from tarx_toollog.web.paging import SIZE
from tarx_toollog.web.routes.conversations import Before
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import render, site_of
from tarx_toollog.web.trace import (
    INLINE,
    Excerpts,
    curl_command,
    objections,
    request_url,
    step_address,
    texts_of_step,
)
from tarx_toollog.wire.protocols import protocol_named

router = APIRouter(prefix="/exchanges")

Part = Literal["all", "request", "answer"]

_LONG = 12_000  # characters of the request, and of the answer: the rest is in the file
_WORDS = REASONS | ABSENT


@dataclass(frozen=True)
class ExchangePage:
    """What the template of an exchange asks besides its rows."""

    excerpts: Excerpts
    back: str
    """Where its forms lead back to."""
    builds: list[InBuild]
    training: Mapping[str, str | None]
    """Exchange → why an export would leave it out; None: it would take it; nothing: it is no step of a dialogue."""
    reasons = None
    """The trace shows them at each step; here they have a place of their own."""
    faults_of = staticmethod(faults_of)
    objections = staticmethod(objections)

    @staticmethod
    def why(reason: str) -> str:
        """Return a reason as a sentence."""
        return _WORDS.get(reason, reason)


@router.get("")
def exchanges(
    request: Request,
    log: Log,
    chosen: OfLog,
    before: Before = None,
    fill: Annotated[str, Query(pattern=r"^(\d|10)?$")] = "",
) -> HTMLResponse:
    """Return the list of exchanges."""
    tenth = int(fill) if fill else None
    with log.engine.connect() as connection:
        found = exchange_list(connection, chosen.filters, before, SIZE, tenth)
    query = {**chosen.query} | ({"fill": fill} if fill else {})
    shown: dict[str, Any] = {"found": found, "before": before, "fill": tenth, "query": query, "chosen": chosen}
    return render(request, "log/exchanges.html", **shown, faults_of=faults_of, place=step_address)


@router.get("/{uid}")
def exchange(request: Request, log: Log, uid: str) -> HTMLResponse:
    """Return the page of an exchange."""
    with log.engine.connect() as connection:
        key = exchange_key(connection, uid)
        step = traced_steps(connection, [key])[key]
        page = ExchangePage(
            excerpts=Excerpts(list(texts_of_step(step))),
            back=addresses.exchange(uid),
            builds=in_builds(connection, key),
            training=training_reasons(connection, [uid]),
        )
    found = log.exchange_by_id(key)
    parts = _parts(found)
    return render(
        request,
        "log/exchange.html",
        exchange=found,
        step=step,
        page=page,
        place=step.conversation_uid and step_address(step.conversation_uid, step.turn_no, step.step_no),
        parts={name: json.dumps(value, ensure_ascii=False, indent=2) for name, value in parts.items()},
        long=_LONG,
        curl=_curl(found, parts["request"], site_of(request).settings),
        sql=exchange_statement(uid),
    )


@router.get("/{uid}/json")
def download(log: Log, uid: str, part: Part = "all") -> Response:
    """Return all of it, or the request or the answer alone, as a file."""
    with log.engine.connect() as connection:
        key = exchange_key(connection, uid)
    found = log.exchange_by_id(key)
    parts = _parts(found)
    value = {"uid": found.uid, **parts} if part == "all" else parts[part]
    # In ASCII: a file holds half characters only as escapes.
    body = json.dumps(value, indent=2)
    name = f"{found.uid}.json" if part == "all" else f"{part}.json"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type="application/json", headers=headers)


def _curl(found: Exchange, body: Any, settings: Settings) -> str | None:
    """Return the command that sends the request again; None where it could not be read."""
    if body is None:
        return None
    line = json.dumps(body)
    url = request_url(found.upstream or settings.upstream, found.route)
    return curl_command(url, line if len(line) <= INLINE else None)


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
