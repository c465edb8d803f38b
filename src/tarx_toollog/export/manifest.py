"""The manifest: how the rows were chosen, what was left out, and where each line comes from.

Nothing here depends on the clock, the machine or the path of the database: the same database and options give the
same bytes, and ``sha256sum`` tells two exports apart.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tarx_toollog._version import __version__
from tarx_toollog.export.example import Counts, Example
from tarx_toollog.export.files import jsonl_line, sha256_of
from tarx_toollog.export.formats import Location
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import SCHEMA_REVISION

MANIFEST_FILE = "manifest.json"
LINEAGE_FILE = "lineage.jsonl"
MANIFEST_VERSION = 1
"""Raised when a key changes its meaning."""


def lineage_line(location: Location, example: Example) -> str:
    """Return the line that links a line of a training file to the log."""
    return jsonl_line(
        {
            "file": location.file,
            "line": location.line,
            "example_id": example.example_id,
            "exchange_uid": example.exchange_uid,
            "conversation_uid": example.conversation_uid,
            "turn_no": example.turn_no,
            "step_no": example.step_no,
        }
    )


def manifest_text(
    folder: Path,
    *,
    format_name: str,
    filters: Filters,
    counts: Counts,
    gaps: Sequence[dict[str, Any]],
    last_exchange: int,
) -> str:
    """Return the manifest of what lies in ``folder``."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    manifest = {
        "manifest_version": MANIFEST_VERSION,
        "format": format_name,
        "unit": "step",
        "filters": filters.as_json(),
        "counts": counts.as_json(),
        "gaps": {row["kind"]: row["n"] for row in gaps},
        "database": {"schema_revision": SCHEMA_REVISION, "last_exchange_id": last_exchange},
        "versions": {"tarx-toollog": __version__},
        "files": [
            {"path": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
            for name in files
        ],
    }
    return json.dumps(manifest, indent=2, ensure_ascii=True) + "\n"
