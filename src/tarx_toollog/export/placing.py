"""Moves a whole export to its place, and takes away what an earlier one wrote there: that, and nothing else.

Trainers put their products beside the rows: ``adapters``, a GGUF file, a script that somebody changed. So only what the
manifest of the earlier export lists is ours to remove.
"""

import json
from pathlib import Path

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.manifest import MANIFEST_FILE


def require_free(out: Path, *, force: bool) -> None:
    """Refuse a folder in use.

    Raises:
        ConfigError: It holds something, and nobody wants that replaced; or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file", hint="name a folder")
    if not force and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty", hint="choose a new folder, or replace its export with --force")


def place(folder: Path, out: Path) -> tuple[str, ...]:
    """Move everything in ``folder`` to ``out``; return the names of the files.

    What an earlier export wrote is removed: a ``valid.jsonl`` of last week would be trained on today.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name == MANIFEST_FILE)  # who sees a manifest sees a whole export
    earlier = _earlier(out)
    (out / MANIFEST_FILE).unlink(missing_ok=True)
    _remove(out, earlier)
    for name in names:
        target = out / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).replace(target)
    return tuple(names)


def _earlier(out: Path) -> list[Path]:
    """Return the files that the manifest of an earlier export lists; none where there is no manifest of ours."""
    try:
        listed = json.loads((out / MANIFEST_FILE).read_bytes())["files"]
        paths = [out / str(file["path"]) for file in listed]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    home = out.resolve()
    return [path for path in paths if path.parent.resolve().is_relative_to(home)]  # whoever may have written it


def _remove(out: Path, files: list[Path]) -> None:
    """Remove files, and the folders that are empty without them."""
    for path in files:
        path.unlink(missing_ok=True)
    parents = {parent for path in files for parent in path.parents if out in parent.parents}
    for parent in sorted(parents, key=lambda parent: len(parent.parts), reverse=True):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
