"""Live sound: packets out of standard input's sound, and sound out of packets, each written as soon as it is ready."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.jobs import Codecs, load_ready
from vqaudio.cli.options import Device
from vqaudio.cli.paths import STANDARD, standard_input, standard_output
from vqaudio.errors import ConfigError, ContainerError, ModelError

if TYPE_CHECKING:
    from vqaudio.arrays import Floats
    from vqaudio.bitstream.packets import Arrived, PacketHeader
    from vqaudio.codecs.speakers import Voice
    from vqaudio.codecs.speech import Codec
    from vqaudio.codecs.streaming import StreamDecoder

_READ = 1 << 16  # bytes at most at once; what there is comes at once
DEFAULT_VECTORS = 2  # of a packet


def check_standard(inputs: list[str], output: str | None) -> None:
    """Raises ``typer.BadParameter`` unless a live command goes from standard input to standard output."""
    if inputs != [STANDARD] or output not in (None, STANDARD):
        raise typer.BadParameter("--live goes from standard input to standard output: give - -o -")
    check_output()


def check_output() -> None:
    """Raises ``typer.BadParameter`` where standard output is a terminal."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise typer.BadParameter("a terminal cannot show the result: redirect standard output")


def gain_of(word: str) -> float | None:
    """The number that ``--gain`` gives, or None for "auto"; ``typer.BadParameter`` where it is neither."""
    if word == "auto":
        return None
    try:
        gain = float(word)
    except ValueError:
        gain = -1.0
    if not 0 < gain < float("inf"):
        raise typer.BadParameter(f"--gain {word} is not valid: give auto, or a number above 0")
    return gain


# -------------------------------------------------------------------------------------------------- sound to packets


class PacketSender:
    """Sound of one channel to packets, which go to ``send`` as soon as they are full.

    Attributes:
        delay_s: seconds, at most, from a sample to its packet.
    """

    def __init__(
        self,
        codec: "Codec",
        sample_rate_hz: int,
        gain: float | None,
        repeated: int,
        send: Callable[[bytes], None],
        vectors: int = DEFAULT_VECTORS,
    ) -> None:
        """``gain``: see :meth:`Codec.stream_encoder`; ``repeated`` and ``vectors``: see :class:`PacketHeader`."""
        from vqaudio.bitstream.packets import PacketHeader, PacketWriter

        if not 0 <= repeated <= codec.num_quantizers:
            raise ConfigError(f"{repeated} quantizers cannot be repeated: give 0 to {codec.num_quantizers}")
        self._encoder = codec.stream_encoder(sample_rate_hz, gain=gain, hop=vectors)
        self.delay_s = self._encoder.delay_s
        header = PacketHeader(
            model_sha256=codec.fingerprint,
            sample_rate_hz=sample_rate_hz,
            model_rate_hz=codec.sample_rate,
            vector_length=codec.config.encoder.hop_length,
            num_quantizers=codec.num_quantizers,
            codebook_size=codec.codebook_size,
            vectors=vectors,
            repeated=repeated,
            level=1 / gain if gain else 1.0,
        )
        self._writer, self._send, self._samples = PacketWriter(header), send, 0
        send(header.to_bytes())

    def push(self, wave: "Floats") -> None:
        """The next samples ``[n]``."""
        self._samples += len(wave)
        for packet in self._writer.push(self._encoder.push(wave)):
            self._send(packet)

    def finish(self) -> None:
        """The end of the sound."""
        for packet in self._writer.push(self._encoder.flush()):
            self._send(packet)
        self._send(self._writer.flush(self._samples))


