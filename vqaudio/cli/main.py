"""The command line: its verbs and their options.

Exit codes: 0 when all went well, 1 when anything failed, 2 on wrong usage, 130 after Ctrl-C, 143 when terminated, 129
when the terminal hung up. Whatever is heavy is imported in the function that needs it, so that ``--help`` comes at
once.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from vqaudio import __version__
from vqaudio.cli import (
    coding,
    corpora,
    describing,
    devices,
    hub,
    learning,
    measuring,
    sampling,
    serving,
    studio,
    voices,
)
from vqaudio.cli.console import (
    complain,
    is_broken_pipe,
    trace,
    words_for,
)
from vqaudio.cli.endings import ENDINGS, Terminated, as_exception, drop, forget_dropped, raise_dropped
from vqaudio.cli.options import app

VERBS = (
    coding,
    devices,
    sampling,
    voices,
    measuring,
    describing,
    learning,
    corpora,
    hub,
    studio,
    serving,
)  # each adds its own to the program


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vqaudio {__version__}")
        from vqaudio.codecs.bundled import bundled, model_folder
        from vqaudio.models.folder import fingerprint

        for name in bundled():
            print(f"{name} {fingerprint(model_folder(name)).hex()}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and the models, each with the sha256 that streams name it by, and exit.",
        ),
    ] = False,
) -> None:
    pass


_AGAIN_S = 0.02  # after which a signal that was dropped comes again


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # what is ignored stays so: nohup starts a program that way
    previous = {number: signal.getsignal(number) for number in ENDINGS}
    handled = [number for number in ENDINGS if previous[number] is not signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        if _is_loading(frame):  # what is raised there may be caught, or turned into another error
            _send_again(number)
            return
        raise as_exception(number)

    for number in handled:
        signal.signal(number, stop)
    hook, sys.unraisablehook = sys.unraisablehook, _again_if_dropped
    try:
        yield
    finally:
        forget_dropped()
        sys.unraisablehook = hook
        for number in handled:
            signal.signal(number, previous[number])


def _is_loading(frame: FrameType | None) -> bool:
    """Says whether the program was loading a module in ``frame``."""
    while frame is not None and frame.f_code is not _run.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> None:
    threading.Timer(_AGAIN_S, signal.pthread_kill, [threading.main_thread().ident, number]).start()


def _again_if_dropped(dropped: "sys.UnraisableHookArgs") -> None:
    """A signal that came while compiled code called back to Python ended the callback alone: it comes again."""
    error = dropped.exc_value
    if isinstance(error, Terminated | KeyboardInterrupt):
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        drop(number)
        _send_again(number)
    else:
        sys.__unraisablehook__(dropped)


def _run(arguments: list[str] | None) -> int:
    """Runs the program and gives its exit code, whatever happens."""
    try:
        app(args=arguments, prog_name="vqaudio")
        return 0
    except SystemExit as end:  # how typer ends, also after wrong usage
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Terminated as end:
        return 128 + end.number
    except Exception as error:
        raise_dropped()
        if not is_broken_pipe(error):
            trace()
            complain(words_for(error))
        return 1


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line on ``arguments`` (by default the program's own) and returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    if sys.stderr is None:  # closed; print() would write to standard output instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the program ends
    try:
        with _signals_as_exceptions():
            code = _run(arguments)
    except (KeyboardInterrupt, Terminated) as end:  # behind the work, or while an error is told
        code = 128 + (end.number if isinstance(end, Terminated) else signal.SIGINT)
    try:
        print(end="", flush=True)
    except OSError as error:
        if not is_broken_pipe(error) and not code:  # a failure that was told is not told again
            complain(words_for(error), "standard output")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's own last flush
        code = code or 1
    return code
