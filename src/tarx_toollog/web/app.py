"""The application: the pages behind their guard."""

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from tarx_toollog.config import Settings
from tarx_toollog.web import addresses
from tarx_toollog.web.failures import add_failure_pages
from tarx_toollog.web.guard import Access, Guard
from tarx_toollog.web.routes import assets, exchanges, labels, replay, steps
from tarx_toollog.web.site import Site

_ROUTERS = (assets.router, replay.router, steps.router, exchanges.router, labels.router)


def create_app(settings: Settings, *, annotator: str, access: Access | None = None) -> Guard:
    """Return the pages of a log as an ASGI application.

    Args:
        settings: Where the log is.
        annotator: Who labels, unless a form says another name.
        access: What is let in; left out, what comes from this machine.
    """
    # No page that describes the routes: it would load its script from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = Site(settings, annotator)
    add_failure_pages(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_api_route("/", _home, include_in_schema=False)
    return Guard(app, access or Access())


def _home() -> RedirectResponse:
    return RedirectResponse(addresses.HOME, 303)
