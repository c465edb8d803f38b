"""The pages in a server that is there for chats: made when somebody first looks at one.

They bring FastAPI, the templates and the reports of replay with them, 17 MB that a proxy would else hold for nothing.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from tarx_toollog.capture.access import Access
from tarx_toollog.config import Settings

if TYPE_CHECKING:
    from tarx_toollog.web.guard import Guard, Receive, Scope, Send


class PagesLater:
    """An ASGI application that answers as ``toollog_pages`` does, and is imported with its first request.

    Args:
        settings: Where the log is.
        annotator: Who labels, unless a form says another name.
        access: What is let in. It is made before, since a token that cannot be made is an error of the start.
    """

    def __init__(self, settings: Settings, *, annotator: str, access: Access) -> None:
        self._make: Callable[[], Guard] = lambda: _pages(settings, annotator, access)
        self._made: asyncio.Task[Guard] | None = None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        if self._made is None or (self._made.done() and (self._made.cancelled() or self._made.exception())):
            # In a thread, since chats go on; shielded, since a browser that leaves must not undo it for others.
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        pages = await asyncio.shield(self._made)
        await pages(scope, receive, send)


def _pages(settings: Settings, annotator: str, access: Access) -> "Guard":
    from tarx_toollog.web.app import toollog_pages  # FastAPI and all that the pages show: see above

    return toollog_pages(settings, annotator=annotator, access=access)
