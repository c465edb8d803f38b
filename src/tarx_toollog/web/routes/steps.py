"""One step of a run: what was shown, expected and made; and the form that accepts the answer."""

import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.suites.accepting import accept
from tarx_toollog.replay.suites.argument_rules import WORDS, Said
from tarx_toollog.web import addresses
from tarx_toollog.web.forms import Form
from tarx_toollog.web.routes.replay import MAX_INTEGER, Log, find_run
from tarx_toollog.web.site import back_to, render, site_of
from tarx_toollog.web.step_page import step_page

router = APIRouter(prefix="/replay/runs/{name}/steps/{scenario_uid}/{step_no}")

_RULE = "rule:"  # begins the name of a field that has the rule for an argument, which stands behind it as JSON
_ATTEMPT = re.compile(r"[1-9]\d{0,8}")

StepNo = Annotated[int, Path(ge=0, le=MAX_INTEGER)]


@router.get("")
def step(
    request: Request,
    log: Log,
    name: str,
    scenario_uid: str,
    step_no: StepNo,
    attempt: Annotated[int, Query(ge=1, le=MAX_INTEGER)] = 1,
) -> HTMLResponse:
    """Return the page of a step."""
    found = step_page(log, find_run(log, name), scenario_uid, step_no, attempt)
    expected = () if found.step is None else found.step.expected
    calls = [{"name": call.name, "arguments": call.arguments} for call in expected]
    return render(request, "replay/step.html", found=found, run=found.run, expected_calls=calls, words=WORDS)


@router.post("/accept")
def accept_answer(
    request: Request, log: Log, name: str, scenario_uid: str, step_no: StepNo, form: Form
) -> RedirectResponse:
    """Say that the answer of a run is as right as the expected one, as it is or by rules, and judge it again."""
    sent = form.get("attempt", "1")
    attempt = int(sent) if _ATTEMPT.fullmatch(sent) else 1
    found = step_page(log, find_run(log, name), scenario_uid, step_no, attempt)
    if not found.can_accept or found.trial.exchange_uid is None:
        raise ConfigError("there is nothing to accept: that answer is not wrong", hint="load its page again")
    site = site_of(request)
    with site.writing() as writable:
        done = accept(
            writable,
            found.trial.exchange_uid,
            by=form.get("by", "").strip() or site.annotator,
            comment=form.get("comment", "").strip() or None,
            rules=_rules(form),
        )
    notice = "accepted_there_too" if done.other_runs else "accepted"
    return back_to(addresses.step(found.run, scenario_uid, step_no), notice, attempt=None if attempt == 1 else attempt)


def _rules(form: Mapping[str, str]) -> list[Said]:
    """Return the rules that a form says; an argument may be of any characters, also of those that no page shows."""
    try:
        return [
            Said(str(parse_json(name.removeprefix(_RULE))), rule)
            for name, rule in form.items()
            if name.startswith(_RULE)
        ]
    except InvalidJsonError as error:
        raise ConfigError("the form names no argument", hint="load the page again, and send again") from error
