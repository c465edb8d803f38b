"""Plain Datasette shows a log with its descriptions and queries; DuckDB attaches it and gives the same answers."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tarx_toollog.store.answers.ready import ReadyQuery, ready_queries
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.views import VIEWS
from tests.consumers.environments import python_of, read_in
from tests.support.analyst_log import write_analyst_log
from tests.support.ready_answers import ANSWERS, GIVEN, plain
from tests.unit.cli.samples import run


@pytest.fixture(scope="module")
def analysts() -> Path:
    """Python with Datasette and DuckDB."""
    return python_of(".venv-analysts", "ci")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.db"
    write_analyst_log(path)
    return path


@pytest.fixture(scope="module")
def datasette(analysts: Path, database: Path) -> Iterator[httpx.Client]:
    """Yield a client of a Datasette that was told what ``toollog db datasette`` writes."""
    metadata = database.with_name("metadata.yaml")
    assert run("--database", str(database), "db", "datasette", str(metadata)).exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command: list[str | Path] = [analysts.parent / "datasette", "serve", database, "--metadata", metadata]
    output = database.with_name("datasette.txt")
    with output.open("w") as stream:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=stream, stderr=stream, cwd=database.parent)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            _wait_ready(client, process, output)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _wait_ready(client: httpx.Client, process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("/-/versions.json")
        except httpx.TransportError:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        else:
            return


@pytest.mark.parametrize("query", ready_queries(), ids=lambda query: str(query.name))
def test_datasette_answers_each_ready_query_with_its_fields_left_empty(
    datasette: httpx.Client, query: ReadyQuery
) -> None:
    given = GIVEN.get(query.name, {})
    page, data = (datasette.get(f"/log/{query.name}{end}", params=given) for end in ("", ".json"))

    assert (200, 200) == (page.status_code, data.status_code)
    assert query.title in page.text.replace("&#39;", "'")
    found = data.json()
    assert ANSWERS[query.name] == plain(found["columns"], found["rows"])


def test_a_field_of_datasette_restricts_what_is_asked(datasette: httpx.Client) -> None:
    given = {"tool": "tarx_recall", "since": "2026-10-01", "limit": "5"}

    assert [["tarx_recall", 2]] == [
        row[:2] for row in datasette.get("/log/failing_tools.json", params=given).json()["rows"]
    ]


def test_datasette_shows_a_sentence_for_each_view_and_column(datasette: httpx.Client) -> None:
    for view in VIEWS:
        page = datasette.get(f"/log/{view.name}", params={"_size": "1"})
        if view.name.startswith("v_replay"):
            continue  # their rows are of replay runs, and there are none
        assert page.status_code == 200
        text = page.text.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert view.about in text
        assert [] == [column for column, sentence in view.columns.items() if sentence not in text]
    assert "The loss ledger" in datasette.get("/log/gap").text


def test_duckdb_attaches_the_file_and_answers_each_ready_query(analysts: Path, database: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps({query.name: query.filled(GIVEN.get(query.name)) for query in ready_queries()}))

    answers = read_in(analysts, "read_duckdb.py", database, queries)

    assert ANSWERS == {name: plain(found["columns"], found["rows"]) for name, found in answers.items()}


def test_duckdb_counts_the_rows_of_each_view_as_sqlite_does(analysts: Path, database: Path, tmp_path: Path) -> None:
    views = [view.name for view in VIEWS if not view.name.startswith("v_replay")]
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps({view: f"SELECT COUNT(*) AS n FROM {view}" for view in views}))

    answers = read_in(analysts, "read_duckdb.py", database, queries)

    with ToolLog.open(database) as log:
        counted = {view: [list(row) for row in log.query(f"SELECT COUNT(*) AS n FROM {view}").rows] for view in views}
    assert counted == {name: found["rows"] for name, found in answers.items()}
    assert all(counted.values())
