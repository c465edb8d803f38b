"""The styles, the scripts and the icon, from the package itself."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

from tarx_toollog.errors import NothingMatchedError

router = APIRouter(prefix="/static")

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _read() -> dict[str, bytes]:
    found = files("tarx_toollog.web").joinpath("static").iterdir()
    read = {file.name: file.read_bytes() for file in found if file.name.endswith(tuple(_TYPES))}
    # The style of the reports that are files comes first: what is drawn in both places looks the same.
    reports = files("tarx_toollog.replay.reports").joinpath("report.css").read_bytes()
    return read | {"ui.css": reports + read["ui.css"]}


_FILES = _read()


@router.get("/{name}")
def file(name: str) -> Response:
    """Return a style, a script or the icon."""
    if name not in _FILES:
        raise NothingMatchedError(f"there is no file {name!r}")
    return Response(_FILES[name], media_type=_TYPES[name[name.rindex(".") :]])
