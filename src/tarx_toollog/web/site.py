"""What all pages share: the settings, the forms' secret, and the templates."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tarx_toollog.config import Settings
from tarx_toollog.replay.reports.drawing import interval_bar, survival_curve
from tarx_toollog.replay.reports.text_report import share_text
from tarx_toollog.store.engine import store_errors
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web import addresses
from tarx_toollog.web.visible import content_text, pretty, shortened, visible
from tarx_toollog.wire.openai_chat import tool_from_raw

NOTICES = {
    "accepted": "Accepted: the answer counts as right now.",
    "accepted_there_too": "Accepted: the answer counts as right now. Other runs gave one that does, too: "
    "`toollog replay score` counts it there.",
    "labelled": "Kept: the next suite and the next export heed the label.",
    "withdrawn": "Taken back: the label is kept, and no longer counts.",
}
"""What a page says after a form was sent, by the word in its address: no text of an address is shown."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the routes get."""

    settings: Settings
    annotator: str
    """Who labels, unless the form says another name."""
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Stands in every form; another site cannot read it."""

    @contextmanager
    def writing(self) -> Iterator[ToolLog]:
        """Open the log for one change."""
        with store_errors(self.settings), ToolLog.open(settings=self.settings, read_only=False) as log:
            yield log


def site_of(request: Request) -> Site:
    """Return what the routes get."""
    found: Site = request.app.state.site
    return found


def reading(request: Request) -> Iterator[ToolLog]:
    """Open the log for one page, without the possibility to write."""
    settings = site_of(request).settings
    with store_errors(settings), ToolLog.open(settings=settings) as log:
        yield log


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page."""
    site = site_of(request)
    notice = NOTICES.get(request.query_params.get("notice", ""))
    text = _TEMPLATES.get_template(template).render(site=site, notice=notice, path=request.url.path, **values)
    # Whatever slipped through: half a character is no reason not to show the rest.
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def compile_templates() -> None:
    """Compile all templates, that of the first page first, so that nobody waits for it who looks at one."""
    for name in sorted(_TEMPLATES.list_templates(), key=lambda name: (name != "overview.html", name)):
        _TEMPLATES.get_template(name)


def back_to(address: str, notice: str, **query: object) -> RedirectResponse:
    """Send the browser to a page of ours, so that reloading it does not send the form again."""
    return RedirectResponse(addresses.with_query(address, **query, notice=notice), 303)


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def _moment(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("tarx_toollog.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        short=shortened,
        pretty=pretty,
        content=content_text,
        moment=_moment,
        share=lambda value: share_text(value).strip(),
        ascii_json=lambda value: json.dumps(value, indent=2),
        tool_name=lambda raw: tool_from_raw(dict(raw)).name,
        bar=lambda value: Markup(interval_bar(value)),  # noqa: S704 - numbers alone
        curve=lambda steps, bound: Markup(survival_curve(steps, bound)),  # noqa: S704 - numbers alone
    )
    made.globals.update(url=addresses)
    return made


_TEMPLATES = _templates()
