"""Conversations: the list, and one of them as a trace."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.export.reasons import REASONS
from tarx_toollog.store.answers.call_words import faults_of
from tarx_toollog.store.answers.conversation_pages import TITLE, conversation_list
from tarx_toollog.store.answers.conversation_trace import (
    BEGINNING,
    ConversationTrace,
    Place,
    conversation_trace,
)
from tarx_toollog.store.answers.exchange_pages import training_reasons
from tarx_toollog.store.answers.statements import turns_statement
from tarx_toollog.store.labels import LabelRow, is_bad_label, is_good_label
from tarx_toollog.web.log_filters import OfLog
from tarx_toollog.web.paging import SIZE
from tarx_toollog.web.routes.replay import MAX_INTEGER, Log
from tarx_toollog.web.site import render
from tarx_toollog.web.trace import Excerpts, objections, step_address, texts_of

router = APIRouter(prefix="/conversations")

Number = Annotated[int, Query(ge=1, le=MAX_INTEGER)]
Before = Annotated[int | None, Query(ge=1, le=MAX_INTEGER)]


@dataclass(frozen=True)
class TracePage:
    """What the template of a conversation asks besides its rows."""

    trace: ConversationTrace
    start: Place
    back: str
    """The address of the page without a place in it: where its forms lead back to."""
    reasons: Mapping[str, str | None]
    """Exchange → why an export would leave it out; None: it would take it."""
    faults_of = staticmethod(faults_of)
    objections = staticmethod(objections)

    @cached_property
    def excerpts(self) -> Excerpts:
        """What is shown of the texts."""
        return Excerpts(list(texts_of(self.trace)))

    @property
    def n_candidates(self) -> int:
        """Answers of the page that an export would take."""
        return sum(reason is None for reason in self.reasons.values())

    @property
    def is_part(self) -> bool:
        """Whether there is more of the conversation than this page."""
        return self.trace.next is not None or self.start != BEGINNING

    @property
    def sql(self) -> str:
        """The statement that gives its turns."""
        return turns_statement(self.trace.uid)

    @property
    def json_command(self) -> str:
        """The command that gives it as JSON."""
        return f"toollog conversations show {shlex.quote(self.trace.uid)} --json"

    @property
    def scenario_command(self) -> str:
        """The command that makes a suite of it."""
        given = f"--conversation {shlex.quote(self.trace.uid)} --split {self.trace.split}"
        return f"toollog replay build --tag {shlex.quote('from-' + self.trace.uid[:8])} {given}"

    @staticmethod
    def why(reason: str) -> str:
        """Return a reason as a sentence."""
        return REASONS.get(reason, reason)


@router.get("")
def conversations(request: Request, log: Log, chosen: OfLog, before: Before = None) -> HTMLResponse:
    """Return the list of conversations."""
    with log.engine.connect() as connection:
        found = conversation_list(connection, chosen.filters, before, SIZE)
    return render(
        request,
        "log/conversations.html",
        chosen=chosen,
        found=found,
        before=before,
        label_words=_label_words,
        title=TITLE,
    )


@router.get("/{uid}")
def conversation(request: Request, log: Log, uid: str, turn: Number = 1, step: Number = 1) -> HTMLResponse:
    """Return the page of a conversation, from a step on."""
    with log.engine.connect() as connection:
        found = conversation_trace(connection, uid, Place(turn, step))
        shown = [one.uid for each in found.turns for one in each.steps]
        reasons = training_reasons(connection, shown)
    back = step_address(found.uid, turn, step).partition("#")[0]
    page = TracePage(found, Place(turn, step), back, reasons)
    return render(request, "log/conversation.html", found=found, page=page, place=step_address)


def _label_words(labels: Iterable[LabelRow]) -> str:
    """Return what was said in a few words: how often good, bad and corrected, and the names of other labels."""
    counts: Counter[str] = Counter(map(_word, labels))
    return ", ".join(f"{n} {word}" for word, n in counts.items())


def _word(label: LabelRow) -> str:
    if label.correction is not None:
        return "corrected"
    if is_bad_label(label):
        return "bad"
    return "good" if is_good_label(label) else label.name
