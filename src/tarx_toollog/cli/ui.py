"""``toollog ui``: the pages for analysts under uvicorn."""

import threading
import webbrowser

import click
import uvicorn

from tarx_toollog.capture.access import Access
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.listening import address, listen
from tarx_toollog.cli.login import login_name
from tarx_toollog.web.app import create_app
from tarx_toollog.web.warming import make_ready

PORT = 11451


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port to listen on; 0: any."
)
@click.option("--open", "opens", is_flag=True, help="Open the pages in the browser.")
@pass_app
def command(app: App, host: str, port: int, opens: bool) -> None:
    """Show the log as pages: what happens, conversations, tools, labels, replay.

    Open the address that is printed. On any address but this machine's own, it holds a token, which everybody needs who
    looks. Stop with Ctrl-C.
    """
    with app.log() as log:  # a database that cannot be read is said here, and not in the browser
        settings = log.settings
    access = Access.by_settings(settings, "pages", host)
    with listen(host, port) as listening:
        link = access.link(f"{address(listening)}/")
        click.echo(link)
        if opens:
            webbrowser.open(link)
        pages = create_app(settings, annotator=login_name(), access=access)
        # Beside the start, which it would make half a second longer; a first look would wait for its own otherwise.
        threading.Thread(target=make_ready, args=(settings,), name="toollog-warming", daemon=True).start()
        config = uvicorn.Config(
            pages,
            lifespan="off",
            log_level="debug" if app.debug else "warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody may say for another what address it comes from
        )
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            pass  # Ctrl-C is how it is meant to be stopped
