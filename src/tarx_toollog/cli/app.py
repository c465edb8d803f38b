"""What every command gets: the global options, and the way to the settings and the store.

The imports are inside the functions, because ``toollog --help`` must not pay for SQLAlchemy and pydantic.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tarx_toollog.config import Settings
    from tarx_toollog.store.log import ToolLog


@dataclass(slots=True)
class App:
    """The global options. The only mutable object here: click fills it while it reads the command line."""

    database: str | None = None
    debug: bool = False
    quiet: bool = False

    def settings(self, **overrides: object) -> "Settings":
        """Return the settings in force; ``--database`` and ``overrides`` win.

        Raises:
            ConfigError: A setting is wrong.
        """
        from tarx_toollog.config import Settings

        return Settings.load(database=self.database, **overrides)

    @contextmanager
    def log(self) -> Iterator["ToolLog"]:
        """Open the store for reading; database errors come out as StoreError.

        Raises:
            StoreError: There is no database, or it cannot be read.
        """
        from tarx_toollog.store.engine import store_errors
        from tarx_toollog.store.log import ToolLog

        settings = self.settings()
        with store_errors(settings), ToolLog.open(settings=settings) as log:
            yield log

    def say(self, text: str) -> None:
        """Tell the person something, on stderr; data belongs on stdout."""
        if not self.quiet:
            click.echo(text, err=True)


pass_app = click.make_pass_decorator(App, ensure=True)
