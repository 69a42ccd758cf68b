"""What the command line says, and where: results on standard output, bars and messages on standard error."""

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from vqaudio.cli.endings import raise_dropped
from vqaudio.cli.progress import ProgressLines, bar, counted
from vqaudio.errors import VqaudioError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vqaudio.evaluation.phones import PhoneMap
    from vqaudio.evaluation.speech import Evaluation
    from vqaudio.models.config import PhaseConfig
    from vqaudio.training.state import RunState


_MOST_DAMAGE_LINES = 10  # a file


_EXTRA_OF = {"matplotlib": "evaluate", "onnxruntime": "evaluate", "scipy": "evaluate"}  # the others' is train
_OF_TRAINING = ("PIL", "lightning_fabric", "pyworld", "tensorboard", "torch", "torchaudio")


def _missing_package(error: BaseException) -> str | None:
    """The package of an extra that is not installed, where that is the ``error``."""
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name if name in _EXTRA_OF or name in _OF_TRAINING else None


def words_for(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, VqaudioError):
        text = str(error)
    elif package := _missing_package(error):
        text = f"this needs {package}, which is not installed: pip install 'vqaudio[{_EXTRA_OF.get(package, 'train')}]'"
    elif isinstance(error, OSError):
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
        text = ": ".join(str(part) for part in (name, error.strerror or error) if part)
    elif isinstance(error, MemoryError):
        text = "there is not enough memory; close other programs, or use a machine with more"
    else:
        text = f"internal error ({type(error).__name__}: {error}); please report it, with what VQAUDIO_DEBUG=1 adds"
    return " ".join(text.split())


def complain(message: str, name: str = "", colour: str | None = "red") -> None:
    """Prints one line on standard error, about the file ``name`` if any; where there are colours, it begins in one."""
    message = message.removeprefix(f"{name}: ")  # some errors name their file, some do not
    ours = typer.style("vqaudio", fg=colour, bold=True) if colour and has_colours() else "vqaudio"
    print(": ".join(part for part in (ours, name, message) if part), file=sys.stderr, flush=True)


