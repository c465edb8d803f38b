"""What is worth a label, most worth first: looked at one after the other, with keys or with buttons."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.replay.suites.label_queue import disputed_answers
from tarx_toollog.store.answers.label_queue import REASONS, LabelQueue
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import render

router = APIRouter(prefix="/labels/queue")

_SIZE = 12


@router.get("")
def queue(request: Request, log: Log) -> HTMLResponse:
    """Return what is worth a label. What a person labels or skips is not proposed again."""
    found = LabelQueue(log).proposals(_SIZE, disputed=disputed_answers(log))
    return render(request, "labels/queue.html", found=found, reasons=REASONS)
