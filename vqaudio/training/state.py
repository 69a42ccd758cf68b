"""Where a training run stands, who hears of it, and what ends it early."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from vqaudio.models.config import PhaseConfig


@dataclass
class RunState:
    """Where a run stands. ``step`` counts over all phases and names the next batch; ``phase_step`` within the phase."""

    step: int = 0
    phase: int = 0
    phase_step: int = 0
    samples_seen: int = 0
    seconds: float = 0.0
    interval: int = 0  # steps since the last logged one
    totals: dict[str, float] = field(default_factory=dict)  # sums of the metrics over those steps


class Observer(Protocol):
    """Hears how training goes; the command line's progress bar is one."""

    def on_step(self, state: RunState, phase: PhaseConfig) -> None:
        """After each step."""

    def on_log(self, line: dict[str, Any]) -> None:
        """After each logged or validated interval, and each warning (a line whose ``part`` is "warning")."""


def learning_rate(phase: PhaseConfig, step: int) -> float:
    """The rate of step ``step`` (from 0) of a phase: a linear rise, a plateau, a linear fall."""
    rate = phase.learning_rate * min(1.0, (step + 1) / max(1, phase.warmup_steps))
    remaining = (phase.steps - step) / max(1, phase.decay_steps)
    return rate * (phase.final_share + (1 - phase.final_share) * min(1.0, remaining))


@contextmanager
def deferred_signals() -> Iterator[Callable[[], int]]:
    """Lets Ctrl-C, SIGTERM and SIGHUP end the run after the step in progress; yields what gives the first that was
    received, or 0."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread set handlers
        yield lambda: 0
        return
    numbers = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    handled = [number for number in dict.fromkeys(numbers) if signal.getsignal(number) is not signal.SIG_IGN]
    previous = [signal.signal(number, lambda number, _: received.append(number)) for number in handled]
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in zip(handled, previous, strict=True):
            signal.signal(number, handler)


def end_by(number: int) -> NoReturn:
    """Ends the run as the signal would have done at once: by what the program makes of it, or by KeyboardInterrupt."""
    if number and callable(signal.getsignal(number)):
        signal.raise_signal(number)
    raise KeyboardInterrupt
