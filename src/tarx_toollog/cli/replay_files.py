"""``toollog replay import`` and ``export``: scenarios from files, and to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option, tag_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.errors import StoreError
from tarx_toollog.replay.files.suites import (
    FORMATS,
    REASONS,
    ExportReport,
    Format,
    ImportReport,
    export_set,
    import_file,
    place,
)

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("file", type=_FILE)
@tag_option
@click.option("--format", "form", type=click.Choice(FORMATS), help="Form of the file; default: as it looks.")
@click.option(
    "--answers",
    type=_FILE,
    metavar="FILE",
    help="For bfcl: the accepted answers; default: the file of the same name in possible_answer.",
)
@json_option
@pass_app
def import_(app: App, file: Path, tag: str, form: Format | None, answers: Path | None, as_json: bool) -> None:
    """Take scenarios from a file, in which a person says what is right.

    \b
    toollog replay import heldout.jsonl --tag heldout
    toollog replay import BFCL_v4_multiple.json --tag multiple
    """
    path = app.settings().database_path
    if path is not None and not path.exists():
        hint = "`toollog db upgrade` makes an empty one: tests from a file need no log"
        raise StoreError(f"no database at {path}", hint=hint)
    with writable(app) as log:
        found = import_file(log, file, tag, form, answers)
    emit_object(found.to_json(), _imported_text(found), Output("json" if as_json else "auto"))


@click.command("export")
@click.argument("tag")
@click.option("--format", "form", type=click.Choice(FORMATS), default="toollog", show_default=True, help="Form.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="PATH", help="File to write; for bfcl a folder. Default: stdout."
)
@json_option
@pass_app
def export(app: App, tag: str, form: Format, out: Path | None, as_json: bool) -> None:
    """Write the scenarios of TAG for a person, or for another tool, to read.

    What a form cannot say is counted and told. `replay import` reads every form.

    \b
    toollog replay export may > may.jsonl
    toollog replay export may --format inspect --out may-inspect.jsonl
    toollog replay export may --format promptfoo --out promptfooconfig.json
    toollog replay export may --format bfcl --out may-bfcl
    """
    if out is None and (as_json or form == "bfcl"):
        raise click.UsageError("--out is needed: bfcl is several files, and --json tells what is in them")
    with app.log() as log:
        found = export_set(log, tag, form)
    if out is None:
        for line in found.files[""]:
            emit_object(line, "", Output("jsonl"))
        app.say(_exported_text(found.report))
        return
    report = replace(found.report, files=place(found, out))
    emit_object(report.to_json(), _exported_text(report), Output("json" if as_json else "auto"))


@contextmanager
def writable(app: App) -> Iterator["ToolLog"]:
    """Open the store for writing; a database that is missing is not made."""
    from tarx_toollog.store.log import ToolLog

    with app.log():
        pass  # opening for writing would make a database that is missing
    with ToolLog.open(settings=app.settings(), read_only=False) as log:
        yield log


def _imported_text(report: ImportReport) -> str:
    equal = f"; {report.equal} more ask the same as another" if report.equal else ""
    read = f"read as {report.format}: {report.scenarios} scenarios with {report.steps} steps{equal}"
    if not report.is_new:
        return f"{read}\nthe suite {report.tag!r} is there already, with these scenarios"
    return f"{read}\nfrozen as {report.tag!r}. Gold: somebody said what is right"


def _exported_text(report: ExportReport) -> str:
    lines = [f"{report.scenarios} scenarios of {report.tag!r} as {report.cases} cases of {report.format}"]
    lines += [f"    {file}" for file in report.files]
    for title, counts in (("not written", report.left_out), ("written, but weaker than they are", report.weakened)):
        if counts:
            lines.append(f"{title}:")
            lines += [f"    {count:>6}  {REASONS[reason]}" for reason, count in counts.items()]
    return "\n".join(lines)
