"""Many files at once: several jobs side by side, a dry run, and the sum of it all."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from vqaudio.cli.console import Report
from vqaudio.cli.inputs import STANDARD
from vqaudio.cli.progress import Share, duration


class Named(Protocol):
    """A job that knows its input's name."""

    @property
    def name(self) -> str:
        """The input, as messages call it."""


JobT = TypeVar("JobT", bound=Named)


def dry_run(pairs: Sequence[tuple[str, str]], force: bool, report: Report) -> None:
    """Says which input would become which result, and does nothing; one that exists is a failure, as it would be."""
    for source, target in pairs:
        exists = target != STANDARD and os.path.lexists(target) and not force
        if exists:
            report.failure(target, "exists; use --force to overwrite it")
        report.result(f"{source} -> {target}", {"input": source, "output": target, "exists": exists})
    report.finish()


class _Part(Report):
    """The report of one of several jobs: its progress is a share of the whole one's."""

    tell: Share = staticmethod(lambda share: None)

    @contextmanager
    def progress(self, label: str) -> Any:
        """Tells the whole how far this is."""
        with self.timed(label):
            yield self.tell


class _Whole:
    """How far all jobs are together."""

    def __init__(self, count: int, tell: Share) -> None:
        self._shares, self._tell, self._lock = [0.0] * count, tell, threading.Lock()

    def part(self, number: int) -> Share:
        """What the job ``number`` (from 0) tells its own share."""

        def tell(share: float) -> None:
            with self._lock:
                self._shares[number] = share
                self._tell(sum(self._shares) / len(self._shares))

        return tell


def run_jobs(jobs: Sequence[JobT], work: Callable[[JobT, Report], object], workers: int, report: Report) -> None:
    """Does ``work`` on each of ``jobs``, ``workers`` at a time (0 is one a core); a failure does not stop the others.

    Several jobs share one bar, and end with a line that sums up. What is told in JSON is in the order of ``jobs``.
    """
    if len(jobs) == 1:
        with report.guard(jobs[0].name):
            work(jobs[0], report)
        return
    started = time.perf_counter()
    with report.progress(f"{len(jobs)} files") as tell:
        whole = _Whole(len(jobs), tell)
        parts = [_part(report, whole.part(number)) for number in range(len(jobs))]

        def one(job: JobT, part: _Part) -> None:
            with part.guard(job.name):
                work(job, part)
            part.tell(1.0)

        one(jobs[0], parts[0])  # which loads the model for all
        if workers == 1:
            for job, part in zip(jobs[1:], parts[1:], strict=True):
                one(job, part)
        else:
            _side_by_side(one, jobs[1:], parts[1:], workers or len(os.sched_getaffinity(0)))
    for part in parts:
        report.entries += part.entries
        report.failed |= part.failed
    failed = sum(part.failed for part in parts)
    report.summary(_sum_line(report.entries, len(jobs), failed, time.perf_counter() - started))


def _part(report: Report, tell: Share) -> _Part:
    part = _Part(report.quiet, report.as_json, report.standard_output_taken, verbose=report.verbose)
    part.tell = tell
    return part


def _side_by_side(
    one: Callable[[JobT, _Part], None], jobs: Sequence[JobT], parts: Sequence[_Part], workers: int
) -> None:
    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(one, job, part) for job, part in zip(jobs, parts, strict=True)]
        try:
            for each in pending:
                each.result()
        except BaseException:  # Ctrl-C: what has not begun does not begin
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _sum_line(entries: Sequence[dict[str, Any]], count: int, failed: int, seconds: float) -> str:
    told = [f"{count} files" + (f", {failed} failed" if failed else "")]
    sound_s = sum(entry.get("duration_s", 0.0) for entry in entries)
    size = sum(entry.get("bytes", 0) for entry in entries)
    if sound_s:
        told.append(f"{duration(sound_s)} of sound")
    if size:
        rate = f" ({8 * size / sound_s / 1000:.2f} kb/s)" if sound_s and not _pictures(entries) else ""
        told.append(f"{size:,} bytes{rate}")
    return ", ".join([*told, f"in {duration(seconds)}"])


def _pictures(entries: Sequence[dict[str, Any]]) -> bool:
    return any("width" in entry for entry in entries)
