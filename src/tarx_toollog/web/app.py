"""The application: the pages behind their guard, alone or mounted in another application."""

from fastapi import FastAPI

from tarx_toollog.config import Settings
from tarx_toollog.web.failures import add_failure_pages
from tarx_toollog.web.guard import Access, Guard
from tarx_toollog.web.routes import (
    assets,
    calls,
    conversations,
    exchanges,
    labels,
    live,
    overview,
    queue,
    replay,
    search,
    steps,
    tools,
)
from tarx_toollog.web.routes.api import create_api
from tarx_toollog.web.site import Site

_ROUTERS = (
    assets.router,
    overview.router,
    conversations.router,
    exchanges.router,
    tools.router,
    calls.router,
    live.router,
    search.router,
    labels.router,
    queue.router,
    replay.router,
    steps.router,
)


def toollog_pages(settings: Settings | None = None, *, annotator: str = "", access: Access | None = None) -> Guard:
    """Return the pages as an application that another one mounts, at any place.

    Every link and form leads to that place. Without an ``access`` only programs of this machine get an answer, whatever
    address the outer application listens on; ``Access.on(host)`` makes a token, which everybody needs from elsewhere.

    Example::

        app.mount("/toollog", toollog_pages())

    Args:
        settings: Where the log is; the settings in force when left out.
        annotator: Who labels, unless a form says another name.
        access: What is let in.
    """
    return create_app(settings or Settings.load(), annotator=annotator, access=access)


def create_app(settings: Settings, *, annotator: str, access: Access | None = None) -> Guard:
    """Return the pages of a log as an ASGI application.

    Args:
        settings: Where the log is.
        annotator: Who labels, unless a form says another name.
        access: What is let in; left out, what comes from this machine.
    """
    # No page that describes the routes: it would load its script from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = site = Site(settings, annotator)
    add_failure_pages(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.mount("/api", create_api(site))
    return Guard(app, access or Access.by_settings(settings, "pages", "127.0.0.1"))
