"""Who is to know that a kernel has to be compiled, which takes seconds: nobody, unless a program says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[], None]] = []


def compiling() -> None:
    """Tells whoever listens that a kernel is about to be compiled."""
    for listener in tuple(_listeners):
        listener()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Calls ``listener`` whenever a kernel is about to be compiled in the block, in any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
