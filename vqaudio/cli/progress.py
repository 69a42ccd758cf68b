"""How far work is, where it takes long: a bar on a terminal, elsewhere a line every ten seconds."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

Share = Callable[[float], None]  # takes the share that is done, 0 to 1
EVERY_S = 10.0
_TICK_S = 1e-6  # less than any work takes


class ProgressLines:
    """Says through ``say`` how far work on ``label`` is, and when it may end; at most every :data:`EVERY_S`.

    Work that ends sooner is not talked of. ``now`` gives seconds. Threads take turns in calling it.
    """

    def __init__(self, label: str, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._label, self._say, self._now = label, say, now
        self._begun = self._told = now()

    def __call__(self, share: float) -> None:
        """``share`` is done."""
        now = self._now()
        if now - self._told < EVERY_S:
            return
        self._told = now
        left = f", {duration((now - self._begun) * (1 - share) / share)} left" if 0 < share < 1 else ""
        self._say(f"{self._label}: {100 * share:.0f} %{left}")


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def times_real_time(sound_s: float, seconds: float) -> float:
    """How many seconds of sound a second of work does; of a clock that stands still, a large number."""
    return sound_s / max(seconds, _TICK_S)


def counted(items: Iterable[Any], tell: Share) -> Iterator[Any]:
    """The sequence ``items``, whose share that has gone by ``tell`` hears; of one without a length it hears nothing."""
    total = len(items) if isinstance(items, Sized) else 0
    for number, item in enumerate(items, 1):
        yield item
        if total:
            tell(number / total)


@contextmanager
def bar(label: str, columns: Iterable[Any], **settings: Any) -> Iterator[Share]:
    """A bar by rich that vanishes when it is done."""
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(*columns, transient=True, **settings) as progress:
        task = progress.add_task(escape(label), total=1.0)
        yield lambda share: progress.update(task, completed=share)
