"""The signals that end the program, and the exceptions that they become."""

import signal

ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_dropped: list[int] = []  # signals whose exceptions ended a callback of compiled code alone


class Terminated(BaseException):
    """A signal that asks for the end, as an exception: half-written files are then removed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def as_exception(number: int) -> BaseException:
    """What is raised for a signal."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)


def drop(number: int) -> None:
    """Notes that a signal's exception went no further than a callback."""
    _dropped.append(number)


def forget_dropped() -> None:
    """The run that the signals were for has ended; another in this process has none yet."""
    _dropped.clear()


def raise_dropped() -> None:
    """Raises for a signal that was dropped: an error behind it, of work that it cut, is none to tell of."""
    if _dropped:
        raise as_exception(_dropped[0])
