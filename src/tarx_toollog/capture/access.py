"""Who may speak to a server of ours: the names that it goes by, and the token that everybody has to bring."""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from tarx_toollog.config import Settings
from tarx_toollog.store.secret import load_token

PARAMETER = "token"
"""Name of the parameter that brings the token of the pages."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ODD = frozenset("@/?#\\ \t")  # no host has these; what urlsplit makes of them is another server's name


@dataclass(frozen=True, slots=True)
class Access:
    """What is let in."""

    hosts: frozenset[str] = LOOPBACK
    """Names that this server goes by."""
    any_address: bool = False
    """Whether every numeric address is one of them, too: a name can be made to point here, a number cannot."""
    token: str | None = None
    """What everybody has to bring; None: nothing."""

    @classmethod
    def on(cls, host: str, *, names: Iterable[str] = (), token: str | None = None) -> "Access":
        """Return what is let in by a server that listens on ``host``.

        Args:
            host: The address.
            names: More names that the server goes by.
            token: The token; left out, a new one on any address but the machine's own.
        """
        name = host.lower()
        hosts = LOOPBACK | {name, *names}
        if is_loopback(name):
            return cls(hosts, token=token)
        any_address = name in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound
        return cls(hosts | {socket.gethostname().lower()}, any_address, token or secrets.token_urlsafe(24))

    @classmethod
    def by_settings(cls, settings: Settings, what: Literal["chat", "pages"], host: str) -> "Access":
        """Return what the settings let in; the token, where one is needed, is kept in a file.

        Chats and pages have one each: who may ask the model may not, for that, read what others asked.

        Raises:
            StoreError: The token cannot be kept, or its file holds none.
        """
        is_needed = settings.require_token or not is_loopback(host.lower())
        token = load_token(settings, what) if is_needed else None
        return cls.on(host, names=settings.allowed_hosts, token=token)

    def link(self, address: str) -> str:
        """Return an address of ours with the token that opens it, where one is needed."""
        return address if self.token is None else f"{address}?{PARAMETER}={quote(self.token)}"

    def knows(self, host: str) -> bool:
        """Say whether a ``Host`` header names this server; the port does not matter."""
        name = _name_of(host)
        return name in self.hosts or (self.any_address and _is_address(name))


def is_loopback(host: str) -> bool:
    """Say whether only programs of this machine can reach an address."""
    if host in LOOPBACK or not _is_address(host):
        return host in LOOPBACK
    address = ipaddress.ip_address(host)
    # A socket for both families says the address of an IPv4 client like this: ::ffff:127.0.0.1
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def has_token(given: Iterable[str], token: str) -> bool:
    """Say whether one of what was brought is the token; how long that takes does not tell how much of it is right."""
    return sum(hmac.compare_digest(each.encode(), token.encode()) for each in given) > 0


def is_origin_of(origin: str, host: str) -> bool:
    """Say whether an ``Origin`` header names the server that a ``Host`` header names."""
    return origin.lower().partition("://")[2] == host.lower()


def _name_of(host: str) -> str:
    if not _ODD.isdisjoint(host):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:  # brackets that do not match
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
