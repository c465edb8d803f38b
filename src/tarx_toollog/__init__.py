"""Log every tool call of a local model in SQLite, ask it questions, export it, replay it.

The public names are imported lazily, so that ``import tarx_toollog`` costs nothing in a server that
mounts only the middleware.
"""

from typing import TYPE_CHECKING, Any

from tarx_toollog._version import __version__

if TYPE_CHECKING:
    from tarx_toollog.capture.executions import logged_tool, tool_execution, watch_mcp
    from tarx_toollog.capture.middleware import ToolLogMiddleware
    from tarx_toollog.capture.proxy import ToolLogProxy
    from tarx_toollog.capture.transport import ToolLogTransport
    from tarx_toollog.config import Settings
    from tarx_toollog.store.log import ToolLog

__all__ = [
    "Settings",
    "ToolLog",
    "ToolLogMiddleware",
    "ToolLogProxy",
    "ToolLogTransport",
    "__version__",
    "logged_tool",
    "tool_execution",
    "watch_mcp",
]

_HOMES = {
    "Settings": "tarx_toollog.config",
    "ToolLog": "tarx_toollog.store.log",
    "ToolLogMiddleware": "tarx_toollog.capture.middleware",
    "ToolLogProxy": "tarx_toollog.capture.proxy",
    "ToolLogTransport": "tarx_toollog.capture.transport",
    "logged_tool": "tarx_toollog.capture.executions",
    "tool_execution": "tarx_toollog.capture.executions",
    "watch_mcp": "tarx_toollog.capture.executions",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
