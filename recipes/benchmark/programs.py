"""The codecs that stand beside this one: Debian's codec2, speex and opus-tools, as programs found on the path."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from vqaudio.io.resample import resample


@dataclass(frozen=True)
class Coded:
    """What a system made of a sound.

    Attributes:
        wave: the sound again; of any length.
        file_bytes: of a codec's file.
        payload_bytes: those left without the container.
        packed_bytes: of the file as it would be without a learnt prior.
    """

    wave: np.ndarray
    file_bytes: int | None = None
    payload_bytes: int | None = None
    packed_bytes: int | None = None


@dataclass(frozen=True)
class Program:
    """A codec as two commands; {source}, {coded} and {target} are files, sounds of the suffix ``sound``."""

    name: str
    package: str  # Debian's
    rate_hz: int
    encode: str
    decode: str
    sound: str = "wav"
    coded: str = "ogg"

    def absent(self) -> str | None:
        """What is not on the path, in a line."""
        for command in (self.encode, self.decode):
            if shutil.which(command.split()[0]) is None:
                return f"{command.split()[0]} is not on the path: apt-get install {self.package}"
        return None

    def __call__(self, wave: np.ndarray, rate_hz: int) -> Coded:
        """``wave[T]`` there and back; T of the result may differ."""
        with tempfile.TemporaryDirectory() as folder:
            files = {
                "source": Path(folder, f"source.{self.sound}"),
                "coded": Path(folder, f"coded.{self.coded}"),
                "target": Path(folder, f"target.{self.sound}"),
            }
            format_ = {"format": self.sound.upper(), "subtype": "PCM_16"} | (
                {"endian": "LITTLE"} if self.is_raw else {}
            )
            source = np.clip(resample(wave[None], rate_hz, self.rate_hz)[0], -1, 1)
            soundfile.write(files["source"], source, self.rate_hz, **format_)
            for command in (self.encode, self.decode):
                subprocess.run(command.format(**files).split(), check=True, capture_output=True)
            reading = {**format_, "samplerate": self.rate_hz, "channels": 1} if self.is_raw else {}
            decoded, decoded_hz = soundfile.read(files["target"], dtype="float32", **reading)
            data = files["coded"].read_bytes()
        payload = len(data) if self.is_raw else ogg_payload(data)
        return Coded(resample(decoded[None], decoded_hz, rate_hz)[0], len(data), payload)

    @property
    def is_raw(self) -> bool:
        """Whether sound and coded file are bare, without any header."""
        return self.sound == "raw"


def ogg_payload(data: bytes) -> int:
    """Bytes of the packets in an Ogg file but for the first two, which describe it."""
    sizes, start, open_packet = [], 0, 0
    while start < len(data):
        assert data[start : start + 4] == b"OggS"
        segments = data[start + 27 : start + 27 + data[start + 26]]
        for segment in segments:
            open_packet += segment
            if segment < 255:
                sizes.append(open_packet)
                open_packet = 0
        start += 27 + len(segments) + sum(segments)
    return sum(sizes[2:])


def _codec2(mode: str) -> Program:
    encode, decode = f"c2enc {mode} {{source}} {{coded}}", f"c2dec {mode} {{coded}} {{target}}"
    return Program(f"Codec 2 {mode}", "codec2", 8000, encode, decode, sound="raw", coded="bit")


def _speex(kilobits: str, quality: int) -> Program:
    encode = f"speexenc --narrowband --quality {quality} {{source}} {{coded}}"
    return Program(f"Speex {kilobits}", "speex", 8000, encode, "speexdec {coded} {target}")


def _opus(kilobits: int) -> Program:
    encode = f"opusenc --bitrate {kilobits} --discard-comments --padding 0 {{source}} {{coded}}"
    return Program(f"Opus {kilobits}", "opus-tools", 16000, encode, "opusdec --rate 16000 {coded} {target}")


PROGRAMS = (
    *(_codec2(mode) for mode in ("3200", "2400", "1300", "700C")),
    _speex("2.15", 0),
    _speex("3.95", 1),
    *(_opus(kilobits) for kilobits in (6, 9, 12)),
)
