"""Who sent an exchange: kept with it, and shown for what was done on its behalf."""

from pathlib import Path

import pytest

from tarx_toollog.capture.headers import KEPT_REQUEST_HEADERS, KEPT_RESPONSE_HEADERS, kept
from tarx_toollog.store.log import ToolLog
from tarx_toollog.wire.decode import decode
from tests.support.builders import assistant, exchange, raw_exchange, user

PAGE = (("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site"))


@pytest.mark.parametrize(
    ("leg", "headers", "expected"),
    [
        ("proxy", (), ("program", None)),
        ("proxy", PAGE, ("browser", "http://localhost:3000")),
        ("middleware", PAGE[1:], ("browser", None)),
        ("proxy", (("origin", "o" * 5000),), ("browser", "o" * 256)),
        ("transport", (), (None, None)),
        ("replay", (), (None, None)),
    ],
)
def test_what_a_browser_says_tells_it_from_a_program(
    leg: str, headers: tuple[tuple[str, str], ...], expected: tuple[str | None, str | None]
) -> None:
    found = decode(raw_exchange([user("Hi")], assistant("Hello"), leg=leg, headers=headers))
    assert expected == (found.client_kind, found.client_origin)


def test_a_call_of_the_model_is_shown_with_who_asked_the_application_for_it(tmp_path: Path) -> None:
    outer = exchange([user("Hi")], assistant("Hello"), leg="middleware", headers=PAGE)
    inner = exchange([user("Hi")], assistant("Hello"), outer_uid=outer.uid, leg="transport", at_s=0.1)
    alone = exchange([user("And?")], assistant("Yes"), leg="transport", at_s=9.0)
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        log.write([outer, inner, alone])
        sql = "SELECT leg, client_kind, client_origin FROM v_exchanges ORDER BY started_at"
        rows = list(log.query(sql).rows)
    browser = ("browser", "http://localhost:3000")
    assert [("middleware", *browser), ("transport", *browser), ("transport", None, None)] == rows


def test_no_header_that_holds_a_key_is_on_a_list() -> None:
    secret = ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-toollog-token",
              "x-goog-api-key", "www-authenticate", "location", "referer")  # fmt: skip
    headers = [(name.upper().encode(), b"s3cret") for name in secret]
    assert () == kept(headers, KEPT_REQUEST_HEADERS | KEPT_RESPONSE_HEADERS)
