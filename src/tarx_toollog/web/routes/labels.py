"""What people say about a conversation, an answer or a call: the form for it, and where forms go that label.

The short form may stand on any page (``labels/controls.html``), and leads back to it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_args
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, parse_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.answers.conversation_trace import Shown
from tarx_toollog.store.label_target import LabelTarget, LabelTargets
from tarx_toollog.store.labels import ANSWER, ASK, EXPECTED, QUALITY, SKIPPED, Labels, NewLabel, TargetType, value_of
from tarx_toollog.web import addresses
from tarx_toollog.web.forms import Form
from tarx_toollog.web.routes.replay import MAX_INTEGER, Log
from tarx_toollog.web.site import back_to, render, site_of
from tarx_toollog.web.trace import Excerpts
from tarx_toollog.web.visible import content_text, pretty, shortened

router = APIRouter(prefix="/labels")

_TYPES = frozenset(get_args(TargetType))


_LAST = 6  # messages before an answer: the last result, and how it came to it


class _Page(NamedTuple):
    """What the page of a target shows of the way to it: a turn may be long, and a page has to stay light."""

    messages: Sequence[Mapping[str, Any]]
    """What the user said, and the last ones before the answer."""
    left_out: int
    """Messages between these."""
    excerpts: Excerpts

    @classmethod
    def of(cls, found: LabelTarget) -> "_Page":
        """Return what is shown of the way to a target."""
        last = max(1, len(found.before) - _LAST)
        messages = [*found.before[:1], *found.before[last:]]
        texts = [Shown(text, len(text)) for text in _texts(found, messages)]
        return cls(messages, len(found.before) - len(messages), Excerpts(texts))

    def fit(self, text: str | None) -> str:
        """Return as much of a text as there is room for."""
        text = text or ""
        return shortened(text, len(self.excerpts(Shown(text, len(text))).text))


def _texts(found: LabelTarget, messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield all texts that the page of a target fits in."""
    for message in messages:
        yield content_text(message.get("content"))
        yield pretty(message.get("tool_calls") or "")
    for call in found.calls:
        yield call.arguments
        yield call.result_text or ""
    if found.step is not None:
        yield content_text((found.step.output or {}).get("content"))
        yield from map(pretty, found.step.tools)


class _Said(NamedTuple):
    name: str
    value_num: float | None = None
    value_text: str | None = None
    correction: Json = None


def _json(form: Mapping[str, str], field: str, example: str) -> Json:
    try:
        return parse_json(form.get(field, ""), max_depth=MAX_DEPTH)
    except InvalidJsonError as error:
        raise ConfigError(f"the {field} are not JSON: {error}", hint=f"for example {example}") from error


def _call(form: Mapping[str, str]) -> _Said:
    """Return the one call that would have been right, from its name and its arguments."""
    arguments = _json(form, "arguments", '{"query": "cat"}')
    if not isinstance(arguments, dict):
        raise ConfigError("the arguments are not a JSON object", hint='for example {"query": "cat"}')
    return _Said(EXPECTED, correction={"name": form.get("tool", "").strip(), "arguments": arguments})


def _calls(form: Mapping[str, str]) -> _Said:
    """Return the calls that a person wrote down: one object with name and arguments, or a list of them."""
    value = _json(form, "calls", '[{"name": "…", "arguments": {…}}]')
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _Said(EXPECTED, correction={"tool_calls": value} if isinstance(value, list) else value)


def _other(form: Mapping[str, str]) -> _Said:
    """Return a label of a name of the person's own."""
    value_num, value_text = value_of(form.get("value", ""))
    return _Said(form.get("name", "").strip(), value_num, value_text)


_VERDICTS: dict[str, Callable[[Mapping[str, str]], _Said]] = {
    "good": lambda _: _Said(QUALITY, value_num=1.0),
    "bad": lambda _: _Said(QUALITY, value_num=-1.0),
    "call": _call,
    "calls": _calls,
    "answer": lambda _: _Said(EXPECTED, correction=ANSWER),
    "ask": lambda _: _Said(EXPECTED, correction=ASK),
    "other": _other,
    "skip": lambda _: _Said(SKIPPED, value_text="unsure"),
}


@router.post("")
def label(request: Request, form: Form) -> RedirectResponse:
    """Keep what a person says about a conversation, an answer or a call."""
    site = site_of(request)
    if (read := _VERDICTS.get(form.get("verdict", ""))) is None:
        raise ConfigError("the form says no verdict", hint="choose one, and send again")
    said = read(form)
    new = NewLabel(
        target_type=_target_type(form),
        target_uid=form.get("target_uid", ""),
        **said._asdict(),
        comment=form.get("comment", "").strip() or None,
        annotator=form.get("by", "").strip() or site.annotator,
    )
    with site.writing() as log:
        Labels(log).add(new)
    return back_to(_back(request, form), "labelled")


@router.get("/one")
def one(request: Request, log: Log, uid: str, back: str = "") -> HTMLResponse:
    """Return the page on which something can be labelled in every way, with what it is beside it."""
    found = LabelTargets(log).target(uid)
    calls = [{"name": call.name, "arguments": call.arguments} for call in found.calls]
    page = _Page.of(found)
    return render(request, "labels/one.html", found=found, calls=calls, back=back, page=page)


@router.post("/{label_id}/withdraw")
def withdraw(request: Request, label_id: Annotated[int, Path(ge=1, le=MAX_INTEGER)], form: Form) -> RedirectResponse:
    """Take a label back."""
    site = site_of(request)
    with site.writing() as log:
        Labels(log).withdraw(label_id, form.get("by", "").strip() or site.annotator)
    return back_to(_back(request, form), "withdrawn")


def _target_type(form: Mapping[str, str]) -> TargetType:
    given = form.get("target_type", "exchange")
    if given not in _TYPES:
        raise ConfigError("the form does not say what it is about", hint="load the page again, and send again")
    return given  # type: ignore[return-value]  # it was looked up


def _back(request: Request, form: Mapping[str, str]) -> str:
    """Return where the form came from: as it says, or else as the browser does."""
    came_from = urlsplit(request.headers.get("referer", ""))
    return addresses.own_address(form.get("back") or came_from._replace(scheme="", netloc="").geturl())
