"""Names, tokens and settings that decide who is let in, without a server."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.capture import guard as guard_module
from tarx_toollog.capture.access import Access, has_token, is_origin_of
from tarx_toollog.capture.guard import ProxyGuard, Receive, Scope, Send
from tarx_toollog.capture.proxy import ToolLogProxy
from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.replay.reports import pages as report_pages
from tarx_toollog.store.private import make_private_folder
from tarx_toollog.store.secret import load_token, token_path

LOCAL = ((b"host", b"localhost"),)


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(database=str(folder / "new" / "log.db"), **more)


def passed(guard_access: Access, *headers: tuple[bytes, bytes], client: Any = ("127.0.0.1", 5)) -> Any:
    """Return the headers that came through the guard, or the status of its refusal."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["headers"])

    async def send(message: MutableMapping[str, Any]) -> None:
        seen.append(message.get("status"))

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers, "client": client}
    asyncio.run(ProxyGuard(app, guard_access)(scope, receive, send))
    return seen[0]


@pytest.mark.parametrize("host", ["user@localhost", "localhost/x", "localhost?", "localhost#", "a\\localhost", " "])
def test_what_is_no_host_is_no_name_of_ours(host: str) -> None:
    assert not Access().knows(host)


def test_a_name_of_the_settings_is_one_of_ours_on_any_address() -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        access = Access.on(host, names=["box.lan"])
        assert [True, True, False] == [access.knows(name) for name in ("box.lan:11450", "localhost", "lan")]


def test_a_server_that_somebody_else_bound_answers_its_own_machine_alone() -> None:
    assert LOCAL == passed(Access(), *LOCAL)
    assert LOCAL == passed(Access(), *LOCAL, client=None)  # a socket of the file system
    assert 403 == passed(Access(), *LOCAL, client=("192.168.1.7", 5))
    assert 401 == passed(Access(token="t" * 20), *LOCAL, client=("192.168.1.7", 5))


def test_the_token_is_taken_off_wherever_it_stands() -> None:
    token = "t" * 20
    given = [(name, value.encode()) for name in (b"x-toollog-token", b"x-api-key", b"authorization")
             for value in (token, f"Bearer {token}", f"bearer   {token} ")]  # fmt: skip
    own = (b"authorization", b"Bearer of-the-model-server")
    for one in given:
        assert [*LOCAL, own] == passed(Access(token=token), *LOCAL, one, own)


def test_tokens_are_compared_whole() -> None:
    assert [True, False, False, False] == [
        has_token(given, "secret") for given in (["no", "secret"], ["secre"], ["secrets"], [])
    ]
    assert not has_token(["s\xe4cret"], "secret")


def test_a_protocol_that_fails_opens_no_door(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(method: str, path: str) -> bool:
        raise RuntimeError

    monkeypatch.setattr(guard_module, "is_model_route", fail)
    assert 415 == passed(Access(), *LOCAL, (b"origin", b"http://localhost"), (b"content-type", b"text/plain"))


@pytest.mark.parametrize(
    ("origin", "host", "is_ours"),
    [
        ("http://localhost:1", "localhost:1", True),
        ("https://LOCALHOST:1", "localhost:1", True),
        ("http://localhost:2", "localhost:1", False),
        ("null", "localhost", False),
        ("http://[", "localhost", False),
        ("localhost", "localhost", False),
    ],
)
def test_an_origin_is_ours_when_it_is_the_host(origin: str, host: str, is_ours: bool) -> None:
    assert is_ours == is_origin_of(origin, host)


def test_a_token_is_made_once_and_for_each_use_another(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    chat = load_token(settings, "chat")
    assert (chat, True) == (load_token(settings, "chat"), chat != load_token(settings, "pages"))
    path = token_path(settings, "chat")
    assert [0o600, 0o700, 0o700] == [
        place.stat().st_mode & 0o777 for place in (path, path.parent, tmp_path / "new")
    ]  # fmt: skip
    assert {"chat.token", "pages.token"} == {one.name for one in path.parent.iterdir()}


def test_a_token_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    path = token_path(settings, "chat")
    make_private_folder(path.parent)
    path.write_text("of-my-own-choice-1234\n")
    path.chmod(0o644)
    assert "of-my-own-choice-1234" == load_token(settings, "chat")
    assert 0o600 == path.stat().st_mode & 0o777


@pytest.mark.parametrize("text", ["", "short", "with a space in the middle", "ümläut-and-long-enough-for-it"])
def test_a_file_that_holds_no_token_lets_nobody_in(tmp_path: Path, text: str) -> None:
    settings = settings_in(tmp_path, host="0.0.0.0")
    path = token_path(settings, "chat")
    make_private_folder(path.parent)
    path.write_text(text, "utf-8")
    with pytest.raises(StoreError, match="holds no token"):
        ToolLogProxy(settings=settings)


def test_a_token_may_be_asked_for_on_this_machine_too(tmp_path: Path) -> None:
    asked = settings_in(tmp_path, require_token=True)
    assert load_token(asked, "chat") == Access.by_settings(asked, "chat", "127.0.0.1").token
    assert Access.by_settings(settings_in(tmp_path), "chat", "127.0.0.1").token is None
    assert Access.by_settings(settings_in(tmp_path), "chat", "192.168.1.7").token == load_token(asked, "chat")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_origins", "*"),
        ("allowed_origins", "null"),
        ("allowed_origins", "localhost:3000"),
        ("allowed_origins", "http://localhost:3000/"),
        ("allowed_hosts", "*"),
        ("allowed_hosts", "http://box.lan"),
        ("allowed_hosts", "box.lan:80"),
    ],
)
def test_what_would_let_in_everybody_or_nobody_is_refused_as_a_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"TOOLLOG_{name.upper()}", f"a.example,{value}" if name == "allowed_hosts" else value)
    with pytest.raises(ConfigError, match=name):
        Settings.load()


def test_a_report_is_for_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: Any = "half \ud800"
    monkeypatch.setattr(report_pages, "report_markdown", lambda report, steps: made)
    report_pages.write_pages(made, (), {"md": tmp_path / "report.md", "html": None})
    assert ("half ?", 0o600) == (
        (tmp_path / "report.md").read_text(), (tmp_path / "report.md").stat().st_mode & 0o777
    )  # fmt: skip
