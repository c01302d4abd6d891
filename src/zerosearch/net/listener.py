"""A port to listen on: the requested one, or the next free one."""

import errno
import socket

from zerosearch.core.errors import BadConfig

_PORTS_TRIED = 20  # after the requested one
_HIGHEST = 65535


def bind(host: str, port: int, *, search: bool) -> socket.socket:
    """A listening socket; with `search`, one of the next ports if this one is taken. Raises BadConfig."""
    last = min(port + _PORTS_TRIED, _HIGHEST) if search else port
    for candidate in range(port, last + 1):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, candidate))
            listener.listen(2048)
            return listener
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise BadConfig(
                    f"cannot listen on {host}:{candidate} ({error.strerror or error}); choose another --host or --port."
                ) from error
    tried = f"ports {port} to {last} are" if search else f"port {port} is"
    raise BadConfig(f"{tried} already in use on {host}; choose another --port, or 0 for any free port.")
