"""One file of the many that a command is given: which result it becomes, and the work from one to the other."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.paths import (
    STANDARD,
    Job,
    announced_compiling,
    binary_input,
    binary_output,
    is_picture,
    standard_input,
    standard_output,
)
from vqaudio.cli.pictures import decode_picture, encode_picture
from vqaudio.cli.progress import times_real_time
from vqaudio.errors import ModelError

if TYPE_CHECKING:
    from vqaudio.bitstream.header import Coder, Header
    from vqaudio.bitstream.packets import PacketHeader
    from vqaudio.bitstream.stream import Stream
    from vqaudio.codecs.files import OpenStream, TranscodeResult
    from vqaudio.codecs.image import ImageCodec
    from vqaudio.codecs.sampling import DecodeOptions
    from vqaudio.codecs.speakers import Voice
    from vqaudio.codecs.speech import Codec
    from vqaudio.io.sound import SoundReader
    from vqaudio.io.sound_writer import SoundWriter


def report_for(jobs: list[Job], quiet: bool, as_json: bool, verbose: bool = False) -> Report:
    """The report of a command with these jobs; ``typer.BadParameter`` where standard output cannot hold it all."""
    taken = any(job.target == STANDARD for job in jobs)
    if taken and as_json:
        raise typer.BadParameter("--json and the result cannot share standard output: give -o FILE")
    return Report(quiet, as_json, taken, verbose=verbose)


@contextmanager
def sound_output(
    target: str, force: bool, sample_rate_hz: int, channels: int, comment: str = ""
) -> Iterator["SoundWriter"]:
    """Gives the writer of a sound file, which appears whole or not at all, or of standard output."""
    from vqaudio.io.sound_writer import SoundWriter, sound_file

    if target == STANDARD:
        with SoundWriter(standard_output(), sample_rate_hz, channels, comment=comment) as writer:
            yield writer
        return
    with sound_file(target, force, sample_rate_hz, channels, comment) as writer:
        yield writer


# ----------------------------------------------------------------------------------------------------- doing one job


def _figures(coded: "TranscodeResult", job: Job, seconds: float) -> dict[str, Any]:
    """What every direction tells programs of one file."""
    return {
        "input": job.name,
        "output": job.target,
        "duration_s": coded.duration_s,
        "times_real_time": times_real_time(coded.duration_s, seconds),
        "channels": coded.header.channels,
        "sample_rate_hz": coded.header.sample_rate_hz,
    }


def _size(coded: "TranscodeResult") -> dict[str, Any]:
    """What there is to tell of the stream, where anybody gets it."""
    return {"bytes": coded.stream_bytes, "bits_per_second": coded.bits_per_second}


def _line(facts: dict[str, Any]) -> str:
    rate = f", {facts['bits_per_second'] / 1000:.2f} kb/s" if facts.get("bits_per_second") is not None else ""
    sizes = f"{facts['duration_s']:.2f} s" + (f", {facts['bytes']} bytes{rate}" if "bytes" in facts else "")
    target = "standard output" if facts["output"] == STANDARD else facts["output"]
    return f"{target}: {sizes}, {facts['times_real_time']:.1f} times real time"


def encode_one(codec: "Codec", job: Job, coder: "Coder | None", force: bool, report: Report) -> dict[str, Any]:
    """Encodes a sound file, reports it, and returns its figures."""
    from vqaudio.io.sound import SoundReader, spool

    started = time.perf_counter()
    with (
        spool(standard_input()) if job.source == STANDARD else SoundReader(job.source) as sound,
        binary_output(job.target, force) as file,
        report.progress(job.name) as progress,
    ):
        coded = codec.encode_file(sound, file, coder=coder, progress=progress)
    facts = _figures(coded, job, time.perf_counter() - started) | _size(coded)
    report.result(_line(facts), facts)
    tell_of(sound, job.name, report)
    return facts


def tell_of(sound: "SoundReader", name: str, report: Report) -> None:
    """What was mended in a sound that has been read is a note; what is missing in it a failure."""
    if sound.note:
        report.note(f"{name}: {sound.note}")
    if sound.problem:
        report.failure(name, f"{sound.problem}; what could be read is coded")


def sample_targets(output: str | None, count: int) -> list[str]:
    """Where ``count`` samples go; ``typer.BadParameter`` where that makes no sense. Makes the folder of several."""
    if count == 1:
        return [output or "sample.wav"]
    folder = Path(output or "samples")
    if folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder: with --count -o takes a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return [str(folder / f"sample-{number:0{len(str(count))}d}.wav") for number in range(1, count + 1)]


def read_prompt(codec: "Codec", path: str) -> "Stream":
    """The stream in ``path``, or that of the sound in it; a sound of several channels is mixed to one."""
    from vqaudio.bitstream.header import MAGIC

    with open(path, "rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(0)
            return codec.read(file)
    from vqaudio.codecs.encoding import mixed
    from vqaudio.io.sound import SoundReader

    with SoundReader(path) as sound:
        return codec.encode(mixed(sound), sound.sample_rate_hz)


def write_sample(
    codec: "Codec",
    stream: "Stream",
    target: str,
    seed: int,
    force: bool,
    voice: "str | Voice | None",
    report: Report,
) -> None:
    """Writes new speech as a sound file or, where ``target`` ends in .vqa, as a stream, and reports it."""
    rate_hz = codec.config.sample_rate_hz
    if Path(target).suffix.lower() == ".vqa":
        with binary_output(target, force) as file:
            stream.write(file, codec.block_coder(stream.header.coder))
    else:
        with sound_output(target, force, rate_hz, 1) as writer:
            writer.write(codec.decode(stream, seed=seed, speaker=voice))
    duration_s = stream.header.shape[0] / rate_hz
    report.result(f"{target}: {duration_s:.2f} s of new speech", {"output": target, "duration_s": duration_s})


def load_ready(model: str, device: str, report: Report) -> "Codec":
    """The codec of a model of sounds, its decoder compiled; says so where that takes long."""
    from vqaudio.codecs.speech import load

    with report.timed(f"loading {model}"):
        codec = load(model, device)
    with announced_compiling(report), report.timed(f"compiling {model}"):
        codec.warm_up()
        codec.warm_coder(codec.default_coder())
    return codec


def load_any(model: str, device: str, report: Report) -> "Codec | ImageCodec":
    """The codec of any model, ready as :func:`load_ready` gives it."""
    return load_ready(model, device, report) if codes_sounds(model) else _load_images(model, device)


def _load_images(model: str, device: str) -> "ImageCodec":
    from vqaudio.codecs.loading import load_pictures

    return load_pictures(model, device)


def codes_sounds(model: str) -> bool:
    """Says whether a model is one of sounds; ``ModelError`` where there is none."""
    from vqaudio.codecs.bundled import model_folder
    from vqaudio.models.config import SpeechModelConfig
    from vqaudio.models.folder import read_config

    return isinstance(read_config(model_folder(model)), SpeechModelConfig)


class Encoders:
    """Encodes sounds and pictures: with the model that the user named, or with the bundled one for each."""

    def __init__(self, model: str | None, device: str, coder: str | None, report: Report) -> None:
        self._device, self._coder, self._report = device, coder, report
        self._named = model
        self._sounds: Codec | None = None
        self._images: ImageCodec | None = None
        if model is not None:
            if codes_sounds(model):
                self._sounds = self._load_sounds(model)
            else:
                self._images = self._load_images(model)

    def _load_sounds(self, model: str) -> "Codec":
        from vqaudio.codecs.speech import load

        with self._report.timed(f"loading {model}"):
            codec = load(model, self._device)
        with announced_compiling(self._report), self._report.timed(f"compiling {model}"):
            codec.warm_coder(self._coder_of(codec))
        return codec

    def _load_images(self, model: str) -> "ImageCodec":
        with self._report.timed(f"loading {model}"):
            codec = _load_images(model, self._device)
        with announced_compiling(self._report), self._report.timed(f"compiling {model}"):
            codec.warm_coder(self._coder_of(codec))
        return codec

    def _coder_of(self, codec: "Codec | ImageCodec") -> "Coder":
        from vqaudio.bitstream.header import Coder

        return Coder[self._coder.upper()] if self._coder else codec.default_coder()

    def encode(self, job: Job, force: bool, report: Report) -> None:
        """Encodes one input, and reports it.

        Raises:
            ModelError: the model that the user named codes the other kind of input.
        """
        picture = is_picture(job.source)
        if self._named is not None and (self._images if picture else self._sounds) is None:
            kinds = ("picture", "sounds", "images") if picture else ("sound", "pictures", "speech")
            raise ModelError("is a {}, and model {} codes {}; use --model {}".format(kinds[0], self._named, *kinds[1:]))
        if picture:
            self._images = self._images or self._load_images("images")
            encode_picture(self._images, job, self._coder_of(self._images), force, report)
        else:
            self._sounds = self._sounds or self._load_sounds("speech")
            encode_one(self._sounds, job, self._coder_of(self._sounds), force, report)


class Codecs:
    """Finds the codec of a stream: the one that the user named, or the bundled one that made it."""

    def __init__(self, model: str | None, device: str, report: Report) -> None:
        self._device, self._report = device, report
        self._named = load_any(model, device, report) if model else None
        self._bundled: dict[bytes, Codec | ImageCodec] = {}

    def expect(self, name: str) -> None:
        """Loads the bundled model ``name`` now, before the streams come that most likely need it."""
        from vqaudio.codecs.bundled import model_folder
        from vqaudio.models.folder import fingerprint

        if self._named is None:
            self._bundled[fingerprint(model_folder(name))] = load_any(name, self._device, self._report)

    def of(self, header: "Header | PacketHeader") -> "Codec | ImageCodec":
        """The codec for a stream with this header; ``ModelError`` where there is none."""
        return self.made_with(header.model_sha256)

    def made_with(self, model_sha256: bytes) -> "Codec | ImageCodec":
        """The codec for codes of the model that this names; ``ModelError`` where there is none."""
        from vqaudio.codecs.bundled import find_bundled

        if self._named is not None:
            return self._named
        if model_sha256 not in self._bundled:
            name = find_bundled(model_sha256)
            if name is None:
                made_with = model_sha256.hex()[:12]
                raise ModelError(f"was made with model {made_with}, which is not bundled; give its folder with --model")
            self._bundled[model_sha256] = load_any(name, self._device, self._report)
        return self._bundled[model_sha256]


@dataclass(frozen=True)
class DecodeRequest:
    """How the user asks for streams to be decoded, whatever codec they need.

    ``temperature`` None is the model's own; ``rate`` is "original", "codec" or a number of Hz; ``pitch`` and
    ``formants`` are moved by semitones; ``voice_of`` says who speaks for a codec. What is not valid raises
    ``typer.BadParameter``.
    """

    seed: int = 0
    temperature: float | None = None
    rate: str = "original"
    exact: bool = False
    force: bool = False
    pitch: float = 0.0
    formants: float = 0.0
    comment: str = ""
    voice_of: "Callable[[Codec], str | Voice | None]" = lambda codec: None

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise typer.BadParameter(f"temperature {self.temperature} is not valid: give a number above 0")
        number = self.rate.isascii() and self.rate.isdigit() and 1000 <= int(self.rate) <= 768000
        if self.rate not in ("original", "codec") and not number:
            raise typer.BadParameter(f"{self.rate!r} is no rate: give codec, original, or 1000 to 768000 (Hz)")
        if not -24 <= self.pitch <= 24:
            raise typer.BadParameter(f"--pitch {self.pitch} is not valid: give -24 to 24 (semitones)")
        if not -12 <= self.formants <= 12:
            raise typer.BadParameter(f"--formants {self.formants} is not valid: give -12 to 12 (semitones)")

    def options(self, codec: "Codec", voice: "str | Voice | None") -> "DecodeOptions":
        """What that means for ``codec``, where ``voice`` speaks."""
        from vqaudio.codecs.sampling import DecodeOptions

        rates = {"original": None, "codec": codec.sample_rate}
        return DecodeOptions(
            seed=self.seed,
            temperature=self.temperature,
            sample_rate_hz=rates[self.rate] if self.rate in rates else int(self.rate),
            exact=self.exact,
            speaker=voice,
            pitch_semitones=self.pitch,
            formant_semitones=self.formants,
        )


def decode_one(
    codec_of: "Callable[[Header], Codec | ImageCodec]", job: Job, request: DecodeRequest, report: Report
) -> dict[str, Any]:
    """Decodes a stream of either kind, reports it and its damage, and returns its figures."""
    from vqaudio.codecs.files import OpenStream
    from vqaudio.codecs.speech import Codec

    with binary_input(job.source) as file:
        stream = OpenStream(file)
        codec = codec_of(stream.reader.header)
        if not isinstance(codec, Codec):
            return decode_picture(codec, stream, job, request.force, report)
        coded, facts = decode_open(codec, stream, job, request, request.voice_of(codec), report)
    return _tell_decoded(coded, facts | _size(coded), job, report)


def decode_open(
    codec: "Codec", stream: "OpenStream", job: Job, request: DecodeRequest, voice: "str | Voice | None", report: Report
) -> "tuple[TranscodeResult, dict[str, Any]]":
    """Decodes a sound's stream that is open, in ``voice``; gives what came of it, and what that tells programs."""
    options = request.options(codec, voice)
    started = time.perf_counter()
    with report.progress(job.name) as progress:
        coded = codec.decode_file(
            stream,
            lambda hz, channels: sound_output(job.target, request.force, hz, channels, request.comment),
            options,
            progress=progress,
        )
    facts = _figures(coded, job, time.perf_counter() - started)
    return coded, facts | {"damage": damage_facts(coded), "clipped_samples": coded.clipped}


def convert_open(
    codec: "Codec", stream: "OpenStream", job: Job, request: DecodeRequest, voice: "str | Voice | None", report: Report
) -> None:
    """As :func:`decode_open`, and reports it; nobody gets the stream, so that its size is nothing to tell."""
    coded, facts = decode_open(codec, stream, job, request, voice, report)
    _tell_decoded(coded, facts, job, report)


def _tell_decoded(coded: "TranscodeResult", facts: dict[str, Any], job: Job, report: Report) -> dict[str, Any]:
    report.result(_line(facts), facts)
    report_damage(coded, job.name, report)
    return facts


def damage_facts(coded: "TranscodeResult") -> list[dict[str, Any]]:
    """Segments of lost sound, for programs; channels count from 1."""
    rate_hz = coded.header.sample_rate_hz
    segments = [(damage.channel + 1, damage.samples(coded.header)) for damage in coded.damage]
    return [{"channel": c, "first_s": lost.start / rate_hz, "end_s": lost.stop / rate_hz} for c, lost in segments]


def report_damage(coded: "TranscodeResult", name: str, report: Report) -> None:
    """Makes each damaged part of the stream ``name`` a failure."""
    report.damaged(name, coded.damage_lines())
