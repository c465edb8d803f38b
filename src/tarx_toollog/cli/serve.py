"""``toollog serve``: the recording proxy under uvicorn."""

import socket

import click
import uvicorn

from tarx_toollog.capture.proxy import PLACE, ToolLogProxy
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.checks import folder
from tarx_toollog.cli.exits import say_error
from tarx_toollog.cli.listening import address, listen
from tarx_toollog.cli.login import login_name
from tarx_toollog.config import Settings
from tarx_toollog.errors import SchemaOutdatedError, StoreError
from tarx_toollog.store.engine import store_errors
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.app import toollog_pages
from tarx_toollog.web.guard import Access


@click.command()
@click.option("--upstream", metavar="URL", help="The model server; default: http://127.0.0.1:11435.")
@click.option("--host", help="Address to listen on; default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default: 11450.")
@pass_app
def command(app: App, upstream: str | None, host: str | None, port: int | None) -> None:
    """Record: pass requests on to the model server and log them.

    Set the base URL of the client to the address that is printed; nothing else changes for it. The pages are under
    /toollog of the same address (see `toollog ui`). Stop with Ctrl-C.
    """
    settings = app.settings(upstream=upstream, host=host, port=port)
    listening = listen(settings.host, settings.port)
    with listening:
        app.say(f"listening on {address(listening)}, passing on to {settings.upstream}")
        _say_what_is_recorded(app, settings)
        access = Access.on(settings.host)
        app.say(f"pages: {access.link(f'{address(listening)}{PLACE}/')}")
        _serve(settings, listening, access, debug=app.debug)


def _serve(settings: Settings, listening: socket.socket, access: Access, *, debug: bool) -> None:
    config = uvicorn.Config(
        ToolLogProxy(settings=settings, pages=toollog_pages(settings, annotator=login_name(), access=access)),
        log_level="debug" if debug else "warning",
        access_log=False,
        server_header=False,  # the answer is the model server's, not ours
        date_header=False,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # Ctrl-C is how it is meant to be stopped, and by now everything is in the database


def _say_what_is_recorded(app: App, settings: Settings) -> None:
    """Say where exchanges go, or what keeps them from getting there. Chats are passed on in any case."""
    journal = folder("journal folder", settings.journal_path)
    if not settings.enabled:
        app.say("recording nothing: the setting `enabled` is off")
    elif journal.state == "problem":
        say_error(f"recording nothing: {journal.text}", journal.hint)
    elif trouble := _database_trouble(settings):
        waiting = f"meanwhile exchanges wait in {settings.journal_path}"
        say_error(f"not recording yet: {trouble.message}", f"{trouble.hint}; {waiting}")
    else:
        app.say(f"recording into {settings.database}")


def _database_trouble(settings: Settings) -> StoreError | None:
    """Return what is wrong with a database that is there; an older one is upgraded when recording begins."""
    path = settings.database_path
    if path is None or not path.exists():
        return None
    try:
        with store_errors(settings):
            ToolLog.open(settings=settings).close()
    except SchemaOutdatedError:
        return None
    except StoreError as error:
        return error
    return None
