"""From codes to what the decoder draws by, and from what it drew to sound.

A decoder of the wave's levels needs features alone, and what it draws is sound but for pre-emphasis. One of the
excitation (:mod:`vqaudio.source`) must also be told where the pulses lie, and what it draws goes through the filter.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from vqaudio import audio, source
from vqaudio.audio import Block
from vqaudio.autoencoder import AudioVQVAE
from vqaudio.config import WaveNetConfig
from vqaudio.entropy import Codes

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MU_LAW = audio.mu_law_decode(torch.arange(audio.LEVELS)).numpy()


class Voicing(NamedTuple):
    """The source and the filter of some frames: ``pace[frames]``, periods a sample; ``voiced[frames]``; the filter's
    ``coefficients[frames, order]`` and ``gain[frames]``."""

    pace: Doubles
    voiced: npt.NDArray[np.bool_]
    coefficients: Floats
    gain: Floats


class Score(NamedTuple):
    """What the decoder draws frames by: ``features[frames, F]`` and, where it draws the excitation, their voicing."""

    features: Floats
    voicing: Voicing | None

    def part(self, frames: slice) -> "Score":
        """Some of the frames."""
        own = self.voicing
        if own is not None:
            own = Voicing(own.pace[frames], own.voiced[frames], own.coefficients[frames], own.gain[frames])
        return Score(self.features[frames], own)

    def periods(self, hop_length: int) -> float:
        """Periods that pass in these frames; 0 where the decoder draws the wave."""
        return 0.0 if self.voicing is None else float(self.voicing.pace.sum()) * hop_length

    def marks(self, config: WaveNetConfig, begun: float) -> Integers | None:
        """The mark of each sample for a decoder of this ``config``, ``begun`` periods having passed before the first;
        None where there are none."""
        if self.voicing is None:
            return None
        passed = begun + np.cumsum(np.repeat(self.voicing.pace, config.hop_length))
        voiced = torch.from_numpy(self.voicing.voiced)[None]
        return source.marks(torch.from_numpy(passed)[None], voiced, config.marks)[0].numpy()


@torch.inference_mode()
def score(model: AudioVQVAE, codes: Codes, voice: Floats | None) -> Score:
    """``codes[n]``, spoken in ``voice[V]``, to the :class:`Score` of their ``n * frames_per_token`` frames."""
    device = model.decoder.embedding.weight.device
    # with one thread it rounds alike wherever it runs, and is called by as many as there are cores
    with threadpool_limits(1, "openmp"), torch.autocast(device.type, enabled=False):
        who = None if voice is None else torch.from_numpy(voice)[None].to(device)
        features = model.features(torch.from_numpy(codes.astype(np.int64))[None].to(device), who)
        voicing = None
        if model.envelope is not None:
            tract, pitch = model.tract(features), model.pitch(features)
            pace = pitch.hz.double() / model.config.sample_rate_hz
            parts = (pace, pitch.voiced, tract.coefficients, tract.gain)
            voicing = Voicing(*(part[0].cpu().numpy() for part in parts))
    return Score(np.ascontiguousarray(features[0].T.cpu().numpy()), voicing)


def restorer(model: AudioVQVAE) -> Callable[[Integers, Score], Block]:
    """What turns one stream's symbols ``[T]``, drawn by a score, to sound ``[T]``, call after call."""
    from vqaudio.kernels.synthesis import Synthesis

    de_emphasis = audio.DeEmphasis(model.config.pre_emphasis)
    synthesis = Synthesis(source.ORDER)

    def restore(symbols: Integers, drawn_by: Score) -> Block:
        wave = _MU_LAW[symbols]
        if drawn_by.voicing is not None:
            wave = synthesis(source.RANGE * wave, drawn_by.voicing.coefficients, drawn_by.voicing.gain)
        return de_emphasis(wave)

    return restore
