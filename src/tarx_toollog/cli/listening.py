"""A socket to listen on, made before the server: a port that is taken is a message, not a log record of uvicorn's."""

import os
import socket

from tarx_toollog.errors import ToolLogError


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ToolLogError: The address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by its number: asyncio turns Nagle's algorithm off only where it stands on the socket, and with it on
    # every answer waits 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ToolLogError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            hint="choose another port with --port, or stop the program that uses it",
        ) from error
    return listening


def address(listening: socket.socket) -> str:
    """Return where a socket listens, as the beginning of a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