def has_colours() -> bool:
    """Says whether standard error is a terminal that shows colours, and nobody asked for none (https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stderr is not None and sys.stderr.isatty()


def trace() -> None:
    """Shows a developer where the error in hand comes from."""
    if os.environ.get("VQAUDIO_DEBUG") == "1":
        traceback.print_exc()


def is_broken_pipe(error: BaseException | None) -> bool:
    """Says whether ``error`` comes of a reader of our output that has gone, which is nothing to talk about."""
    while error is not None:
        if isinstance(error, BrokenPipeError):
            return True
        error = error.__cause__
    return False


def evaluation_lines(result: "Evaluation") -> list[str]:
    """A table of an evaluation: a metric a line, a group a column, the mean and half its 95 % interval."""
    from vqaudio.evaluation.report import figure_of

    labels = {name: figure_of(name).label for name in result.groups["all"]}
    width = max(map(len, labels.values()))
    lines = [" ".join([f"{'':<{width}}", *(f"{group[:20]:>20}" for group in result.groups)])]
    for name, label in labels.items():
        cells = [figure_of(name).format_spread(of[name]) if name in of else "–" for of in result.groups.values()]
        lines.append(" ".join([f"{label:<{width}}", *(f"{cell:>20}" for cell in cells)]))
    share = f"the largest share {100 * result.largest_code_share:.1f} %, {result.code_entropy_bits:.2f} bits of entropy"
    return [*lines, f"{result.codes_used} of {result.codebook_size} codes used, {share}"]


def phone_line(phones: "PhoneMap") -> str:
    """How well codes name phones."""
    shares = ("accuracy", "speech_accuracy", "mfcc_accuracy", "chance")
    right, speech, clusters, chance = (f"{100 * getattr(phones, name):.1f} %" for name in shares)
    beside = f"k-means of MFCC {clusters}, the commonest phone alone {chance}"
    return f"phones named by the codes: {right} ({speech} without silence; {beside}), {phones.utterances} utterances"


@dataclass
class Report:
    """What one command says: results, progress, and failures that do not keep it from going on."""

    quiet: bool
    as_json: bool = False
    standard_output_taken: bool = False  # by a result's bytes
    failed: bool = False
    verbose: bool = False
    entries: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def result(self, line: str, facts: dict[str, Any]) -> None:
        """A result, in words and for programs."""
        self.entries.append(facts)
        if not self.as_json and not self.quiet:
            print(line, file=sys.stderr if self.standard_output_taken else sys.stdout, flush=True)

    def failure(self, name: str, message: str) -> None:
        """Something wrong with ``name``, in one line."""
        raise_dropped()
        self.failed = True
        complain(message, name)

    def damaged(self, name: str, parts: list[str]) -> None:
        """A failure for each damaged part of ``name``; of very many only the first are told, and how many more."""
        for part in parts[:_MOST_DAMAGE_LINES]:
            self.failure(name, part)
        if len(parts) > _MOST_DAMAGE_LINES:
            self.failure(name, f"and {len(parts) - _MOST_DAMAGE_LINES} more damaged parts")

    def note(self, message: str) -> None:
        """Something worth knowing that is no failure."""
        if not self.quiet:
            complain(message, colour=None)

    def summary(self, line: str) -> None:
        """The last line of many results: on standard error, so that what reads the results need not know it."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Says how long the block took, where the user asked for such (--verbose)."""
        started = time.perf_counter()
        yield
        self.took(what, time.perf_counter() - started)

    def took(self, what: str, seconds: float) -> None:
        """Says that ``what`` took so long, where the user asked for such: the one place from which --verbose speaks."""
        if self.verbose:
            complain(f"{what}: {seconds:.3f} s", colour=None)

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Makes an error of work on ``name`` a failure, and goes on."""
        try:
            yield
        except Exception as error:
            raise_dropped()
            if is_broken_pipe(error):
                raise BrokenPipeError from error
            trace()
            message = words_for(error)
            self.failure(name, message)
            self.entries.append({"input": name, "error": message.removeprefix(f"{name}: ")})

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[float], None]]:
        """A bar on a terminal, elsewhere lines; yields a function that takes the share done."""
        with self.timed(label):
            if self.shows_bars():
                with bar(label, _columns(), console=_error_console(), redirect_stdout=_both_are_terminals()) as tell:
                    yield tell
            else:
                yield self.progress_lines(label)

    def progress_lines(self, label: str) -> Callable[[float], None]:
        """What takes the share done, and says it in a line now and then; nothing for the quiet."""
        return (lambda share: None) if self.quiet else ProgressLines(label, lambda line: complain(line, colour=None))

    def tracked(self, items: Iterable[Any]) -> Iterator[Any]:
        """The sequence ``items``, with a bar on a terminal, elsewhere with lines, as it is gone through."""
        with self.timed("working"):
            for item in self._shown(items):
                raise_dropped()
                yield item
            raise_dropped()

    def _shown(self, items: Iterable[Any]) -> Iterable[Any]:
        if not self.shows_bars():
            return counted(items, self.progress_lines("working"))
        from rich.progress import track

        return track(items, "working", console=_error_console(), transient=True)

    def shows_bars(self) -> bool:
        """Says whether someone can see a bar."""
        return not self.quiet and sys.stderr.isatty()

    def finish(self) -> None:
        """Prints the JSON document where it was asked for; ends the command with exit code 1 if anything failed."""
        self.took("in all", time.perf_counter() - self.started)
        if self.as_json:
            print(json.dumps({"files": self.entries}, indent=1))
        if self.failed:
            raise typer.Exit(1)


def _error_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def progress_bar() -> "Progress":
    """A bar on standard error that vanishes when it is done."""
    from rich.progress import Progress

    return Progress(*_columns(), console=_error_console(), transient=True)


def _columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()


def _both_are_terminals() -> bool:
    """Whether what is printed on standard output must go around a bar; redirected results must not go to the bar."""
    return sys.stdout is not None and sys.stdout.isatty()


class TrainingView:
    """A :class:`vqaudio.training.state.Observer`: log lines, and on a terminal a bar for the phase below them."""

    def __init__(self, report: Report, bar: "Progress | None") -> None:
        self._report, self.progress_bar = report, bar
        self._task: TaskID | None = None
        self._phase = ""
        self._lines: Callable[[float], None] | None = None
        self._begun = time.perf_counter()

    def on_step(self, state: "RunState", phase: "PhaseConfig") -> None:
        """Moves the bar."""
        if self._phase != phase.name:
            self.end_phase()
            self._phase = phase.name
        if self.progress_bar is None:
            self._lines = self._lines or self._report.progress_lines(phase.name)
            self._lines(state.phase_step / max(1, phase.steps))
            return
        if self._task is None:
            self._task = self.progress_bar.add_task(phase.name, total=phase.steps)
        means = {name: total / max(1, state.interval) for name, total in state.totals.items()}
        figures = [f"step {state.phase_step}/{phase.steps}", f"loss {means.get('loss', math.nan):.3f}"]
        for unit in ("sample", "dim"):
            if f"bits_per_{unit}" in means:
                figures.append(f"{means[f'bits_per_{unit}']:.3f} bits/{unit}")
        figures.append(f"{state.samples_seen / max(state.seconds, 1e-9):,.0f} samples/s")
        description = f"{phase.name}: {', '.join(figures)}"
        self.progress_bar.update(self._task, completed=state.phase_step, description=description)

    def end_phase(self) -> None:
        """The phase that was at work is over: its bar goes, and how long it took is said where that was asked for."""
        now = time.perf_counter()
        if self._phase:
            self._report.took(self._phase, now - self._begun)
        if self._task is not None and self.progress_bar is not None:
            self.progress_bar.remove_task(self._task)
        self._phase, self._task, self._lines, self._begun = "", None, None, now

    def on_log(self, line: dict[str, Any]) -> None:
        """Prints the line."""
        if self._report.quiet:
            return
        values = {name: value for name, value in line.items() if name not in ("step", "phase", "part")}
        words = [f"{name} {value:.4g}" if isinstance(value, float) else str(value) for name, value in values.items()]
        text = f"{line['phase']} {line['step']} {line['part']}: {', '.join(words)}"
        if self.progress_bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self.progress_bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
