"""The plug-ins of docs/extending.md, taken out of the page, installed, and used."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.config import Settings
from tests.support.asgi import answering, drive, piece, query, recording, start, stored

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A file name in a paragraph of its own, and the block that follows it."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Write the files of the page into a folder as an installed package, and return the folder."""
    files = dict(FILE.findall((ROOT / "docs" / "extending.md").read_text("utf-8")))
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix in (".http", ".raw"):
            head, _, body = text.rstrip("\n").partition("\n\n")
            text = head.replace("\n", "\r\n") + "\r\n\r\n" + body
        path.write_bytes(text.encode())
    project = tomllib.loads(files["pyproject.toml"])["project"]
    entries = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
        for group, values in project["entry-points"].items()
    ]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", "utf-8"
    )
    (info / "entry_points.txt").write_text("\n".join(entries), "utf-8")
    return tmp_path


def run(folder: Path, *command: str) -> str:
    """Run Python where the package is installed: registries read their entry points once in a process."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_the_page_pass(installed: Path) -> None:
    report = run(
        installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "test_pip_ask.py"
    )

    assert "3 passed" in report


def test_a_plug_in_is_found_and_its_traffic_becomes_rows(installed: Path) -> None:
    found = json.loads(run(installed, "-c", "from tests.docs.test_extending import use; use()"))

    assert ["pip_ask", "middleware", "completed", "tool_calls", "asks", "pip-1", "a-17", 41, 9, None] == found[
        "exchange"
    ]
    assert [["q1", "tarx_recall", '{"query":"city"}', "ok", "ok", 1]] == found["calls"]
    assert [
        ["assistant", "In Lisbon."],
        ["assistant", "One moment."],
        ["system", "Be brief."],
        ["tool", "Lisbon"],
        ["user", "Where do I live?"],
    ] == sorted(found["messages"])
    assert [["prefix", 1, 2], ["id", "Lisbon"]] == found["next"]
    assert found["body"] == found["rebuilt"]


def use() -> None:
    """Send the capture of the page through the middleware, then its continuation; print what was stored."""
    from tarx_toollog import ToolLog, ToolLogMiddleware
    from tarx_toollog.wire.protocols import protocol_named
    from tests.support.protocol_checks import load_capture

    raw = load_capture(Path.cwd() / "captures", "ask_stream")
    body = json.loads(raw.request_body)
    lines = [json.loads(line) for line in raw.response_body.splitlines()]
    said = {"who": "pip", "says": "One moment.", "asks": [line["ask"] for line in lines if "ask" in line]}
    result = {"who": "skill", "ref": "q1", "says": "Lisbon"}
    following = {**body, "dialogue": [*body["dialogue"], said, result]}
    ending = b'{"say": "In Lisbon."}\n{"end": "said", "id": "a-18"}\n'
    with recording(Path.cwd()) as settings:
        for asked, answered in ((raw.request_body, raw.response_body), (json.dumps(following).encode(), ending)):
            pieces = [piece(answered[:20]), piece(answered[20:], more=False)]
            app = answering([start(headers=[(b"content-type", b"application/x-ndjson")]), *pieces])
            asyncio.run(drive(ToolLogMiddleware(app, settings=settings), [asked], path="/v1/ask"))
        found = {**rows(settings), "body": following}
        uid = stored(settings, "uid")[-1]["uid"]
    with ToolLog.open(settings=settings) as log:
        request = log.exchange(uid).request
    assert request is not None
    print(json.dumps({**found, "rebuilt": protocol_named("pip_ask").request_body(request)}))


def rows(settings: Settings) -> dict[str, Any]:
    first, second = stored(settings)
    columns = ["protocol", "leg", "outcome", "finish_reason", "finish_reason_raw", "response_model", "response_id"]
    columns += ["input_tokens", "output_tokens", "notes"]
    calls = query(settings, "SELECT call_id, name, arguments, argument_state, schema_state, offered FROM tool_call")
    results = query(settings, "SELECT r.match_how, m.text FROM tool_result r JOIN message m ON m.id = r.message_id")
    return {
        "exchange": [first[column] for column in columns],
        "calls": [list(call.values()) for call in calls],
        "messages": [list(row.values()) for row in query(settings, "SELECT role, text FROM message")],
        "next": [
            [second["conversation_how"], second["turn_no"], second["step_no"]],
            *[list(row.values()) for row in results],
        ],
    }


def test_a_scorer_and_a_format_are_found_and_used(installed: Path) -> None:
    found = json.loads(
        run(installed, "-c", "from tests.docs.test_extending import score_and_export; score_and_export()")
    )

    assert [[1.0, {}], [0.0, {"made": ["tarx_recall", "tarx_recall"]}], [None, {}]] == found["scores"]
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}]
    assert [{"messages": said}] == found["rows"]


def score_and_export() -> None:
    """Score three answers and export one exchange with the plug-ins; print what came out."""
    from tarx_toollog import ToolLog
    from tarx_toollog.export.options import ExportOptions
    from tarx_toollog.export.pipeline import run_export
    from tarx_toollog.model import LoggedCall
    from tarx_toollog.replay.matching import Call
    from tarx_toollog.replay.scenario import Recorded, ScenarioStep
    from tarx_toollog.replay.scoring import judge
    from tarx_toollog.store.filters import Filters
    from tarx_toollog.store.replays import Answer
    from tests.support.builders import assistant, exchange, user

    made = LoggedCall("u", "tarx_recall", "{}", "ok", "unchecked", True, True, "native", "call_a")
    recorded = Recorded({}, None, None)
    wanted = ScenarioStep(1, "u", (), (), {}, (Call("tarx_recall", {}),), recorded)
    text = ScenarioStep(1, "u", (), (), {}, (), recorded)
    scores = [
        judge(step, Answer(calls=calls))["one_call"]
        for step, calls in ((wanted, (made,)), (wanted, (made, made)), (text, ()))
    ]
    out = Path.cwd() / "train"
    with ToolLog.open(settings=Settings(database=str(Path.cwd() / "t.db")), read_only=False) as log:
        log.write([exchange([user("hi")], assistant("Hello."))])
        every = frozenset({"train", "dev", "eval"})
        run_export(log, out, ExportOptions(formats=("messages",), filters=Filters(splits=every)))
    lines = (out / "messages/messages.jsonl").read_text("utf-8").splitlines()
    print(json.dumps({"scores": [[s.value, s.detail] for s in scores], "rows": [json.loads(line) for line in lines]}))
