"""``toollog db datasette``: what Datasette needs to show the store well."""

from pathlib import Path

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.answers.datasette import metadata_text


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), default=Path("metadata.yaml"))
@click.option("--force", is_flag=True, help="Replace OUT when it exists.")
@pass_app
def datasette(app: App, out: Path, force: bool) -> None:
    """Write metadata for Datasette to OUT (metadata.yaml): descriptions of tables, views, columns, and ready queries.

    \b
    toollog db datasette metadata.yaml
    pip install 'datasette<1'
    datasette "$(toollog db path)" --metadata metadata.yaml

    Datasette shows whatever the log holds to everyone who can reach it: keep it on this machine.
    """
    path = app.settings().database_path
    if path is None:
        raise ConfigError("Datasette shows SQLite files only", hint="the ready queries run on PostgreSQL as well")
    if out.exists() and not force:
        raise ConfigError(f"{out} exists", hint="choose another name, or replace it with --force")
    try:
        out.write_text(metadata_text(path.stem), "utf-8")
    except OSError as error:
        raise click.FileError(str(out), error.strerror) from error
    app.say(f"written to {out}; show the log with: datasette {path} --metadata {out}")
