"""What stands beside each other in the benchmark: the original, ceilings, this codec and its parts, and rivals."""

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from programs import PROGRAMS, Coded

import vqaudio
from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.header import Coder
from vqaudio.codecs.speech import Codec
from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase
from vqaudio.dsp.world import analyse
from vqaudio.kernels.pulse_noise import PulseNoise
from vqaudio.kernels.varying_filter import VaryingFilter

WORLD_FRAME_MS = 5.0
HOP, BANDS, PULSES_HZ = 68, 80, 4500.0  # of the parameters that the bundled codec's codes learn to carry


@dataclass(frozen=True)
class System:
    """Something that a sound ``[T]`` at a rate in Hz goes through.

    Attributes:
        name: in tables.
        role: "original", "ceiling", "ours" or "rival".
        through: the way.
        absent: what is not installed, in a line, if anything.
    """

    name: str
    role: str
    through: Callable[[np.ndarray, int], Coded]
    absent: str | None = None


def untouched(wave: np.ndarray, rate_hz: int) -> Coded:
    """Nothing happens: what the metrics give at best."""
    return Coded(wave)


def world(wave: np.ndarray, rate_hz: int) -> Coded:
    """WORLD (Morise et al. 2016) there and back, nothing coded: about what a vocoder can reach."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about how it finds its version
        import pyworld

    exact = wave.astype(np.float64)
    pitch, times = pyworld.harvest(exact, rate_hz, frame_period=WORLD_FRAME_MS)
    envelope = pyworld.cheaptrick(exact, pitch, times, rate_hz)
    aperiodicity = pyworld.d4c(exact, pitch, times, rate_hz)
    again = pyworld.synthesize(pitch, envelope, aperiodicity, rate_hz, WORLD_FRAME_MS)
    return Coded(again[: len(wave)].astype(np.float32))


def true_parameters(wave: np.ndarray, rate_hz: int) -> Coded:
    """The parameters that our codes stand for, not coded, through our own synthesis with pulses and noise."""
    padded = np.pad(wave, (0, -len(wave) % HOP))
    bands, f0_hz = analyse(padded, rate_hz, HOP, BANDS)
    excitation = PulseNoise(rate_hz, HOP, PULSES_HZ, np.random.default_rng(0)).push(np.pad(f0_hz, (0, 2)))
    responses = MinimumPhase(BANDS, rate_hz).responses(np.pad(bands, ((0, 1), (0, 0)), mode="edge"))
    return Coded(VaryingFilter(HOP, TAPS).push(excitation, responses)[: len(wave)])


@dataclass(frozen=True)
class Ours:
    """A codec of this package; bytes under its prior, where it has one, and packed.

    ``options`` go to :meth:`vqaudio.codecs.speech.Codec.decode`: a second system with others tells what they are worth.
    """

    codec: Codec
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, wave: np.ndarray, rate_hz: int) -> Coded:
        """There and back."""
        sizes = {coder: self._sizes(wave, rate_hz, coder) for coder in {self.codec.default_coder(), Coder.PACKED}}
        decoded = self.codec.decode(self.codec.encode(wave, rate_hz), **self.options)[0]
        return Coded(decoded, *sizes[self.codec.default_coder()], sizes[Coder.PACKED][0])

    def _sizes(self, wave: np.ndarray, rate_hz: int, coder: Coder) -> tuple[int, int]:
        """Bytes of the file, and without the container."""
        file = io.BytesIO()
        self.codec.encode(wave, rate_hz, coder=coder).write(file, self.codec.block_coder(coder))
        file.seek(0)
        return len(file.getvalue()), sum(len(block.payload or b"") for block in StreamReader(file))


def all_systems(model: str) -> list[System]:
    """In the order of the tables; ``model`` is a bundled model's name or a folder."""
    codec = vqaudio.load(model, "cpu")
    return [
        System("original", "original", untouched),
        System("WORLD, not coded", "ceiling", world),
        System("our parameters, not coded, pulses and noise", "ceiling", true_parameters),
        System(Path(model).name, "ours", Ours(codec)),
        *(System(program.name, "rival", program, program.absent()) for program in PROGRAMS),
    ]
