"""The style, the script and the icon: one of each, from the package itself."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

router = APIRouter(prefix="/static")


def _text(package: str, name: str) -> bytes:
    return files(package).joinpath(name).read_bytes()


# The style of the reports that are files comes first: what is drawn in both places looks the same.
_STYLE = _text("tarx_toollog.replay.reports", "report.css") + _text("tarx_toollog.web", "static/ui.css")
_SCRIPT = _text("tarx_toollog.web", "static/ui.js")
_ICON = _text("tarx_toollog.web", "static/icon.svg")


@router.get("/ui.css")
def style() -> Response:
    """Return the style."""
    return Response(_STYLE, media_type="text/css")


@router.get("/ui.js")
def script() -> Response:
    """Return the script."""
    return Response(_SCRIPT, media_type="text/javascript")


@router.get("/icon.svg")
def icon() -> Response:
    """Return the icon."""
    return Response(_ICON, media_type="image/svg+xml")
