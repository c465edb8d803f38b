"""What ``toollog doctor`` looks at. Each check returns findings; none changes anything, none raises."""

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from tarx_toollog.cli.files import Finished, size_text, waiting_in
from tarx_toollog.config import ENV_PREFIX, Settings, load_with_sources
from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.store import maintenance, quarantine
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.status import status
from tarx_toollog.store.engine import shown, store_errors
from tarx_toollog.store.log import ToolLog

PROBE_TIMEOUT_S = 2.0  # a model server on this machine answers /v1/models in milliseconds, also while it generates
MIN_FREE_BYTES = 512 * 2**20  # the write-ahead log and a backup of a busy log need this much room
_MAX_BODY = 2**20
_LOADING = 503

# sqlite.org/wal.html#walresetbug: two connections that checkpoint at once may damage the file.
_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))

_BESIDE = "SQLite must write beside the log to read it: copy it into a folder that can be written, or mend that folder"

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: ``ok``, a ``note`` that is good to know, or a ``problem`` that stands in the way."""

    check: str
    state: State
    text: str
    hint: str = ""
    """What to do about it."""

    def as_json(self) -> dict[str, str]:
        """Return the finding as a dict."""
        return asdict(self)


def examine(database: str | None) -> Iterator[Finding]:
    """Yield all findings, in the order in which things have to work.

    Args:
        database: The ``--database`` of the command line.
    """
    try:
        settings, _ = load_with_sources({"database": database})
    except ConfigError as error:
        yield Finding("settings", "problem", error.message, error.hint)
        return  # without settings there is nothing to look at
    yield _environment()
    yield model_server(settings.upstream)
    if (path := settings.database_path) is not None:
        yield folder("folder", path.parent)
        yield disk(path.parent)
    yield folder("journal folder", settings.journal_path)
    yield quarantined(settings.journal_path)
    yield from store(settings)
    yield sqlite_library(maintenance.sqlite_version())


def _environment() -> Finding:
    """Look for variables that look like settings and are none: nobody reads them."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    if strange := sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known):
        near = get_close_matches(strange[0], known, 1)
        hint = f"is {near[0]} meant?" if near else "`toollog config show` lists the settings"
        return Finding("settings", "note", f"no setting is called {', '.join(strange)}", hint)
    return Finding("settings", "ok", "all settings are valid")


def model_server(upstream: str) -> Finding:
    """Ask the upstream for its models."""
    name = "model server"
    url = f"{upstream}/v1/models"
    # The environment's HTTP proxy must not stand between two programs of one machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_TIMEOUT_S) as answer:
            return _models_answer(upstream, answer.read(_MAX_BODY))
    except urllib.error.HTTPError as error:
        error.close()
        return _http_error(upstream, error.code)
    except urllib.error.URLError as error:
        reason: object = error.reason
    except (OSError, ValueError) as error:  # a time-out while reading; an answer that is not HTTP
        reason = error
    if isinstance(reason, ConnectionRefusedError):
        hint = "start the model server, or say where it is: TOOLLOG_UPSTREAM=http://127.0.0.1:PORT"
        return Finding(name, "problem", f"nothing listens at {upstream}", hint)
    if isinstance(reason, TimeoutError):
        hint = "see whether it is busy or hangs, or set TOOLLOG_UPSTREAM"
        return Finding(name, "problem", f"{upstream} did not answer within {PROBE_TIMEOUT_S:g} s", hint)
    return Finding(name, "problem", f"{upstream} cannot be reached: {reason}", "set TOOLLOG_UPSTREAM")


def folder(name: str, path: Path) -> Finding:
    """Look whether files can be made in ``path``, or whether it can be made itself."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir():
        return Finding(name, "problem", f"{existing} is not a folder", "choose another place: TOOLLOG_DATABASE")
    if not os.access(existing, os.W_OK | os.X_OK) or os.statvfs(existing).f_flag & os.ST_RDONLY:
        hint = f"make it writable (chmod u+rwx {existing}), or choose another place: TOOLLOG_DATABASE"
        return Finding(name, "problem", f"{existing} is read-only for this user", hint)
    return Finding(name, "ok", f"{path} can be written" if existing == path else f"{path} can be made")


def disk(path: Path) -> Finding:
    """Look at the free space."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        return Finding("disk", "problem", f"only {size_text(free)} are free at {existing}", "make room")
    return Finding("disk", "ok", f"{size_text(free)} are free")


