"""``toollog ui`` as a person starts it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tarx_toollog.store.log import ToolLog


def started(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tarx_toollog", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    ToolLog.open(tmp_path / "t.db", read_only=False).close()
    return tmp_path / "t.db"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_it_prints_its_address_serves_and_ends_on_ctrl_c(database: Path, host: str) -> None:
    with started("--database", str(database), "ui", "--host", host, "--port", "0") as process:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        try:
            has_token = re.fullmatch(rf"http://{re.escape(host)}:\d+/(\?token=[\w-]{{32}})?", link)
            assert has_token is not None
            assert (host != "127.0.0.1") == bool(has_token[1])
            with httpx.Client(follow_redirects=True) as client:
                assert '<a href="/" aria-current="page">Overview</a>' in client.get(link).text
            bare = httpx.get(link.partition("?")[0])
            assert (200 if host == "127.0.0.1" else 401) == bare.status_code
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        assert "Traceback" not in said
        assert 0 == process.returncode, said


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_serve_shows_the_pages_in_their_place_and_asks_others_for_the_token_that_it_prints(
    database: Path, host: str
) -> None:
    arguments = ("serve", "--host", host, "--port", "0", "--upstream", "http://127.0.0.1:9")
    with started("--database", str(database), *arguments) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(3)]
        try:
            link = lines[2].removeprefix("pages: ").strip()
            has_token = re.fullmatch(rf"http://{re.escape(host)}:\d+/toollog/(\?token=[\w-]{{32}})?", link)
            assert has_token is not None
            assert (host != "127.0.0.1") == bool(has_token[1])
            with httpx.Client(follow_redirects=True) as client:
                assert '<a href="/toollog/" aria-current="page">Overview</a>' in client.get(link).text
            bare = link.partition("?")[0]
            assert (200 if host == "127.0.0.1" else 401) == httpx.get(bare).status_code
            # Nobody is behind it; and of others, the chats ask for a token, too.
            status = httpx.get(bare.replace("/toollog/", "/v1/models")).status_code
            assert (502 if host == "127.0.0.1" else 401) == status
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        assert "Traceback" not in said


def test_without_a_database_it_says_so_and_does_not_start(tmp_path: Path) -> None:
    with started("--database", str(tmp_path / "no.db"), "ui", "--port", "0") as process:
        out, said = process.communicate(timeout=20)
    assert (6, "") == (process.returncode, out)
    assert "no database at" in said


def test_a_port_that_is_taken_is_a_message(database: Path) -> None:
    with started("--database", str(database), "ui", "--port", "0") as first:
        assert first.stdout is not None
        port = first.stdout.readline().strip().rstrip("/").rpartition(":")[2]
        with started("--database", str(database), "ui", "--port", port) as second:
            _, said = second.communicate(timeout=20)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=20)
    assert 1 == second.returncode
    assert f"cannot listen on 127.0.0.1:{port}" in said
