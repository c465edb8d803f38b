"""``toollog db prune | erase | gc | compact | restore``: making a log smaller, and putting a backup in its place."""

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.files import size_text
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.cli.progress import Progress

if TYPE_CHECKING:
    from tarx_toollog.store.retention.compact import Compacted
    from tarx_toollog.store.retention.counting import Removed
    from tarx_toollog.store.retention.erase import Erasure
    from tarx_toollog.store.retention.place import Place
    from tarx_toollog.store.retention.prune import Old
    from tarx_toollog.store.retention.restore import Restored

dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would go; change nothing.")


@click.command()
@click.option("--older-than", metavar="TIME", help="Conversations that rested so long: 90d, 12w.")
@click.option("--before", metavar="DATE", help="Conversations whose last exchange began before: 2026-05-31 (UTC).")
@click.option(
    "--keep",
    multiple=True,
    type=click.Choice(["labelled", "suites", "none"]),
    help="What stays however old it is: conversations with a label of a person, those that a scenario was frozen from, "
    "or nothing; may be repeated. Default: labelled and suites.",
)
@dry_run_option
@json_option
@pass_app
def prune(
    app: App, older_than: str | None, before: str | None, keep: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Delete whole conversations that are old, and exchanges that have none.

    Also while a server records. Replay runs and builds of training data stay. May be interrupted, and run again. What
    is deleted leaves room in the file; `toollog db compact` gives it back.

    \b
    toollog db prune --older-than 90d --dry-run
    toollog db prune --older-than 90d
    toollog db prune --before 2026-05-31 --keep none
    """
    from tarx_toollog.store.retention.prune import prune as do_prune
    from tarx_toollog.store.retention.prune import would_prune

    old = _old(older_than, before, keep)
    with _opened(app) as place, Progress("conversations", quiet=app.quiet) as progress:
        removed = would_prune(place, old) if dry_run else do_prune(place, old, progress)
    value = {"before": old.before, "keep": sorted(old.keep), "dry_run": dry_run, **_removed_value(removed)}
    emit_object(value, _removed_text(removed, dry_run=dry_run), _output(as_json))


@click.command()
@click.option(
    "--conversation",
    "conversations",
    metavar="ID",
    multiple=True,
    required=True,
    help="Its id, the beginning of it, or the id that its client gave; may be repeated.",
)
@click.option("--with-replays", is_flag=True, help="Also the scenarios that hold its texts, with their trials.")
@dry_run_option
@json_option
@pass_app
def erase(app: App, conversations: tuple[str, ...], with_replays: bool, dry_run: bool, as_json: bool) -> None:
    """Delete a conversation so that its bytes are in no file of the store any more.

    Rows, labels, the index of words, what waits in the journal, the quarantine; then the file is written anew, its
    write-ahead log emptied, and all of them are searched for what the conversation said. No process may record
    meanwhile. Backups and exported files are not touched.

    \b
    toollog db erase --conversation 0198c1f2 --dry-run
    toollog db erase --conversation 0198c1f2
    """
    from tarx_toollog.store.retention import erase as erasing

    with _opened(app) as place, Progress("conversations", quiet=app.quiet) as progress:
        if dry_run:
            report = erasing.would_erase(place, conversations, with_replays=with_replays)
        else:
            report = erasing.erase(place, conversations, with_replays=with_replays, steps=progress)
    value = {**_erasure_value(report), "dry_run": dry_run}
    emit_object(value, _erasure_text(report, dry_run=dry_run, with_replays=with_replays), _output(as_json))


@click.command()
@dry_run_option
@json_option
@pass_app
def gc(app: App, dry_run: bool, as_json: bool) -> None:
    """Delete shared rows that nothing refers to any more: messages, histories, tools, raw bodies.

    `prune` and `erase` do it themselves. Also while a server records.
    """
    from tarx_toollog.store.retention.gc import collect, would_collect

    with _opened(app) as place, Progress("rows", quiet=app.quiet) as progress:
        removed = would_collect(place) if dry_run else collect(place, progress)
    value = {"dry_run": dry_run, **_removed_value(removed)}
    emit_object(value, _removed_text(removed, dry_run=dry_run), _output(as_json))


@click.command()
@dry_run_option
@json_option
@pass_app
def compact(app: App, dry_run: bool, as_json: bool) -> None:
    """Give the space of deleted rows back: write the file anew, and empty its write-ahead log.

    No process may record meanwhile, and there has to be room for a second copy.
    """
    from tarx_toollog.store.retention.compact import compact as do_compact
    from tarx_toollog.store.retention.compact import would_compact

    with _opened(app) as place, Progress("steps", quiet=app.quiet) as progress:
        found = would_compact(place) if dry_run else do_compact(place, progress)
    value = {**dataclasses.asdict(found), "dry_run": dry_run}
    emit_object(value, _compacted_text(found), _output(as_json))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the database that is there; it is kept beside.")
@click.option("--discard", is_flag=True, help="Do not keep it.")
@dry_run_option
@json_option
@pass_app
def restore(app: App, file: Path, force: bool, discard: bool, dry_run: bool, as_json: bool) -> None:
    """Put a backup in the place of the database.

    FILE is checked, and brought to the schema of this version, before anything changes. What it replaces is kept beside
    as NAME.before-restore-MOMENT. What waits in the journal stays, and is taken in by who records next. No process may
    record meanwhile.
    """
    from tarx_toollog.store.retention.restore import restore as do_restore

    with Progress("steps", quiet=app.quiet) as progress:
        found = do_restore(app.settings(), file, force=force, discard=discard, dry_run=dry_run, steps=progress)
    value = {key: str(each) if isinstance(each, Path) else each for key, each in dataclasses.asdict(found).items()}
    emit_object({**value, "dry_run": dry_run}, _restored_text(found, dry_run=dry_run), _output(as_json))


@contextmanager
def _opened(app: App) -> Iterator["Place"]:
    from tarx_toollog.store.retention.place import opened

    with opened(app.settings()) as place:
        yield place


def _old(older_than: str | None, before: str | None, keep: Iterable[str]) -> "Old":
    """Return what the options mean by old."""
    from tarx_toollog.store.filters import parse_time
    from tarx_toollog.store.retention.prune import KEEPS, Old

    if older_than is not None and before is not None:
        raise click.UsageError("--older-than and --before exclude each other")
    moment = older_than if older_than is not None else before
    if moment is None:
        raise click.UsageError("say what is old: --older-than 90d, or --before 2026-05-31")
    kept = frozenset(keep) or frozenset(KEEPS)
    if "none" in kept and len(kept) > 1:
        raise click.UsageError("--keep none excludes the others")
    return Old(parse_time(moment), kept - {"none"})


def _output(as_json: bool) -> Output:
    return Output("json" if as_json else "auto")


def _removed_value(removed: "Removed") -> dict[str, Any]:
    return {"rows": removed.rows, "bytes": removed.n_bytes}


def _removed_text(removed: "Removed", *, dry_run: bool) -> str:
    if not removed.rows:
        return "nothing to delete"
    lines = [f"{name:<16} {n:>9}" for name, n in removed.rows.items()]
    total = sum(removed.rows.values())
    if dry_run:
        return "\n".join([*lines, f"{total} rows would go, with {size_text(removed.n_bytes)} (nothing was changed)"])
    return "\n".join([*lines, f"{total} rows went; `toollog db compact` gives their space back"])


def _erasure_value(report: "Erasure") -> dict[str, Any]:
    held = {name: getattr(report.held, name) for name in ("suites", "runs", "trials")}
    return {
        "conversations": report.conversations,
        **_removed_value(report.removed),
        "replays": {"scenarios": len(report.held.scenarios), **held},
        "exports": report.exports,
        "related": report.related,
        "journal_segments": report.waiting,
        "quarantine": report.quarantine,
        "not_touched": report.beside,
        "check": None if report.check is None else dataclasses.asdict(report.check),
    }


def _erasure_text(report: "Erasure", *, dry_run: bool, with_replays: bool) -> str:
    lines = [f"{name:<16} {n:>9}" for name, n in report.removed.rows.items()]
    total = sum(report.removed.rows.values())
    named = f"{len(report.conversations)} conversation{'s' if len(report.conversations) > 1 else ''}"
    if dry_run:
        size = size_text(report.removed.n_bytes)
        lines.append(f"{named}: {total} rows would go, with {size} (nothing was changed)")
    else:
        lines.append(f"{named}: {total} rows went; {_checked(report)}")
    if report.held.scenarios:
        fate = "would go, too" if with_replays and dry_run else "went, too" if with_replays else "hold its texts"
        lines.append(f"replay: {report.held.in_words()} {fate}{'' if with_replays else ' (--with-replays)'}")
    if report.waiting:
        lines.append(f"journal: {report.waiting} segments {'would be' if dry_run else 'were'} taken in before")
    lines += [f"quarantine: {name} held its texts, and went" for name in report.quarantine]
    if report.related:
        lines.append(f"not touched: {', '.join(report.related)}, which share its history up to where they part")
    if report.exports:
        lines.append(f"not touched: the files of {', '.join(report.exports)}, which hold answers of it")
    if report.beside:
        lines.append(f"not touched: {', '.join(report.beside)} beside the database")
    return "\n".join([*lines, "not touched: backups and exports, wherever they are"])


def _checked(report: "Erasure") -> str:
    check = report.check
    if check is None:
        return "what the server's files still hold was not looked at"
    if not check.searched:
        return "nothing in it is long enough to search the files for"
    if not check.left:
        return f"the files were searched for {check.searched} of its texts, and hold none of them"
    places = ", ".join(check.places) or "pages without a row"
    return (
        f"{check.left} of {check.searched} of its texts still stand in {places}: "
        "there somebody else says or calls the same"
    )


def _compacted_text(found: "Compacted") -> str:
    before = size_text(found.before)
    if found.after is None:
        free = (
            "the server does not say what is free" if found.free is None else f"about {size_text(found.free)} are free"
        )
        return f"{before}; {free}"
    return f"{before} -> {size_text(found.after)}"


def _restored_text(found: "Restored", *, dry_run: bool) -> str:
    latest = f", the latest of {found.last_at} (UTC)" if found.last_at else ""
    schema = f"schema {found.revision}{', brought up to date' if found.upgraded else ''}"
    lines = [f"{found.backup}: sound, {found.exchanges} exchanges{latest}, {schema}"]
    if found.missing:
        where = f"; they are in {found.kept_as}" if found.kept_as and not dry_run else ""
        lines.append(f"{found.missing} exchanges of the replaced database are not in it{where}")
    elif found.kept_as is not None and found.missing is None:
        lines.append("what the replaced database holds cannot be read")
    if found.waiting:
        lines.append(f"{found.waiting} segments wait in the journal: who records next takes them in")
    done = "would be restored" if dry_run else "restored"
    kept = f"; the one before {'would be' if dry_run else 'is'} {found.kept_as}" if found.kept_as else ""
    return "\n".join([*lines, f"{done} to {found.database}{kept}"])
