"""``toollog serve``: the recording proxy under uvicorn."""

import socket

import click
import uvicorn

from tarx_toollog.capture.access import Access
from tarx_toollog.capture.proxy import PLACE, ToolLogProxy
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.checks import folder
from tarx_toollog.cli.exits import say_error
from tarx_toollog.cli.listening import address, listen
from tarx_toollog.cli.login import login_name
from tarx_toollog.config import Settings
from tarx_toollog.errors import SchemaOutdatedError, StoreError
from tarx_toollog.store.engine import shown, store_errors
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.secret import token_path
from tarx_toollog.web.later import PagesLater


@click.command()
@click.option("--upstream", metavar="URL", help="The model server; default: http://127.0.0.1:11435.")
@click.option("--host", help="Address to listen on; default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default: 11450.")
@click.option("--otlp", metavar="URL", help="An OpenTelemetry collector that gets a span of each exchange.")
@pass_app
def command(app: App, upstream: str | None, host: str | None, port: int | None, otlp: str | None) -> None:
    """Record: pass requests on to the model server and log them.

    Set the base URL of the client to the address that is printed; nothing else changes for it. The pages are under
    /toollog of the same address (see `toollog ui`). On any address but this machine's own, clients need a token; where
    that is, is printed, too. Stop with Ctrl-C.
    """
    settings = app.settings(upstream=upstream, host=host, port=port, otlp=otlp)
    listening = listen(settings.host, settings.port)
    with listening:
        app.say(f"listening on {address(listening)}, passing on to {settings.upstream}")
        _say_what_is_recorded(app, settings)
        proxy = _proxy(app, settings, address(listening))
        _serve(proxy, listening, debug=app.debug)


def _proxy(app: App, settings: Settings, where: str) -> ToolLogProxy:
    """Return the proxy with its pages, and say how one gets in."""
    access = Access.by_settings(settings, "chat", settings.host)
    to_pages = Access.by_settings(settings, "pages", settings.host)
    app.say(f"pages: {to_pages.link(f'{where}{PLACE}/')}")
    if access.token is not None:
        app.say(f"clients need the token in {token_path(settings, 'chat')}, as their API key or as x-toollog-token")
    pages = PagesLater(settings, annotator=login_name(), access=to_pages)
    return ToolLogProxy(settings=settings, pages=pages, access=access)


def _serve(proxy: ToolLogProxy, listening: socket.socket, *, debug: bool) -> None:
    config = uvicorn.Config(
        proxy,
        log_level="debug" if debug else "warning",
        access_log=False,
        server_header=False,  # the answer is the model server's, not ours
        date_header=False,
        proxy_headers=False,  # nobody may say for another what address it comes from
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
        app.say(f"recording into {shown(settings)}")


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
