"""One small registry, used for wire protocols, export formats and scorers alike.

Built-ins are given explicitly by their packages; third parties add theirs through an entry point whose
group is the registry's name. A plug-in that cannot be loaded is a warning that names it, never a failure.
"""

import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tarx_toollog.errors import ConfigError

logger = logging.getLogger("tarx_toollog.registry")

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind, in the order in which they were added.

    Args:
        group: Entry-point group for third parties, for example ``tarx_toollog.export_formats``.
        kind: What one of them is called in messages, for example ``export format``.
        builtins: The ones that ship with us.
    """

    def __init__(self, group: str, kind: str, builtins: Mapping[str, T]) -> None:
        self.group = group
        self.kind = kind
        self._items: dict[str, T] = dict(builtins)
        self._plugins_loaded = False

    def get(self, name: str) -> T:
        """Return the item called ``name``.

        Raises:
            ConfigError: There is none; the hint lists the names.
        """
        self._load_plugins()
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(self._items)
            raise ConfigError(f"unknown {self.kind} {name!r}", hint=f"known: {known}") from None

    def names(self) -> list[str]:
        """Return all names, built-ins first."""
        self._load_plugins()
        return list(self._items)

    def __iter__(self) -> Iterator[T]:
        self._load_plugins()
        return iter(self._items.values())

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for entry in entry_points(group=self.group):
            try:
                item = entry.load()
            except Exception:  # noqa: BLE001 - a stranger's module may raise anything; ours must go on
                logger.warning("%s plug-in %r (%s) cannot be loaded", self.kind, entry.name, entry.value)
                continue
            self._items.setdefault(entry.name, item)
