"""What one client, and all together, may take of a server; and which pages may ask it."""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

MIN_RATE_HZ, MAX_RATE_HZ = 8000, 192_000
MAX_REQUEST_BYTES = 4096  # of a client's first message
_LEAST_BLOCK_S = 0.001  # that a message counts at least, so that nobody floods the server with empty ones


@dataclass(frozen=True)
class Limits:
    """Bounds, in numbers of clients, seconds and bytes.

    Attributes:
        clients: that are served at once; more are told to come again.
        session_s: after which a client's sound is brought to its end.
        silent_s: that a client may send nothing.
        slow_s: that a client may leave what is sent to it unread.
        block_s: of sound in a message.
        ahead_s: of sound that a client may send faster than it happens.
        message_bytes: of a message.
        socket_bytes: that the system, and again the server, hold for a client, each way.
    """

    clients: int = 4
    session_s: float = 300.0
    silent_s: float = 10.0
    slow_s: float = 10.0
    block_s: float = 0.5
    ahead_s: float = 2.0
    message_bytes: int = 1 << 16
    socket_bytes: int = 1 << 16

    @property
    def connections(self) -> int:
        """Sockets that may be open at once, those of pages and of clients who wait to be refused among them."""
        return 2 * self.clients + 32


class Pace:
    """Holds back a client that sends sound faster than it happens: nobody may have more than a talker needs."""

    def __init__(self, ahead_s: float) -> None:
        """``ahead_s`` seconds may come at once."""
        self._ahead_s = ahead_s
        self._due_s = float("-inf")  # when what came by now would have been spoken

    def wait_s(self, now_s: float, block_s: float) -> float:
        """Seconds to wait, from the clock's ``now_s`` on, before more is taken than the block of ``block_s`` s."""
        self._due_s = max(self._due_s, now_s) + max(block_s, _LEAST_BLOCK_S)
        return max(0.0, self._due_s - now_s - self._ahead_s)


def is_own_page(origin: str | None, host: str | None, names: Collection[str], origins: Collection[str]) -> bool:
    """Whether a WebSocket may be opened by who sends these headers.

    Browsers send a page's origin. It must be one of ``origins``, or be ours: the ``host`` that was asked. A foreign
    page whose name leads here all of a sudden (DNS rebinding) has both alike, so that the name must be one of
    ``names``, localhost or an address. Programs send no origin, and a browser cannot leave it out.
    """
    if origin is None or origin.lower() in origins:
        return True
    try:
        parts = urlsplit(origin.lower())
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not name or host is None or parts.netloc != host.lower():
        return False
    return name == "localhost" or name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
