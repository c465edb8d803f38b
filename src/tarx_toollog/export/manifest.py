"""The manifest: how the rows were chosen, what was left out, and where each line comes from.

Nothing here depends on the clock, the machine or the path of the database: the same database and options give the
same bytes, and ``sha256sum`` tells two exports apart.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tarx_toollog._version import __version__
from tarx_toollog.export.files import create_private, jsonl_line, sha256_of
from tarx_toollog.store.schema import SCHEMA_REVISION
from tarx_toollog.store.spool import Entry, Spool, Written

MANIFEST_FILE = "manifest.json"
LINEAGE_FILE = "lineage.jsonl"
REPORT_FILE = "REPORT.md"
MANIFEST_VERSION = 2
"""Raised when a key changes its meaning."""


def write_lineage(folder: Path, spool: Spool) -> None:
    """Write, for each line of each training file, where it comes from."""
    with create_private(folder / LINEAGE_FILE) as stream:
        for written, entry in spool.written():
            if written.file is not None:
                stream.write(jsonl_line(_lineage(written, entry)))


def _lineage(written: Written, entry: Entry) -> dict[str, Any]:
    line: dict[str, Any] = {
        "file": f"{written.format}/{written.file}",
        "line": written.line,
        "example_id": (entry.hash or b"").hex(),
        "source": entry.source,
    }
    if entry.exchange_uid is not None:
        line |= {
            "exchange_uid": entry.exchange_uid,
            "conversation_uid": entry.conversation_uid,
            "turn_no": entry.turn_no,
            "step_no": entry.step_no,
        }
    if entry.answers is not None and entry.exchange_uid is not None:
        line["learned"] = [
            {
                "exchange_uid": answer.exchange_uid,
                "turn_no": answer.turn_no,
                "step_no": answer.step_no,
                "n_trained_tokens": answer.n_trained,
            }
            for answer in entry.learned
        ]
    if entry.file is not None:
        line |= {"from_file": entry.file, "from_line": entry.line}
    return line | {"n_tokens": entry.n_tokens, "n_trained_tokens": entry.n_trained, "tokens_from": entry.tokens_from}


def unfinished_manifest(names: Iterable[str]) -> str:
    """Return what stands in for the manifest while files are replaced: the names of all that is ours."""
    manifest = {
        "manifest_version": MANIFEST_VERSION,
        "unfinished": True,
        "files": [{"path": name} for name in names],
    }
    return json.dumps(manifest, indent=2, ensure_ascii=True) + "\n"


def manifest_text(folder: Path, report: Mapping[str, Any], *, last_exchange: int) -> str:
    """Return the manifest of what lies in ``folder``.

    Args:
        folder: Holds everything but the manifest.
        report: What the export did: its configuration, counts and figures.
        last_exchange: Key of the latest exchange when the export began.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    manifest = {
        "manifest_version": MANIFEST_VERSION,
        **report,
        "database": {"schema_revision": SCHEMA_REVISION, "last_exchange_id": last_exchange},
        "versions": {"tarx-toollog": __version__},
        "files": [
            {"path": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
            for name in files
        ],
    }
    return json.dumps(manifest, indent=2, ensure_ascii=True) + "\n"
