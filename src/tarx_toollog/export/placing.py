"""Moves a whole export to its place, and takes away what an earlier one wrote there: that, and nothing else.

Trainers put their products beside the rows: ``adapters``, a GGUF file, a script that somebody changed. So only what the
manifest of the earlier export lists is ours to remove.

*Theory.* Many files cannot be replaced at once. So all that can be known is checked before the first is touched; then
a manifest is put there that lists the files of both exports and says that it is unfinished; the manifest of the new
export goes last. Whoever is killed in between leaves a folder in which every file of ours is listed, and a later
export removes them all.
"""

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from tarx_toollog.errors import ConfigError, ToolLogError
from tarx_toollog.export.files import write_private
from tarx_toollog.export.manifest import LINEAGE_FILE, MANIFEST_FILE, REPORT_FILE, unfinished_manifest
from tarx_toollog.export.scratch import is_scratch

_ALWAYS = (MANIFEST_FILE, LINEAGE_FILE, REPORT_FILE)


def resolved(out: Path) -> Path:
    """Return the folder that is meant, whatever links lead there: it, not the link, is filled and has a disk."""
    return Path(os.path.realpath(out))


def require_free(out: Path, *, force: bool, formats: Iterable[str] = ()) -> None:
    """Refuse a folder in use, and one that has no room for the names of an export.

    Raises:
        ConfigError: It holds something, and nobody wants that replaced; or a file is where a folder must be.
        ToolLogError: It cannot be written.
    """
    home = resolved(out)
    if os.path.lexists(home) and not home.is_dir():
        raise ConfigError(f"{out} is a file", hint="name a folder")
    if not home.is_dir():
        return
    if not force and any(not is_scratch(path) for path in home.iterdir()):
        raise ConfigError(f"{out} is not empty", hint="choose a new folder, or replace its export with --force")
    _require_places(home, [home / name for name in formats], [home / name for name in _ALWAYS], set(_earlier(home)))


def place(folder: Path, out: Path) -> tuple[str, ...]:
    """Move everything in ``folder`` to ``out``, a resolved path; return the names of the files.

    What an earlier export wrote is removed: a ``valid.jsonl`` of last week would be trained on today.

    Raises:
        ConfigError: A file is where a folder must be, or a folder where a file must be. Nothing was touched.
        ToolLogError: A folder cannot be written. Nothing was touched.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name == MANIFEST_FILE)  # who sees a finished manifest sees a whole export
    earlier, targets = _earlier(out), [out / name for name in names]
    _require_places(out, {target.parent for target in targets} - {out}, targets, set(earlier))
    _list_both(folder, out, earlier, targets)
    _remove(out, [path for path in earlier if path not in targets])
    for name, target in zip(names, targets, strict=True):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).replace(target)
    return tuple(names)


def _list_both(folder: Path, out: Path, earlier: list[Path], targets: list[Path]) -> None:
    """Put the unfinished manifest in the place of the earlier one.

    What lies under the name of a new file and is not ours is replaced later, and not listed before: until then it is
    somebody's.
    """
    ours = {*earlier, *(target for target in targets if not os.path.lexists(target))} - {out / MANIFEST_FILE}
    listing = folder.with_name(f"{folder.name}.{MANIFEST_FILE}")
    write_private(listing, unfinished_manifest(sorted(path.relative_to(out).as_posix() for path in ours)))
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    listing.replace(out / MANIFEST_FILE)


def _earlier(out: Path) -> list[Path]:
    """Return the files that the manifest of an earlier export lists; none where there is no manifest of ours."""
    try:
        listed = json.loads((out / MANIFEST_FILE).read_bytes())["files"]
        paths = [out / str(file["path"]) for file in listed]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    files = (path for path in paths if path.is_symlink() or path.is_file())
    return [path for path in files if path.parent.resolve().is_relative_to(out)]  # whoever may have written it


def _require_places(home: Path, folders: Iterable[Path], files: Iterable[Path], removed: Collection[Path]) -> None:
    """Refuse what would stop the placing half-way; ``removed`` are files that make room."""
    for file in files:
        if file.is_dir() and not file.is_symlink():
            raise ConfigError(f"{file} is a folder, and a file has to go there", hint="move it away")
    for folder in sorted({*folders, *(path.parent for path in removed)} - {home}):
        for path in (folder, *folder.parents):
            if path == home:
                break
            if os.path.lexists(path) and not path.is_dir() and path not in removed:
                raise ConfigError(f"{path} is a file, and a folder has to go there", hint="move it away")
            _require_writable(path, home)
    _require_writable(home, home)


def _require_writable(path: Path, home: Path) -> None:
    if not path.is_dir():
        return
    if not os.access(path, os.W_OK | os.X_OK):
        raise ToolLogError(f"cannot write {path}: Permission denied", hint="choose another folder")
    if path.stat().st_dev != home.stat().st_dev:  # files are moved, and a move cannot leave a disk
        raise ConfigError(f"{path} is on another disk than {home}", hint="move it away, or choose another folder")


def _remove(out: Path, files: list[Path]) -> None:
    """Remove files, and the folders that are empty without them."""
    for path in files:
        path.unlink(missing_ok=True)
    parents = {parent for path in files for parent in path.parents if out in parent.parents}
    for parent in sorted(parents, key=lambda parent: len(parent.parts), reverse=True):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
