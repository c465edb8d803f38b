"""``docker-compose.yml`` and ``Dockerfile``: what can be seen without an engine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from tarx_toollog import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_port_is_published_on_this_machine_only() -> None:
    published = re.findall(r'^\s+- "([\d.:]*\d+:\d+)"$', COMPOSE, re.MULTILINE)
    assert len(published) == COMPOSE.count("ports:") == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_model_server_and_database_are_opt_in() -> None:
    services = COMPOSE.split("\nservices:\n")[1].split("\nvolumes:\n")[0]
    profiles = {
        name: re.findall(r'^    profiles: \["(\w+)"\]$', body, re.MULTILINE)
        for name, body in re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", services + "\n", re.MULTILINE)
    }
    assert profiles == {"toollog": [], "llama": ["llama"], "postgres": ["postgres"]}


def service(name: str) -> str:
    """Return the lines of one service."""
    (body,) = re.findall(rf"^  {name}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE)
    return str(body)


def test_what_waits_for_the_database_is_on_the_volume_whatever_the_database_is() -> None:
    """A URL has no folder beside it, and all but the volume is read-only."""
    (journal,) = re.findall(r"TOOLLOG_JOURNAL_DIR: (\S+)", service("toollog"))
    assert "read_only: true" in service("toollog")
    assert "- store:/data\n" in service("toollog")
    # That of the SQLite file: who moves to PostgreSQL keeps the key of marks, and what has not been stored yet.
    assert str(Settings(database="/data/toollog.db").journal_path) == journal


def test_the_url_of_the_profile_is_that_of_its_server() -> None:
    (urls,) = {frozenset(re.findall(r"postgresql\+psycopg://\S+", COMPOSE))}
    (url,) = urls
    found = sa.make_url(url)
    values = dict(re.findall(r"POSTGRES_(\w+): (?:\$\{\w+:-)?(\w+)", service("postgres")))

    assert {"DB": found.database, "USER": found.username, "PASSWORD": found.password} == values
    assert ("postgres", None) == (found.host, found.port)
    assert f"pg_isready --username={found.username} --dbname={found.database}" in service("postgres")
    assert "[postgres]" in DOCKERFILE


def test_the_settings_that_are_passed_exist() -> None:
    names = {name.lower() for name in re.findall(r"TOOLLOG_([A-Z_]+)", COMPOSE + DOCKERFILE)}
    assert names
    assert names <= set(Settings.model_fields)


def test_the_port_is_the_one_that_serve_listens_on() -> None:
    port = Settings.model_fields["port"].default
    assert f'"127.0.0.1:{port}:{port}"' in COMPOSE
    assert f"EXPOSE {port}" in DOCKERFILE


def test_the_container_does_not_run_as_root() -> None:
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.index("USER ") > DOCKERFILE.index("RUN ")


def test_all_that_is_copied_into_the_image_is_in_the_repository() -> None:
    for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split())


def compose_command() -> list[str] | None:
    """Return the command that this machine has: the plugin, or the older program of the same purpose."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    standalone = shutil.which("docker-compose")
    return [standalone] if standalone else None


def test_compose_accepts_the_file() -> None:
    command = compose_command()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is here; scripts/system_packages.sh says how")
    command += ["--file", str(ROOT / "docker-compose.yml"), "--profile", "postgres", "--profile", "llama"]
    done = subprocess.run([*command, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
