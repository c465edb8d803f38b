"""How much the journal may hold, and what is left of an exchange when that is too much.

Bounded in bytes, not in exchanges: one prompt of 16 MiB weighs as much as a thousand chats. Beyond the bound a *stub*
is kept: when it was, how it ended and how long it was, without what was said.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tarx_toollog.store.frames import FrameParts, Kind, without_body
from tarx_toollog.store.journal import backlog_bytes

_LOOK_S = 1.0  # other programs fill the disk as well
_FULL_LOOK_S = 0.05  # while it is full, so that room is noticed soon
_LOOK_BYTES = 2**20
_RESERVE = 8
_STUBS_BYTES = 2**20  # stubs go on beyond the bound for so long, and no further


class Room:
    """Says whether the journal may take more. Used under no lock: a look too many does no harm.

    Args:
        folder: The journal.
        max_bytes: What its segments may hold, all processes together.
        min_free_bytes: What has to stay free on the disk.
    """

    def __init__(self, folder: Path, max_bytes: int, min_free_bytes: int) -> None:
        self._folder = folder
        self._max = max_bytes
        self._min_free = min_free_bytes
        self._left = 0
        self._since_look = 0
        self._look_at = 0.0

    @property
    def is_full(self) -> bool:
        """Whether a chat that begins now might not fit: a part is kept for those that have begun."""
        return not self.has(self._max // _RESERVE)

    def has(self, size: int) -> bool:
        """Say whether ``size`` bytes fit within the bounds."""
        now = time.monotonic()
        if now >= self._look_at or self._since_look > _LOOK_BYTES:
            self._look(now)
        return self._left > size

    def has_for_stub(self, size: int) -> bool:
        """Say whether ``size`` bytes of a stub fit: they may go a little beyond the bound."""
        return self.has(size - _STUBS_BYTES)

    def took(self, size: int) -> None:
        """Count what was appended."""
        self._left -= size
        self._since_look += size

    def _look(self, now: float) -> None:
        try:
            free = os.statvfs(self._folder)
            self._left = min(self._max - backlog_bytes(self._folder), free.f_bavail * free.f_frsize - self._min_free)
        except OSError:
            self._left = self._max  # the folder is away: appending says so better than we could
        self._since_look = 0
        self._look_at = now + (_LOOK_S if self._left > self._max // _RESERVE else _FULL_LOOK_S)


def stub(frames: Sequence[FrameParts]) -> list[FrameParts]:
    """Return what is kept of frames when there is no room: all but the bodies, whose sizes stay known."""
    return [without_body(frame) for frame in frames if frame[0] is not Kind.CHUNKS]