def store(settings: Settings) -> Iterator[Finding]:
    """Look at the database: schema, lock, permissions, and what it says of itself."""
    path = settings.database_path
    if path is not None and not path.exists():
        hint = "`toollog serve` makes it, or the middleware with the first chat"
        yield Finding("database", "note", f"there is no database at {path} yet", hint)
        yield journal(settings.journal_path, lambda _: ())
        return
    try:
        with store_errors(settings), ToolLog.open(settings=settings) as log:
            figures = status(log.engine)
            losses = queries.losses(log.engine)
            waiting = journal(settings.journal_path, lambda uids: queries.finished(log.engine, uids))
    except StoreError as error:
        # The hint of this error is to ask the doctor, who is asked already.
        hint = _BESIDE if "unable to open" in error.message else error.hint
        yield Finding("database", "problem", error.message, hint)
        return
    yield Finding("database", "ok", f"{shown(settings)}: {figures['exchanges']} exchanges")
    if path is not None:
        yield from _file(path)
    yield _losses(losses)
    yield _interrupted(figures["interrupted"])
    yield waiting


def journal(path: Path, finished: Finished) -> Finding:
    """Look for exchanges that wait in the journal."""
    waiting = waiting_in(path, finished)
    if waiting.stuck:
        text = f"a process that records has not stored {waiting.stuck} exchanges for more than a minute"
        return Finding("journal", "problem", text, "see its log: it says what keeps it from the database")
    if waiting.left_behind:
        text = f"{waiting.left_behind} exchanges of a process that died wait in {path}"
        hint = "start `toollog serve` or the application that records: it takes them in first"
        return Finding("journal", "problem", text, hint)
    return Finding("journal", "ok", "nothing waits in the journal")


def quarantined(path: Path) -> Finding:
    """Look for bytes that could not be stored."""
    held = quarantine.held_in(path)
    if not held.n_files:
        return Finding("quarantine", "ok", "nothing had to be put aside")
    where = path / quarantine.FOLDER
    text = f"{held.n_files} files ({size_text(held.n_bytes)}) that could not be stored lie in {where}"
    hint = "report the error that stands in the table gap, keep the files for its mending, or delete them"
    return Finding("quarantine", "problem", text, hint)


def sqlite_library(version: tuple[int, ...]) -> Finding:
    """Look whether the SQLite library has the WAL-reset bug."""
    shown = ".".join(map(str, version))
    low, high = _WAL_RESET_BUG
    if low <= version <= high:
        text = f"SQLite {shown} can damage a database that two programs checkpoint at once; toollog lets only one"
        hint = "do not write to the file with other programs, or use a Python with SQLite 3.51.3 or newer"
        return Finding("sqlite", "note", text, hint)
    return Finding("sqlite", "ok", f"SQLite {shown}")


def _models_answer(upstream: str, body: bytes) -> Finding:
    try:
        models: Any = json.loads(body)["data"]
        names = [str(model["id"]) for model in models]
    except (ValueError, TypeError, KeyError, RecursionError):
        return _not_a_model_server(upstream, "its /v1/models is not a list of models")
    return Finding("model server", "ok", f"{upstream} offers {', '.join(names) or 'no model'}")


def _http_error(upstream: str, status: int) -> Finding:
    if status == _LOADING:
        return Finding("model server", "note", f"{upstream} is still loading its model", "wait, and ask again")
    if status in (401, 403):
        return Finding("model server", "ok", f"{upstream} answers, and wants an API key from the client")
    return _not_a_model_server(upstream, f"it answers /v1/models with status {status}")


def _not_a_model_server(upstream: str, why: str) -> Finding:
    hint = "set TOOLLOG_UPSTREAM to the base URL of the model server, without /v1"
    return Finding("model server", "problem", f"{upstream} is not an OpenAI-style model server: {why}", hint)


def _file(path: Path) -> Iterator[Finding]:
    if obstacle := maintenance.write_obstacle(path):
        locked = "locked" in obstacle or "busy" in obstacle
        hint = "find the program that keeps it open (lsof), and end it" if locked else f"see `ls -l {path}`"
        yield Finding("write lock", "problem", f"{path} cannot be written: {obstacle}", hint)
    else:
        yield Finding("write lock", "ok", "a writer can get the lock")
    if path.stat().st_mode & 0o077:
        yield Finding("permissions", "note", f"other users can read {path}", f"chmod 600 {path}")


def _losses(losses: list[dict[str, Any]]) -> Finding:
    count = sum(row["n"] for row in losses)
    if not count:
        return Finding("gaps", "ok", "nothing was lost")
    kinds = ", ".join(f"{row['n']} {row['kind']}" for row in losses)
    hint = 'toollog db query "SELECT kind, from_at, to_at, n, detail FROM gap"'
    return Finding("gaps", "note", f"{count} exchanges could not be kept ({kinds})", hint)


def _interrupted(count: int) -> Finding:
    if not count:
        return Finding("interrupted", "ok", "no exchange was cut off by the death of a process")
    text = f"{count} exchanges were cut off by the death of the process that recorded them"
    return Finding("interrupted", "note", text, "toollog log list --outcome interrupted")
