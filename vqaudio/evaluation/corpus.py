"""The recordings that a model is measured on: chosen, looked at, and none of those that it learnt from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from vqaudio.codecs.encoding import mixed
from vqaudio.errors import DataError, SoundError
from vqaudio.evaluation.metrics import Original
from vqaudio.io.corpora import Recording, find_recordings
from vqaudio.io.resample import resample
from vqaudio.io.sound import SoundReader
from vqaudio.models.sources import file_checksum

_NAMED = 3  # files in one line


def chosen_recordings(corpus: Path, limit: int) -> list[Recording]:
    """The corpus' recordings, group by group; at most ``limit`` of each where that is not 0.

    Raises:
        DataError: there is no such corpus, or it holds no recordings.
    """
    groups: dict[str, list[Recording]] = defaultdict(list)
    for recording in find_recordings(corpus):
        if not limit or len(groups[recording.group]) < limit:
            groups[recording.group].append(recording)
    return [recording for group in groups.values() for recording in group]


def readable_recordings(recordings: Iterable[Recording]) -> tuple[list[Recording], tuple[str, ...]]:
    """Those of ``recordings`` that hold sound, and a line for each other one. Nothing is decoded."""
    good, failed = [], []
    for recording in recordings:
        line = _fault(recording)
        if line:
            failed.append(line)
        else:
            good.append(recording)
    return good, tuple(failed)


def measurable_recordings(
    corpus: Path, limit: int = 0, learnt_from: frozenset[str] = frozenset()
) -> tuple[list[Recording], tuple[str, ...]]:
    """The recordings of ``corpus`` that can be measured on, and a line for each that cannot. Nothing is decoded.

    Args:
        corpus: a folder.
        limit: of files of each group; 0 takes all.
        learnt_from: see :func:`check_unseen`.

    Raises:
        DataError: there is no such corpus, none of its files can be measured, or the model learnt from one of them.
    """
    recordings, faults = readable_recordings(chosen_recordings(corpus, limit))
    if not recordings:
        raise DataError(f"{corpus}: no file can be measured ({faults[0]}); give a corpus of speech")
    check_unseen(recordings, learnt_from)
    return recordings, faults


def check_transcripts(corpus: Path, recordings: Sequence[Recording]) -> None:
    """Refuses recordings of which less than two have a transcript: phones are known from transcripts alone.

    Raises:
        DataError: naming the corpus.
    """
    if sum(bool(recording.transcript.strip()) for recording in recordings) < 2:
        raise DataError(f"{corpus}: less than two files have a transcript, which phones need; add them to manifest.tsv")


def _fault(recording: Recording) -> str:
    path = recording.path
    if not path.is_file():
        said = f" but not there, with the transcript {recording.transcript[:40]!r}" if recording.transcript else ""
        return f"{path}: is in the corpus' list{said or ' but not there'}; bring the file or leave out its line"
    try:
        with SoundReader(path) as sound:
            if next(iter(sound.blocks(1)), None) is None:
                return f"{path}: is empty; leave it out"
    except (SoundError, OSError) as error:
        return f"{path}: {str(error).removeprefix(f'{path}: ')}"
    return ""


def check_unseen(recordings: Sequence[Recording], learnt_from: frozenset[str]) -> None:
    """Refuses recordings whose file is among those that the model learnt from, by checksum.

    Args:
        recordings: to be measured on.
        learnt_from: see :func:`vqaudio.models.sources.read_sources`.

    Raises:
        DataError: naming the first of them.
    """
    if not learnt_from:
        return
    seen = [recording.path for recording in recordings if file_checksum(recording.path) in learnt_from]
    if seen:
        more = f" and {len(seen) - _NAMED} more" if len(seen) > _NAMED else ""
        names = ", ".join(str(path) for path in seen[:_NAMED])
        raise DataError(f"the model was trained on {names}{more}: what it gives there says nothing; leave them out")


def read_original(recording: Recording, sample_rate_hz: int) -> Original:
    """The recording's sound, its channels mixed to one.

    Raises:
        SoundError: the file cannot be read.
        DataError: it holds no sound.
    """
    with SoundReader(recording.path) as sound:
        wave = resample(mixed(sound)[None], sound.sample_rate_hz, sample_rate_hz)[0]
        if sound.problem:
            raise SoundError(f"{recording.path}: {sound.problem}")
    if not len(wave):
        raise DataError(f"{recording.path}: is empty; leave it out")
    return Original(wave, sample_rate_hz, recording.transcript)
