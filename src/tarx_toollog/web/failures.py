"""What went wrong, as a page: every error of ours says what to do about it."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tarx_toollog.errors import ConfigError, NothingMatchedError, StoreError, ToolLogError
from tarx_toollog.web.forms import FormRefusedError
from tarx_toollog.web.site import render

_STATUS: tuple[tuple[type[ToolLogError], int], ...] = (
    (FormRefusedError, 403),
    (NothingMatchedError, 404),
    (ConfigError, 400),
    (StoreError, 503),
)
_MISSING = 404


def status_of(error: ToolLogError) -> int:
    """Return the HTTP status that says what kind of error it is."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def add_failure_pages(app: FastAPI) -> None:
    """Have an application answer with these pages."""
    app.add_exception_handler(ToolLogError, _ours)
    app.add_exception_handler(RequestValidationError, _wrong_address)
    app.add_exception_handler(HTTPException, _of_the_router)
    app.add_exception_handler(Exception, _bug)


def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ToolLogError)
    return render(request, "failure.html", status=status_of(error), message=error.message, hint=error.hint)


def _wrong_address(request: Request, error: Exception) -> Response:
    return render(request, "failure.html", status=400, message="something in that address cannot be read", hint="")


def _of_the_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "there is no such page" if error.status_code == _MISSING else str(error.detail)
    return render(request, "failure.html", status=error.status_code, message=message, hint="")


def _bug(request: Request, error: Exception) -> Response:
    hint = "this is a bug of toollog; its traceback stands where `toollog ui` was started"
    return render(request, "failure.html", status=500, message=type(error).__name__, hint=hint)