def _arriving(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of ``file`` as they come."""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    while data := read(_READ):
        yield data


def send_out(data: bytes) -> None:
    """Writes to standard output what its reader is to have at once."""
    output = standard_output()
    output.write(data)
    output.flush()


def encode_live(
    model: str, device: Device, sample_rate_hz: int, channels: int, gain: float | None, repeated: int, quiet: bool
) -> None:
    """Standard input's sound to packets on standard output; see :class:`vqaudio.io.live_sound.LiveSound`."""
    from vqaudio.io.live_sound import LiveSound

    codec = load_ready(model, device, Report(quiet, standard_output_taken=True))
    sound, sender = LiveSound(sample_rate_hz, channels), None
    for data in _arriving(standard_input()):
        wave = sound.push(data)
        if sender is None and sound.sample_rate_hz is not None:
            sender = PacketSender(codec, sound.sample_rate_hz, gain, repeated, send_out)
        if sender is not None:
            sender.push(wave)
    rest = sound.flush()
    assert sound.sample_rate_hz is not None
    sender = sender or PacketSender(codec, sound.sample_rate_hz, gain, repeated, send_out)
    sender.push(rest)
    sender.finish()


# -------------------------------------------------------------------------------------------------- packets to sound


class PacketPlayer:
    """What packets bring to sound, which goes to ``play`` as soon as it is made; it ends with the original's length."""

    def __init__(self, decoder: "StreamDecoder", sample_rate_hz: int, play: Callable[["Floats"], None]) -> None:
        """``sample_rate_hz`` is the original's."""
        self._decoder, self._original_hz, self._play = decoder, sample_rate_hz, play
        self._made, self.lost, self.vectors = 0, 0, 0
        self._samples: int | None = None

    def push(self, arrived: "Arrived") -> None:
        """The next packet."""
        self.lost += arrived.lost
        self.vectors += arrived.lost + arrived.codes.shape[1]
        self._samples = arrived.samples
        for wave in (self._decoder.lost(arrived.lost), self._decoder.push(arrived.codes)):
            self._give(wave)

    def finish(self) -> None:
        """The end of the packets."""
        from vqaudio.io.resample import resampled_length

        rest = self._decoder.flush()
        if self._samples is not None:
            wanted = resampled_length(self._samples, self._original_hz, self._decoder.sample_rate_hz)
            rest = rest[: max(0, wanted - self._made)]
        self._give(rest)

    def _give(self, wave: "Floats") -> None:
        self._made += len(wave)
        if len(wave):
            self._play(wave)


def check_packets(codec: "Codec", header: "PacketHeader") -> None:
    """Refuses packets that ``codec`` cannot decode.

    Raises:
        ModelError: another model made them.
        ContainerError: the header contradicts the model.
    """
    codec.check_name(header.model_sha256, "what the packets bring was")
    told = header.model_rate_hz, header.vector_length, header.num_quantizers, header.codebook_size
    own = codec.sample_rate, codec.config.encoder.hop_length, codec.num_quantizers, codec.codebook_size
    if told != own:
        raise ContainerError("the header packet contradicts its model; get the packets anew")


def _codec_of(codecs: Codecs, header: "PacketHeader") -> "Codec":
    from vqaudio.codecs.speech import Codec

    codec = codecs.of(header)
    if not isinstance(codec, Codec):
        raise ModelError("the model codes pictures; give one of sounds")
    check_packets(codec, header)
    return codec


def play_packets(
    codecs: Codecs,
    begin: "Callable[[int], Callable[[Floats], None]]",
    voice_of: "Callable[[Codec], str | Voice | None]",
    seed: int,
    rate: str = "original",
) -> tuple[int, int]:
    """Standard input's packets to sound; ``begin`` is told the sample rate and gives what takes the sound.

    Returns the vectors that were lost, and how many there were. Raises ``ContainerError`` where there are no packets.
    """
    from vqaudio.bitstream.packets import PacketReader

    reader, player = PacketReader(), None
    for data in _arriving(standard_input()):
        arrived = reader.push(data)
        if player is None and reader.header is not None:
            codec = _codec_of(codecs, reader.header)
            rates = {"original": reader.header.sample_rate_hz, "codec": codec.sample_rate}
            rate_hz = rates[rate] if rate in rates else int(rate)
            level, speaker = reader.header.level, voice_of(codec)
            decoder = codec.stream_decoder(seed=seed, speaker=speaker, sample_rate_hz=rate_hz, level=level)
            player = PacketPlayer(decoder, reader.header.sample_rate_hz, begin(rate_hz))
        for one in arrived:
            assert player is not None
            player.push(one)
        if reader.ended:
            break
    if player is None:
        raise ContainerError("standard input holds no header packet; give what encode --live made, from the first on")
    player.finish()
    if not reader.ended:
        raise ContainerError("the packets end before the sound does; what came is decoded")
    return player.lost, player.vectors


def decode_live(
    codecs: Codecs,
    voice_of: "Callable[[Codec], str | Voice | None]",
    seed: int,
    rate: str,
    raw: bool,
    report: Report,
) -> None:
    """Standard input's packets to a WAV of unknown length, or to ``raw`` samples, on standard output."""
    from vqaudio.io.live_sound import endless_wav_header, to_pcm

    def begin(rate_hz: int) -> "Callable[[Floats], None]":
        if not raw:
            send_out(endless_wav_header(rate_hz))
        return lambda wave: send_out(to_pcm(wave))

    codecs.expect("speech")
    tell_lost(*play_packets(codecs, begin, voice_of, seed, rate), report)


def tell_lost(lost: int, vectors: int, report: Report) -> None:
    """Makes ``lost`` of so many ``vectors`` a failure."""
    if lost:
        report.failure("standard input", f"{lost} of {vectors} vectors were lost, and are concealed")
