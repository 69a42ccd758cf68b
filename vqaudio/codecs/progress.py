"""How work that takes long tells how far it is."""

from collections.abc import Callable

Progress = Callable[[float], None]  # is told the share that is done, 0 to 1


def ignore(share: float) -> None:
    """A :data:`Progress` that nobody watches."""
