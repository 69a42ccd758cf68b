"""The work of the studio, which is that of the verbs: one request's files lie in a folder of their own, and nothing is
kept from one request to the next but the models."""

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vqaudio.cli.console import Report, trace, words_for
from vqaudio.cli.conversion import CONVERTED, Conversion, Voices, convert_one
from vqaudio.cli.jobs import (
    DecodeRequest,
    decode_one,
    encode_one,
    load_ready,
    read_prompt,
    sound_output,
    write_sample,
)
from vqaudio.cli.paths import Job
from vqaudio.cli.pictures import decode_picture, encode_picture, sample_pictures
from vqaudio.errors import ConfigError, PictureError, SoundError

if TYPE_CHECKING:
    from vqaudio.codecs.image import ImageCodec
    from vqaudio.codecs.speech import Codec

Progress = Callable[[float, str], None]
_READ_FRAMES = 65536
_KEPT_S = 3600.0  # after which a request's files go
_MOST_CHANNELS = 2
MOST_PICTURES = 64


@dataclass(frozen=True)
class Limits:
    """What one request may bring and take: seconds of sound, bytes of a file, pixels of a picture, seconds of work."""

    sound_s: float = 60.0
    file_bytes: int = 20_000_000
    pixels: int = 1 << 20
    work_s: float = 300.0


@dataclass(frozen=True)
class Models:
    """The models that the studio works with: names of bundled ones, or folders."""

    speech: str = "speech"
    voices: str = "speech"
    images: str = "images"


class _TookTooLong(ConfigError):
    """A request came to the end of its time."""


class PageReport(Report):
    """A report whose progress, notes and failures go to a page. What fails ends the request."""

    def __init__(self, progress: Progress, limits: Limits, folder: Path) -> None:
        """``folder`` holds the request's files, and is named in no line."""
        super().__init__(quiet=True)
        self.lines: list[str] = []
        self._progress, self._limits, self._folder = progress, limits, os.path.join(folder, "")
        self._end = time.monotonic() + limits.work_s

    def note(self, message: str) -> None:
        """Kept for the page."""
        self.lines.append(message.replace(self._folder, ""))

    def failure(self, name: str, message: str) -> None:
        """Kept for the page: what could be done is shown."""
        message = message.removeprefix(f"{name}: ")
        self.lines.append(f"{Path(name).name}: {message}" if name else message)

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Lets every error through, to whoever answers the page."""
        yield

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[float], None]]:
        """Tells the page how far the work is; ends it where its time is over."""
        what = Path(label).name

        def tell(share: float) -> None:
            if time.monotonic() > self._end:
                raise _TookTooLong(f"{what}: took more than {self._limits.work_s:g} s; give something shorter")
            self._progress(share, what)

        tell(0.0)
        yield tell


def line_for(error: Exception) -> str:
    """The error in the command line's one line."""
    if isinstance(error, typer.BadParameter):
        return " ".join(error.message.split())
    return words_for(error)


@dataclass(frozen=True)
class Take:
    """A sound to code, and how it is to come back.

    Attributes:
        sound: the file.
        speaker: one of the voices' names, or None for nobody.
        reference: a file of somebody whose voice is to speak, or None.
        keep_pitch: the converted sound has the pitch of the original.
    """

    sound: Path
    seed: int = 0
    temperature: float | None = None
    speaker: str | None = None
    reference: Path | None = None
    keep_pitch: bool = False


@dataclass
class Result:
    """What came of a request: files by their role, figures, and lines worth reading."""

    files: dict[str, Path] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    codes: Any = None  # [rows, columns]
    lines: list[str] = field(default_factory=list)


