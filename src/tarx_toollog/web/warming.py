"""What somebody who looks first would wait for, done before anybody looks."""

import gc

from tarx_toollog.config import Settings
from tarx_toollog.errors import ToolLogError
from tarx_toollog.store.answers.overview import choices, overview
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.site import compile_templates


def make_ready(settings: Settings) -> None:
    """Compile all templates, that of the first page first, and ask once what it asks.

    For a process that serves pages and nothing else: what it holds by then is there for as long as it runs, and is
    never looked through again for garbage, which would hold up a page for a twentieth of a second.

    Args:
        settings: Where the log is.
    """
    compile_templates()
    try:
        with ToolLog.open(settings=settings) as log:
            overview(log.engine, Filters(), at_once=True)
            choices(log.engine)
    except ToolLogError:
        pass  # the page says it
    gc.collect()
    gc.freeze()
