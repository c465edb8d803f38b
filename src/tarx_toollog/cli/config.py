"""``toollog config``: the settings in force."""

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import output_options
from tarx_toollog.cli.output import Output, emit_rows
from tarx_toollog.config import Settings, load_with_sources
from tarx_toollog.errors import ConfigError

_NAMES = tuple(Settings.model_fields)


@click.group()
def group() -> None:
    """See the settings, and where each comes from."""


@group.command()
@output_options
@pass_app
def show(app: App, output: Output) -> None:
    """Show every setting: value, where that comes from, meaning."""
    try:
        settings, sources = load_with_sources({"database": app.database})
    except ConfigError as error:
        # Its hint is to come here.
        raise ConfigError(error.message, hint=f"mend or remove it; settings are: {', '.join(_NAMES)}") from error
    values = settings.model_dump(mode="json")
    rows = [
        {"name": name, "value": values[name], "source": sources[name], "meaning": field.description}
        for name, field in Settings.model_fields.items()
    ]
    emit_rows(rows, ("name", "value", "source", "meaning"), output, wrap=("value", "source", "meaning"))