class Studio:
    """Models, loaded when they are first needed, and the folder for the files of all requests. Threads may share it."""

    def __init__(self, models: Models, device: str, folder: Path, limits: Limits) -> None:
        self.models, self.limits, self._device, self._folder = models, limits, device, folder
        self._lock, self._loaded = threading.Lock(), dict[str, Any]()

    def line_of(self, error: Exception) -> str:
        """The command line's one line on ``error``, in which files have no folders of the studio's; a developer also
        sees where it comes from."""
        trace()
        return re.sub(re.escape(os.path.join(self._folder, "")) + r"[^/\\\s]+[/\\]", "", line_for(error))

    # ------------------------------------------------------------------------------------------------------- models

    def speech(self) -> "Codec":
        """The codec of sounds."""
        return self._once(self.models.speech, lambda name: load_ready(name, self._device, Report(quiet=True)))

    def voices(self) -> "Codec":
        """The codec that converts voices."""
        return self._once(self.models.voices, lambda name: load_ready(name, self._device, Report(quiet=True)))

    def images(self) -> "ImageCodec":
        """The codec of pictures."""
        from vqaudio.codecs.loading import load_pictures

        return self._once(self.models.images, lambda name: load_pictures(name, self._device))

    def _once(self, name: str, load: Callable[[str], Any]) -> Any:
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load(name)
            return self._loaded[name]

    def speakers(self) -> list[str]:
        """Names of voices, without loading their model."""
        from vqaudio.codecs.bundled import model_folder
        from vqaudio.codecs.voice_file import speaker_names
        from vqaudio.models.config import SpeechModelConfig
        from vqaudio.models.folder import read_config

        folder = model_folder(self.models.voices)
        config = read_config(folder)
        return list(speaker_names(folder, config)) if isinstance(config, SpeechModelConfig) else []

    # --------------------------------------------------------------------------------------------------- requests

    def take(self, take: Take, progress: Progress) -> Result:
        """Codes a sound, decodes it and, where a voice is asked for, converts it.

        Raises:
            VqaudioError, OSError, typer.BadParameter: what the verbs raise; or a limit is passed.
        """
        report, folder = self._begin(progress)
        name = _stem(take.sound)
        original = folder / f"{name}-original.wav"
        self.copy_sound(take.sound, original)
        stream, decoded = folder / f"{name}.vqa", folder / f"{name}-decoded.wav"
        codec = self.speech()
        facts = encode_one(codec, Job(str(take.sound), str(stream)), None, False, report)
        request = DecodeRequest(take.seed, take.temperature)
        decode_one(lambda header: codec, Job(str(stream), str(decoded)), request, report)
        result = Result({"original": original, "stream": stream, "decoded": decoded}, facts)
        result.codes = self._codes(stream)
        if take.speaker is not None or take.reference is not None:
            result.files["converted"] = self._convert(take, folder, report)
        result.lines = report.lines
        return result

    def _convert(self, take: Take, folder: Path, report: PageReport) -> Path:
        codec, who = self.voices(), take.speaker
        if take.reference is not None:
            who = str(folder / f"{_stem(take.reference)}-reference.wav")
            self.copy_sound(take.reference, Path(who))
        assert who is not None
        target = folder / f"{_stem(take.sound)}-{_stem(Path(who))}.wav"
        request = DecodeRequest(take.seed, take.temperature, comment=CONVERTED)
        once = Conversion(str(take.sound), ((who, str(target)),))
        convert_one(codec, once, request, take.keep_pitch, Voices(report), report)
        return target

    def draw(
        self, seconds: float, seed: int, temperature: float, top_p: float, prompt: Path | None, progress: Progress
    ) -> Result:
        """New speech from the prior, which may go on from a prompt; raises as :meth:`take`."""
        report, folder = self._begin(progress)
        if not 0 < seconds <= self.limits.sound_s:
            raise ConfigError(f"{seconds:g} s of new sound is not valid: give above 0 to {self.limits.sound_s:g}")
        codec, opening = self.speech(), None
        if prompt is not None:
            heard = folder / f"{_stem(prompt)}-prompt.wav"
            self.copy_sound(prompt, heard)
            opening = read_prompt(codec, str(heard))
        with report.progress("drawing tokens") as tell:
            (stream,) = codec.sample(
                seconds=seconds, prompt=opening, seed=seed, temperature=temperature, top_p=top_p, progress=tell
            )
        result = Result({"sample": folder / "sample.wav", "stream": folder / "sample.vqa"})
        for path in result.files.values():
            write_sample(codec, stream, str(path), seed, False, None, report)
        result.facts = {"duration_s": stream.header.shape[0] / codec.sample_rate}
        result.codes, result.lines = self._codes(result.files["stream"]), report.lines
        return result

    def picture(self, path: Path, progress: Progress) -> Result:
        """Codes a picture and decodes it; raises as :meth:`take`."""
        from vqaudio.codecs.files import OpenStream
        from vqaudio.io.image import read_picture, write_picture

        report, folder = self._begin(progress)
        self._check_size(path)
        levels = read_picture(path, path.name)
        if levels.shape[0] * levels.shape[1] > self.limits.pixels:
            size = f"{levels.shape[1]} x {levels.shape[0]} pixels"
            raise PictureError(f"{path.name}: has {size}, more than the studio's {self.limits.pixels}; scale it down")
        codec, name = self.images(), _stem(path)
        original, stream, decoded = (folder / f"{name}{end}" for end in ("-original.png", ".vqa", "-decoded.png"))
        with original.open("wb") as file:
            write_picture(file, levels, ".png")
        facts = encode_picture(codec, Job(str(path), str(stream)), codec.default_coder(), False, report)
        with stream.open("rb") as file:
            decode_picture(codec, OpenStream(file), Job(str(stream), str(decoded)), False, report)
        files = {"original": original, "stream": stream, "decoded": decoded}
        return Result(files, facts, self._picture_codes(stream), report.lines)

    def draw_pictures(self, count: int, seed: int, temperature: float, progress: Progress) -> Result:
        """New pictures from the prior, side by side in one file; raises as :meth:`take`."""
        report, folder = self._begin(progress)
        if not 1 <= count <= MOST_PICTURES:
            raise ConfigError(f"{count} pictures is not valid: give 1 to {MOST_PICTURES}")
        target = folder / "pictures.png"
        sample_pictures(self.images(), str(target), count, seed, temperature, 1.0, None, False, report)
        return Result({"sample": target}, report.entries[-1], None, report.lines)

    # --------------------------------------------------------------------------------------------------- limits

    def _begin(self, progress: Progress) -> tuple[PageReport, Path]:
        self._sweep()
        folder = Path(tempfile.mkdtemp(prefix="request-", dir=self._folder))
        return PageReport(progress, self.limits, folder), folder

    def _sweep(self) -> None:
        """Removes what requests of long ago left."""
        for folder in self._folder.glob("request-*"):
            try:
                if time.time() - folder.stat().st_mtime > _KEPT_S:
                    shutil.rmtree(folder, ignore_errors=True)
            except OSError:
                continue  # another request was quicker

    def _check_size(self, path: Path) -> None:
        size, most = path.stat().st_size, self.limits.file_bytes
        if size > most:
            raise SoundError(f"{path.name}: has {size / 1e6:.1f} MB, more than the studio's {most / 1e6:g} MB; cut it")

    def copy_sound(self, path: Path, target: Path) -> None:
        """Writes the sound ``path`` as a WAV file that every browser plays.

        Raises:
            SoundError: it cannot be read, or is longer or larger than the studio takes, or has too many channels.
        """
        from vqaudio.io.sound import SoundReader

        self._check_size(path)
        with SoundReader(path) as sound:
            rate_hz, channels, frames = sound.sample_rate_hz, sound.channels, 0
            if channels > _MOST_CHANNELS:
                raise SoundError(f"{path.name}: has {channels} channels, more than the studio's {_MOST_CHANNELS}")
            with sound_output(str(target), False, rate_hz, channels) as writer:
                for block in sound.blocks(_READ_FRAMES):
                    frames += block.shape[1]
                    if frames > self.limits.sound_s * rate_hz:
                        most = f"{self.limits.sound_s:g} s"
                        raise SoundError(f"{path.name}: is longer than the studio's {most}; cut it, or use the verbs")
                    writer.write(block)
        if not frames:
            raise SoundError(f"{path.name}: holds no sound; record or copy it again")

    # ---------------------------------------------------------------------------------------------------- codes

    def _codes(self, path: Path) -> Any:
        """``[quantizers, frames]`` of the first channel."""
        with path.open("rb") as file:
            return self.speech().read(file).codes[0]

    def _picture_codes(self, path: Path) -> Any:
        """``[codes a cell, tiles * cells]``."""
        with path.open("rb") as file:
            stream = self.images().read(file)
        return stream.tokens.reshape(-1, stream.header.grid[-1]).T


def _stem(path: Path) -> str:
    return path.stem[:60] or "sound"
