"""How like its original a decoded sound is: intelligibility, quality, spectrum. Both are aligned and of one length."""

import math
import warnings

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.mel import log_mel
from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]

PESQ_RATE_HZ = 16000
_PESQ_STRETCH_S = 30  # longer sounds go in stretches: the reference program has room for so many pauses only
_DB_PER_NEPER = 20 / math.log(10)
_BANDS = 80


def stoi(original: Wave, decoded: Wave, sample_rate_hz: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), about 0 to 1; NaN where there is too little speech."""
    return _stoi(original, decoded, sample_rate_hz, extended=False)


def estoi(original: Wave, decoded: Wave, sample_rate_hz: int) -> float:
    """Extended STOI (Jensen and Taal 2016), which is stricter with what moves between the bands."""
    return _stoi(original, decoded, sample_rate_hz, extended=True)


def _stoi(original: Wave, decoded: Wave, sample_rate_hz: int, extended: bool) -> float:
    with needed_for("stoi and estoi are"):
        import pystoi
    if not original.any():
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # how it tells of a sound that is too short
        try:
            return float(pystoi.stoi(original, decoded, sample_rate_hz, extended))
        except (RuntimeWarning, ValueError):
            return math.nan


def pesq_nb(original: Wave, decoded: Wave, sample_rate_hz: int) -> float:
    """Perceptual quality, narrow band (ITU-T P.862.1), 1 to 4.5; NaN where there is no speech in one of the two."""
    return _pesq(original, decoded, sample_rate_hz, "nb")


def pesq_wb(original: Wave, decoded: Wave, sample_rate_hz: int) -> float:
    """Perceptual quality, wide band (ITU-T P.862.2), 1 to 4.6; NaN where there is no speech in one of the two."""
    return _pesq(original, decoded, sample_rate_hz, "wb")


def _pesq(original: Wave, decoded: Wave, sample_rate_hz: int, band: str) -> float:
    """The mean over stretches of at most 30 s."""
    with needed_for("pesq is"):
        import pesq
    waves = [resample(wave[None], sample_rate_hz, PESQ_RATE_HZ)[0] for wave in (original, decoded)]
    count = max(1, math.ceil(len(waves[0]) / (_PESQ_STRETCH_S * PESQ_RATE_HZ)))
    scores = []
    for ours, theirs in zip(*(np.array_split(wave, count) for wave in waves), strict=True):
        if ours.any() and theirs.any():
            try:
                scores.append(float(pesq.pesq(PESQ_RATE_HZ, ours, theirs, band)))
            except pesq.PesqError:  # too short, or no speech
                continue
    return float(np.mean(scores)) if scores else math.nan


def mel_distance_db(original: Wave, decoded: Wave, sample_rate_hz: int) -> float:
    """Mean absolute difference in dB between log-mel spectra: 80 bands, windows of 32 ms every 10 ms.

    Both are first brought to the gain that gives ``original`` the level at which the codec works; what lies 37 dB and
    more below that level counts as silence.
    """
    gain = np.float32(measure_level([original[None]], sample_rate_hz, 1)[0].gain)
    hop, window = round(0.01 * sample_rate_hz), round(0.032 * sample_rate_hz)
    ours, theirs = (
        log_mel(torch.from_numpy(wave * gain)[None], sample_rate_hz, window, hop, _BANDS)
        for wave in (original, decoded)
    )
    return float((ours - theirs).abs().mean()) * _DB_PER_NEPER if ours.numel() else math.nan
