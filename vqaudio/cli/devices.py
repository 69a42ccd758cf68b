"""Microphone and loudspeaker: ``vqaudio record`` and ``vqaudio play``, by sounddevice (the extra ``live``)."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.conversion import Voices
from vqaudio.cli.jobs import Codecs, load_ready, report_damage
from vqaudio.cli.live import (
    PacketSender,
    check_output,
    gain_of,
    play_packets,
    send_out,
    tell_lost,
)
from vqaudio.cli.options import (
    Device,
    DeviceOption,
    ForceOption,
    GainOption,
    ModelOption,
    QuietOption,
    SeedOption,
    SpeakerOption,
    app,
    refuse_given,
)
from vqaudio.cli.paths import STANDARD, binary_output
from vqaudio.errors import ConfigError, ModelError, SoundError

if TYPE_CHECKING:
    from vqaudio.arrays import Block, Floats
    from vqaudio.codecs.files import OpenWriter
    from vqaudio.codecs.speakers import Voice
    from vqaudio.codecs.speech import Codec

_BLOCK_S = 0.02  # of sound that is taken from a microphone at once


def _sounddevice() -> Any:
    """The module; ``ConfigError`` where it, or the library behind it, is missing."""
    try:
        import sounddevice
    except ImportError:
        raise ConfigError("sounddevice is not installed: pip install 'vqaudio[live]'") from None
    except OSError:
        raise ConfigError("the PortAudio library is missing: install it, e.g. apt-get install libportaudio2") from None
    return sounddevice


@contextmanager
def _told(module: Any, what: str) -> Iterator[None]:
    """Words PortAudio's errors; ``what`` is the device."""
    try:
        yield
    except (module.PortAudioError, ValueError) as error:
        raise SoundError(f"no {what} can be used ({error}); connect one, or set the system's default device") from error


class _Loudspeaker:
    """The default device as a writer of sound; a context manager that ends when all is heard."""

    clipped = 0

    def __init__(self, module: Any, sample_rate_hz: int, channels: int) -> None:
        self._module = module
        with _told(module, "loudspeaker"):
            self._stream = module.OutputStream(samplerate=sample_rate_hz, channels=channels, dtype="float32")
            self._stream.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._stream.stop()  # which waits
        self._stream.close()

    def write(self, block: "Block") -> None:
        """The next ``block[channels, n]``."""
        import numpy as np

        with _told(self._module, "loudspeaker"):
            self._stream.write(np.ascontiguousarray(block.T.clip(-1, 1), np.float32))


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Ctrl-C as an event, so that what was heard is kept whatever it meets."""
    pressed = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda number, frame: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)


def _heard(module: Any, sample_rate_hz: int, seconds: float | None, pressed: threading.Event) -> "Iterator[Floats]":
    """What the default microphone hears, in short blocks ``[n]``, until ``pressed`` or for so many seconds."""
    import numpy as np

    size, left = round(_BLOCK_S * sample_rate_hz), None if seconds is None else round(seconds * sample_rate_hz)
    with _told(module, "microphone"):
        stream = module.InputStream(samplerate=sample_rate_hz, channels=1, dtype="float32", blocksize=size)
        stream.start()
    try:
        while (left is None or left > 0) and not pressed.is_set():
            count = size if left is None else min(size, left)
            with _told(module, "microphone"):
                block, _ = stream.read(count)
            left = None if left is None else left - count
            yield np.ascontiguousarray(block[:, 0], np.float32)
    finally:
        stream.close()


@app.command(epilog="Example: vqaudio play talk.vqa")
def play(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A .vqa stream of sound; - takes packets.")],
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="The model; by default the bundled one that is needed.")
    ] = None,
    seed: SeedOption = 0,
    speaker: SpeakerOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
) -> None:
    """Plays a stream, or the packets of encode --live as they come, on the default loudspeaker."""
    module, report = _sounddevice(), Report(quiet)
    codecs, who = Codecs(model, device, report), partial(Voices(report).of, speaker=speaker)
    if source != STANDARD:
        with report.guard(source):
            _play_file(module, codecs, source, seed, who, report)
        report.finish()
        return
    codecs.expect("speech")
    speakers: list[_Loudspeaker] = []

    def begin(rate_hz: int) -> "Callable[[Floats], None]":
        speakers.append(_Loudspeaker(module, rate_hz, 1))
        return lambda wave: speakers[0].write(wave[None])

    lost, vectors = play_packets(codecs, begin, who, seed)
    with speakers[0]:
        pass
    tell_lost(lost, vectors, report)
    report.finish()


def _play_file(
    module: Any,
    codecs: Codecs,
    source: str,
    seed: int,
    voice_of: "Callable[[Codec], str | Voice | None]",
    report: Report,
) -> None:
    from vqaudio.codecs.files import OpenStream
    from vqaudio.codecs.sampling import DecodeOptions
    from vqaudio.codecs.speech import Codec

    with open(source, "rb") as file:
        stream = OpenStream(file)
        codec = codecs.of(stream.reader.header)
        if not isinstance(codec, Codec):
            raise ModelError("is a picture: decode it instead")
        options = DecodeOptions(seed=seed, speaker=voice_of(codec))
        open_writer = cast("OpenWriter", partial(_Loudspeaker, module))  # which has all that is asked of one
        played = codec.decode_file(stream, open_writer, options)
    report_damage(played, source, report)


@app.command(epilog="Example: vqaudio record -o talk.vqa --seconds 10")
def record(
    context: typer.Context,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="A .vqa file, or - for packets as they are made.")
    ],
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", min=0.01, help="By default to Ctrl-C.")
    ] = None,
    rate: Annotated[int, typer.Option("--rate", metavar="HZ", min=1000, max=768000, help="Of the microphone.")] = 48000,
    gain: GainOption = "auto",
    model: ModelOption = "speech",
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Records from the default microphone to a stream, or to packets, until Ctrl-C or for some seconds."""
    import numpy as np

    factor = gain_of(gain)
    if output == STANDARD:
        check_output()
    else:
        refuse_given(context, "goes with -o -", "gain")
    module, report = _sounddevice(), Report(quiet, standard_output_taken=output == STANDARD)
    codec = load_ready(model, device, report)
    if output == STANDARD:
        sender = PacketSender(codec, rate, factor, 0, send_out)
        with _ctrl_c() as pressed:
            for block in _heard(module, rate, seconds, pressed):
                sender.push(block)
        sender.finish()
        return
    with binary_output(output, force) as file:
        started = time.perf_counter()
        with _ctrl_c() as pressed:
            blocks = [np.zeros(0, np.float32), *_heard(module, rate, seconds, pressed)]
        report.note(f"recorded {time.perf_counter() - started:.1f} s")
        codec.encode(np.concatenate(blocks), rate).write(file)
    report.result(output, {"output": output})
