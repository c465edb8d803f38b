"""``toollog builds``: which builds of a model answered, and names for them."""

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import output_options
from tarx_toollog.cli.output import Output, Row, cell_text, emit_object, emit_rows
from tarx_toollog.errors import ConfigError
from tarx_toollog.store import builds

COLUMNS = (
    "build_uid",
    "name",
    "label",
    "server",
    "server_version",
    "model",
    "family",
    "n_params",
    "quantization",
    "quantization_raw",
    "file_name",
    "file_digest",
    "size",
    "n_ctx",
    "n_ctx_train",
    "chat_template_hash",
    "lora",
    "upstream",
    "first_seen_at",
    "last_seen_at",
    "n_exchanges",
    "n_tool_calls",
)
_FOR_PEOPLE = (
    "build_uid",
    "name",
    "label",
    "model",
    "quantization",
    "n_ctx",
    "server",
    "n_exchanges",
    "n_tool_calls",
    "last_seen_at",
)
_SPARE = ("last_seen_at", "server", "model", "n_ctx", "n_tool_calls")
"""What a narrow terminal does without; the first goes first."""


@click.group()
def group() -> None:
    """See which builds of a model answered: list, show, label."""


@group.command("list")
@output_options
@pass_app
def list_(app: App, output: Output) -> None:
    """List builds, the latest seen first.

    A build is what may answer differently: weights, quantization, adapters, chat template, context and server.
    """
    with app.log() as log:
        columns = _FOR_PEOPLE if output.is_for_people else COLUMNS
        if not emit_rows(builds.builds(log.engine), columns, output, spare=_SPARE):
            app.say("no build is known; a server is asked when its first answer has passed")


@group.command()
@click.argument("name", metavar="BUILD")
@output_options
@pass_app
def show(app: App, name: str, output: Output) -> None:
    """Show one build: its facts, and where and when it was seen.

    BUILD is a build_uid of `toollog builds list`, the beginning of one, or a label.
    """
    with app.log() as log:
        found = builds.build_detail(log.engine, name)
    emit_object(found, _text(found), output)


@group.command()
@click.argument("name", metavar="BUILD")
@click.argument("label")
@pass_app
def label(app: App, name: str, label: str) -> None:
    """Give a build a name, such as "base" or "fine-tune v2"; "" takes it away.

    BUILD is a build_uid of `toollog builds list`, the beginning of one, or its label so far. Several builds may have
    the same label: whoever groups by it counts them together.
    """
    if label != label.strip():
        raise ConfigError(f"the label {label!r} begins or ends with a space", hint="leave the space out")
    with app.log() as log:
        uid = builds.build_detail(log.engine, name)["build_uid"]
        settings = log.settings
    builds.set_label(settings, uid, label or None)
    app.say(f"{uid}: {label or 'no label'}")


def _text(found: Row) -> str:
    """Return a build as lines of name and value."""
    lines = [f"{name:<20}{cell_text(found[name])}" for name in COLUMNS if found[name] not in (None, [])]
    for period in found["sightings"]:
        where = f"{period['upstream']} as {period['model'] or '(no name)'}"
        lines.append(f"{'seen':<20}{cell_text(period['from_at'])} to {cell_text(period['to_at'])} at {where}")
    return "\n".join(lines)
