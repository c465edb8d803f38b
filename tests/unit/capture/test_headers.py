"""What headers and path tell about a request: the conversation, and the target that the server gets."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tarx_toollog import Settings, ToolLogMiddleware
from tarx_toollog.capture.headers import conversation_hint, without_session
from tests.support.asgi import REQUEST, answering, drive, piece, query, recording, start, stored
from tests.support.upstream import chat_body

NAMES = ("X-TARX-Session", "X-Session-Id")
CHAT = "/v1/chat/completions"


def hint(*headers: tuple[bytes, bytes], path: str = CHAT) -> tuple[str | None, str | None]:
    return conversation_hint(path, headers, NAMES)


@pytest.mark.parametrize("value", [b"", b"  ", b"\t", b"null", b"undefined", b"None", b" NULL ", b"nil"])
def test_what_programs_send_when_they_have_no_id_is_none(value: bytes) -> None:
    assert (None, None) == hint((b"x-tarx-session", value))
    assert ("s-1", "header") == hint((b"x-tarx-session", value), (b"x-session-id", b"s-1"))
    assert ("s-1", "path") == hint((b"x-tarx-session", value), path=f"/s/s-1{CHAT}")
    assert (None, None) == hint(path=f"/s/{value.decode() or ' '}{CHAT}")


@pytest.mark.parametrize("value", [b"nullable", b"0", b"false", b"undefined-1", b"-"])
def test_whatever_else_they_send_is_an_id(value: bytes) -> None:
    assert (value.decode(), "header") == hint((b"x-tarx-session", value))


def test_blanks_around_an_id_are_no_part_of_it() -> None:
    assert ("my chat", "header") == hint((b"x-tarx-session", b" my chat\t"))
    assert ("my chat", "path") == hint(path=f"/s/ my chat {CHAT}")
    assert ("my chat", "path") == hint(path=f"/s/my%20chat{CHAT}")
    assert (None, None) == hint(path=f"/s/%20{CHAT}")


def test_the_first_of_the_configured_headers_wins_and_of_one_sent_twice_the_first() -> None:
    assert ("b", "header") == hint((b"X-Session-Id", b"a"), (b"X-Tarx-Session", b"b"), (b"x-tarx-session", b"a"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/s/mine/v1/chat/completions", "mine"),
        ("/s/mine/api/chat", "mine"),
        ("/prefix/s/mine/v1/chat/completions", "mine"),
        ("/a/b/s/mine/v1/messages", "mine"),
        ("/s/mine/v1/s/other/v1/responses", "mine"),
        ("/prefix/s/mine/chat/completions", None),
        ("/logs/mine/v1/chat/completions", None),
        ("/s//v1/chat/completions", None),
        (f"/s/{'x' * 129}/v1/chat/completions", None),
        ("/v1/chat/completions", None),
    ],
)
def test_the_path_names_the_conversation_behind_any_prefix(path: str, expected: str | None) -> None:
    assert (expected, expected and "path") == hint(path=path)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/s/mine/v1/chat/completions", b"/v1/chat/completions"),
        (b"/s/null/v1/chat/completions", b"/v1/chat/completions"),
        (b"/s/%20/v1/chat/completions", b"/v1/chat/completions"),
        (b"/prefix/s/mine/v1/chat/completions", b"/prefix/s/mine/v1/chat/completions"),
        (b"/s/mine/chat/completions", b"/s/mine/chat/completions"),
    ],
)
def test_only_in_front_of_the_target_it_is_ours_to_take_off(target: bytes, expected: bytes) -> None:
    assert expected == without_session(target)


def converse(settings: Settings, *paths: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> list[str | None]:
    """Send the same first message once for each path; return the ids of the conversations that were named."""
    app = ToolLogMiddleware(
        answering([start(headers=[(b"content-type", b"application/json")]), piece(chat_body(), more=False)]),
        settings=settings,
    )
    for path in paths:
        asyncio.run(drive(app, [REQUEST], path=path, headers=headers))
    assert len(paths) == len(stored(settings))
    return [row["external_id"] for row in query(settings, "SELECT external_id FROM conversation ORDER BY id")]


def test_clients_without_an_id_do_not_share_a_conversation(tmp_path: Path) -> None:
    with recording(tmp_path) as settings:
        assert [None, None] == converse(settings, CHAT, CHAT, headers=[(b"x-tarx-session", b"null")])


def test_a_workbench_may_have_the_path_form_behind_a_prefix_of_its_own(tmp_path: Path) -> None:
    with recording(tmp_path) as settings:
        assert ["a", "b"] == converse(settings, f"/llm/s/a{CHAT}", f"/llm/s/b{CHAT}", f"/llm/s/a{CHAT}")
