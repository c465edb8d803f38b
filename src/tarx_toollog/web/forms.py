"""Forms as they come from a browser: small, of our own pages, each with the secret that stands in them."""

import hmac
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from tarx_toollog.errors import ConfigError
from tarx_toollog.web.site import site_of

MAX_BYTES = 1 << 20
"""Of one form: a correction may hold a long text."""
FIELD = "form_token"
"""Name of the field with the secret."""

_KIND = "application/x-www-form-urlencoded"
_MAX_FIELDS = 50


class FormRefusedError(ConfigError):
    """The form is not one of ours."""


async def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of the form that a request brings.

    Raises:
        FormRefusedError: It is too large, of another kind, or without the secret.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise FormRefusedError("that is no form", hint="send it from the page")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise FormRefusedError(f"the form is larger than {MAX_BYTES} bytes", hint="shorten it")
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise FormRefusedError("the form has too many fields", hint="send it from the page") from error
    fields = dict(pairs)
    if not hmac.compare_digest(fields.pop(FIELD, "").encode(), site_of(request).form_token.encode()):
        raise FormRefusedError("the page of that form is older than this server", hint="load it again, and send again")
    return fields


Form = Annotated[Mapping[str, str], Depends(read_form)]
"""Parameter of a route that takes a form."""
