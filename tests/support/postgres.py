"""A real PostgreSQL: the one that ``TOOLLOG_TEST_POSTGRES`` names, or one that is started for the tests.

The variable holds the URL of a server on which databases may be made, ``postgresql://user@host:port/database``.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.model_server import free_port

VARIABLE = "TOOLLOG_TEST_POSTGRES"
_SUPERUSER = "postgres"
_QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
_PLACES = "/usr/lib/postgresql"  # where Debian puts the programs of a server, by version


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of a server on which databases may be made; where there is none, skip the tests, or fail in CI."""
    missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    if importlib.util.find_spec("psycopg") is None:
        missing("psycopg is not installed: pip install 'tarx-toollog[postgres]'")
    if given := os.environ.get(VARIABLE):
        yield given.replace("postgresql://", "postgresql+psycopg://")
        return
    initdb = _program("initdb")
    if initdb is None:
        missing(f"no PostgreSQL: apt-get install postgresql, or set {VARIABLE}")
    with own_server() as server:
        yield server.url


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Make an empty database; yield its URL; drop it at the end."""
    # No pool: the server may have been started again meanwhile.
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield str(sa.make_url(server).set(database=name).render_as_string(hide_password=False))
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()


class Server:
    """A server of the tests' own, which can be stopped and started again on the same port.

    Args:
        programs: The folder of ``postgres`` and ``initdb``.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="toollog-postgres-"))
        self._user = _other_user(self._folder)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{self._port}/postgres"
        data = self._folder / "data"
        make = [programs / "initdb", "-D", data, "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, user=self._user, cwd=self._folder, check=True, **_QUIET)  # type: ignore[call-overload]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folder = self._folder
        settings = [
            f"port={self._port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={folder}",
            "fsync=off",
        ]
        options = (part for each in settings for part in ("-c", each))
        run = [self._programs / "postgres", "-D", folder / "data", *options]
        self._process = subprocess.Popen(run, user=self._user, cwd=folder, **_QUIET)  # type: ignore[call-overload]
        _wait_ready(self.url, self._process)

    @property
    def is_stopped(self) -> bool:
        """Whether it does not run."""
        return self._process is None or self._process.poll() is not None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it: SIGTERM waits for every client to leave, SIGINT ends their sessions, SIGQUIT is a crash."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(30)

    def remove(self) -> None:
        """Stop it where it runs, and remove its files."""
        if not self.is_stopped:
            self.stop()  # waits for no client: every test has closed its own
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def own_server() -> Iterator[Server]:
    """Yield a running server that the test may stop; where its programs are missing, skip the test, or fail in CI."""
    initdb = _program("initdb")
    if initdb is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no PostgreSQL: apt-get install postgresql")
    server = Server(initdb.resolve().parent)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _program(name: str) -> Path | None:
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    return max(Path(_PLACES).glob(f"*/bin/{name}"), default=None)


def _other_user(folder: Path) -> str | None:
    """Return whom the server is run as, where we are root, whom it refuses; the folder becomes theirs."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = _SUPERUSER if _SUPERUSER in known else "nobody"
    shutil.chown(folder, user)
    return user


def _wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    engine = sa.create_engine(url)
    deadline = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            assert process.poll() is None, "PostgreSQL ended before it was ready"
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.1)
        else:
            engine.dispose()
            return
