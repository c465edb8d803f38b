"""Search: all words of the log, newest first."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.store.answers.newest import TIMEOUT_S
from tarx_toollog.store.answers.search_where import search_where
from tarx_toollog.store.search import Hit, Hits, Place, terms_of
from tarx_toollog.web.log_filters import OfLog
from tarx_toollog.web.marking import marked
from tarx_toollog.web.routes.conversations import Before
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import render
from tarx_toollog.web.trace import step_address

router = APIRouter(prefix="/search")

SIZE = 30
"""Hits of a page."""
PLACES: dict[Place, str] = {"text": "what was said and returned", "arguments": "arguments of calls"}
ROLES = ("user", "assistant", "tool", "system")


@router.get("")
def results(
    request: Request,
    log: Log,
    chosen: OfLog,
    q: Annotated[str, Query(max_length=1000)] = "",
    place: str = "",
    role: str = "",
    before: Before = None,
) -> HTMLResponse:
    """Return the form, and what was found."""
    asked = q.strip()
    where: Place | None = next((one for one in PLACES if one == place), None)
    terms = terms_of(asked) if asked else []
    found = Hits([], 0)
    if asked:
        filters = replace(chosen.filters, limit=SIZE + 1)  # one more says whether there is a next page
        options: dict[str, Any] = {"place": where, "role": role or None, "before": before, "timeout_s": TIMEOUT_S}
        with log.engine.connect() as connection:
            found = search_where(connection, asked, filters, **options)
    hits = found.hits[:SIZE]
    query = {**chosen.query, "q": asked} | {k: v for k, v in (("place", where), ("role", role)) if v}
    return render(
        request,
        "log/search.html",
        chosen=chosen,
        asked=asked,
        hits=hits,
        n_unread=found.n_unread,
        after=hits[-1].message_id if len(found.hits) > SIZE else None,
        before=before,
        query=query,
        places=PLACES,
        roles=ROLES,
        marked=lambda text: marked(text, terms),
        step_address=step_address,
        step_of=_step_of,
    )


def _step_of(hit: Hit) -> int | None:
    """Return the step at which a hit stands: a result is shown beside its call, which is a step before its request."""
    if hit.role != "tool" or hit.step_no is None:
        return hit.step_no
    return max(1, hit.step_no - 1)
