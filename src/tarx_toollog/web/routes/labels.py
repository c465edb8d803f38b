"""The form that labels: it may stand on any page, and leads back to it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, parse_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.labels import ANSWER, ASK, EXPECTED, QUALITY, Labels, NewLabel
from tarx_toollog.web import addresses
from tarx_toollog.web.forms import Form
from tarx_toollog.web.site import back_to, site_of

router = APIRouter(prefix=addresses.LABELS)


class _Said(NamedTuple):
    name: str
    value_num: float | None = None
    correction: Json = None


def _calls(form: Mapping[str, str]) -> _Said:
    """Return the calls that a person wrote down: one object with name and arguments, or a list of them."""
    try:
        value = parse_json(form.get("calls", ""), max_depth=MAX_DEPTH)
    except InvalidJsonError as error:
        raise ConfigError(f"the calls are not JSON: {error}", hint='[{"name": "…", "arguments": {…}}]') from error
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _Said(EXPECTED, correction={"tool_calls": value} if isinstance(value, list) else value)


_VERDICTS: dict[str, Callable[[Mapping[str, str]], _Said]] = {
    "good": lambda _: _Said(QUALITY, value_num=1.0),
    "bad": lambda _: _Said(QUALITY, value_num=-1.0),
    "calls": _calls,
    "answer": lambda _: _Said(EXPECTED, correction=ANSWER),
    "ask": lambda _: _Said(EXPECTED, correction=ASK),
}


@router.post("")
def label(request: Request, form: Form) -> RedirectResponse:
    """Keep what a person says about an exchange."""
    site = site_of(request)
    if (read := _VERDICTS.get(form.get("verdict", ""))) is None:
        raise ConfigError("the form says no verdict", hint="choose one, and send again")
    said = read(form)
    new = NewLabel(
        target_type="exchange",
        target_uid=form.get("target_uid", ""),
        name=said.name,
        value_num=said.value_num,
        correction=said.correction,
        comment=form.get("comment", "").strip() or None,
        annotator=form.get("by", "").strip() or site.annotator,
    )
    with site.writing() as log:
        Labels(log).add(new)
    return back_to(addresses.own_path(form.get("back", "")), "labelled")
