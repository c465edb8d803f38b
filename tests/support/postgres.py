"""A real PostgreSQL: the one that ``TOOLLOG_TEST_POSTGRES`` names, or one that is started for the tests.

The variable holds the URL of a server on which databases may be made, ``postgresql://user@host:port/database``.
"""

import importlib.util
import os
import pwd
import shutil
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
    with _started(initdb.resolve().parent) as url:
        yield url


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Make an empty database; yield its URL; drop it at the end."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield str(sa.make_url(server).set(database=name).render_as_string(hide_password=False))
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()


@contextmanager
def _started(programs: Path) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="toollog-postgres-"))
    user = _other_user(folder)
    data, port = folder / "data", free_port()
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    make = [programs / "initdb", "-D", data, "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(make, user=user, cwd=folder, check=True, **quiet)  # type: ignore[call-overload]
    settings = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"]
    run = [programs / "postgres", "-D", data, *(part for each in settings for part in ("-c", each))]
    process = subprocess.Popen(run, user=user, cwd=folder, **quiet)  # type: ignore[call-overload]
    try:
        url = f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{port}/postgres"
        _wait_ready(url, process)
        yield url
    finally:
        process.terminate()  # waits for no client: every test has closed its own
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


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
