"""A log with a few chains to replay, models that answer them, and the figures of a run that must not vary."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tarx_toollog.replay.reports.report import Report, build_report, trial_rows
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.endpoint import Patience
from tarx_toollog.replay.running.runner import RunRequest
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, last_user, results_since, saying

RECALL = ("recall", {"query": "home"})
REMEMBER = ("remember", {"text": "Porto", "kind": "fact"})
CHAIN = (calling(RECALL), calling(REMEMBER), saying("done"))
USERS = ("one", "two", "three", "four")
HASTY = Patience(retries=2, first_wait_s=0.01, loading_s=5.0, read_timeout_s=5.0)


def write_log(path: str | Path, users: tuple[str, ...] = USERS) -> None:
    """Write a log with a turn of three steps for each user, frozen under the tag ``t``."""
    with ToolLog.open(path, read_only=False) as log:
        for user in users:
            Chat(log, user).turn(user, *CHAIN)
        build(log, "t", EVERY_SPLIT)


def right(body: Json) -> Json:
    """Answer as in the log."""
    return CHAIN[results_since(body)]


def mostly_right(body: Json) -> Json:
    """Answer as in the log, but call another tool in the second step of the turn that begins with ``two``."""
    if (last_user(body), results_since(body)) == ("two", 1):
        return calling(("save", {"title": "Porto"}))
    return right(body)


def request(model: Any, name: str = "r", **changes: Any) -> RunRequest:
    """Return the request for a run over ``t``; ``model`` has a ``url``."""
    return replace(RunRequest(name, "t", model.url, Overrides("tuned"), patience=HASTY), **changes)


def figures(report: Report) -> dict[str, Any]:
    """Return what must not depend on who asked what when."""
    found = report.to_json()
    del found["run"]
    clean: dict[str, Any] = without_uids(found)
    return clean


def without_uids(value: Any) -> Any:
    """Take the uids of exchanges out of a JSON value."""
    if isinstance(value, dict):
        return {key: without_uids(each) for key, each in value.items() if key != "exchange_uid"}
    return [without_uids(each) for each in value] if isinstance(value, list) else value


def result(database: str | Path, name: str, *, anywhere: bool = False) -> str:
    """Return everything that a run says, its own identity and moments apart, as text to compare to the byte.

    Args:
        database: Of the log.
        name: Of the run.
        anywhere: Leave out at which endpoints it was asked, too.
    """
    with ToolLog.open(database) as log:
        report = build_report(log, name).to_json()
        rows = trial_rows(log, name)
    for key in ("name", "uid", "started_at", "ended_at", *(("endpoint", "server", "params") if anywhere else ())):
        del report["run"][key]
    return json.dumps(without_uids([report, rows]), default=str)


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tarx_toollog", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
