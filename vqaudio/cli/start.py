"""Where the program begins and ends: what a signal does while modules still load, and after the work is done.

Nothing is half done at these times, so that Ctrl-C, a request to terminate and a hang-up end the program at once, in
silence, with the conventional status. In between, :func:`vqaudio.cli.main.main` makes exceptions of them.
"""

import os
import signal
from types import FrameType

from vqaudio.cli.endings import ENDINGS


def end_at_once(number: int, frame: FrameType | None) -> None:
    """A signal's handler."""
    os._exit(128 + number)


def main() -> int:
    """Runs the program on its own arguments and returns its exit code."""
    handled = [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup sets it
    for number in handled:
        signal.signal(number, end_at_once)
    from vqaudio.cli.main import main as run

    try:
        return run()
    finally:
        for number in handled:
            signal.signal(number, end_at_once)
