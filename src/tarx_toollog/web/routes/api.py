"""What programs say about the log, as JSON: labels, among them the thumbs of a Workbench.

An application of its own, because its errors are JSON, too.
"""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, parse_json
from tarx_toollog.errors import ConfigError, NothingMatchedError, ToolLogError
from tarx_toollog.store.label_target import LabelTargets
from tarx_toollog.store.labels import THUMBS, AnnotatorKind, LabelRow, Labels, NewLabel, Target
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.failures import status_of
from tarx_toollog.web.forms import MAX_BYTES
from tarx_toollog.web.routes.replay import Log
from tarx_toollog.web.site import Site, site_of

_KIND = "application/json"
_TYPES = {"exchange": "exchange", "call": "tool_call"}
_EXAMPLE = 'for example {"response_id": "chatcmpl-…", "value": 1}'


class UnsupportedKindError(ConfigError):
    """The body is not JSON by its content type: a page of another site could have sent it without being asked."""


class _Posted(BaseModel):
    """A label as a program posts it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    exchange: str | None = None
    conversation: str | None = None
    response_id: str | None = None
    call: str | None = None
    name: str = Field(default=THUMBS, min_length=1, max_length=200)
    value: float | str | None = None
    comment: str | None = None
    correction: Any = None
    annotator: str | None = None
    annotator_kind: AnnotatorKind = "human"


async def _read_label(request: Request) -> _Posted:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise UnsupportedKindError("the body is not JSON", hint=f"send it with the content type {_KIND}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise ConfigError(f"the body is larger than {MAX_BYTES} bytes", hint="shorten it")
    try:
        value = parse_json(bytes(body), max_depth=MAX_DEPTH)
    except InvalidJsonError as error:
        raise ConfigError(f"the body is not JSON: {error}", hint=_EXAMPLE) from error
    if not isinstance(value, dict):
        raise ConfigError("the body is not a JSON object", hint=_EXAMPLE)
    try:
        return _Posted.model_validate(value)
    except ValidationError as error:
        _refuse(error)


def _refuse(error: ValidationError) -> NoReturn:
    first = error.errors()[0]
    where = str(first["loc"][0]) if first["loc"] else "the body"
    known = ", ".join(_Posted.model_fields)
    raise ConfigError(f"{where!r}: {first['msg']}", hint=f"known: {known}") from error


def create_api(site: Site) -> FastAPI:
    """Return the application for programs."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = site
    app.add_exception_handler(ToolLogError, _failure)
    app.add_exception_handler(HTTPException, _failure_of_the_router)
    app.add_exception_handler(Exception, _bug)
    body = {"required": True, "content": {_KIND: {"schema": _Posted.model_json_schema()}}}
    app.add_api_route("/labels", post_label, methods=["POST"], openapi_extra={"requestBody": body})
    app.add_api_route("/labels", get_labels, methods=["GET"])
    return app


def post_label(request: Request, posted: Annotated[_Posted, Depends(_read_label)]) -> Response:
    """Keep a label."""
    site = site_of(request)
    value = posted.value
    if posted.name == THUMBS and value not in (1.0, -1.0):
        raise ConfigError(f"the value of {THUMBS!r} is 1 for up or -1 for down", hint=_EXAMPLE)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("the value is no finite number", hint=_EXAMPLE)
    with site.writing() as log:
        target = _target(log, posted.model_dump())
        key = Labels(log).add(
            NewLabel(
                target_type=target.type,
                target_uid=target.uid,
                name=posted.name,
                value_num=value if isinstance(value, float) else None,
                value_text=value.strip() or None if isinstance(value, str) else None,
                comment=posted.comment,
                correction=posted.correction,
                annotator_kind=posted.annotator_kind,
                annotator=posted.annotator or site.annotator,
            )
        )
        (row,) = (row for row in Labels(log).labels([target.uid], in_force=False) if row.id == key)
    return _json(_shown(row), 201)


def get_labels(
    log: Log,
    exchange: str | None = None,
    conversation: str | None = None,
    response_id: str | None = None,
    call: str | None = None,
) -> Response:
    """Return the labels in force on a target."""
    given = {"exchange": exchange, "conversation": conversation, "response_id": response_id, "call": call}
    target = _target(log, given)
    rows = Labels(log).labels([target.uid])
    return _json({"target_type": target.type, "target_uid": target.uid, "labels": [*map(_shown, rows)]})


def _target(log: ToolLog, given: Mapping[str, Any]) -> Target:
    """Return what is meant: by exactly one of the four ways to say it."""
    named = {way: given[way] for way in ("exchange", "conversation", "response_id", "call") if given[way]}
    if len(named) != 1:
        raise ConfigError("say what is meant: one of exchange, conversation, response_id and call", hint=_EXAMPLE)
    ((way, name),) = named.items()
    if way == "response_id":
        return LabelTargets(log).by_response_id(name)
    if way == "conversation":
        return LabelTargets(log).conversation(name)
    found = Labels(log).target(name)
    if (found.type, found.uid) != (_TYPES[way], name):  # a program says the whole id, and what it is the id of
        raise NothingMatchedError(f"no {way} {name!r}", hint="give the whole id")
    return found


def _shown(row: LabelRow) -> dict[str, Json]:
    return {slot: getattr(row, slot) for slot in LabelRow.__slots__} | {"created_at": row.created_at.isoformat()}


def _failure(request: Request, error: Exception) -> Response:
    assert isinstance(error, ToolLogError)
    status = 415 if isinstance(error, UnsupportedKindError) else status_of(error)
    return _said(status, error.message, error.hint)


def _failure_of_the_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said(error.status_code, str(error.detail), "POST and GET /api/labels are there")


def _bug(request: Request, error: Exception) -> Response:
    return _said(500, type(error).__name__, "this is a bug of toollog; its traceback is in the server's output")


def _said(status: int, message: str, hint: str) -> Response:
    return _json({"error": {"message": message, "hint": hint}}, status)


def _json(value: Mapping[str, Json], status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type=_KIND)  # in ASCII: UTF-8 has no half characters
