"""How natural a sound is, without an original: mean opinion scores as two networks predict them, 1 (bad) to 5.

DistillMOS (Stahl and Gamper 2025) and DNSMOS P.835 (Reddy et al. 2022), "overall". The weights are in the packages
``distillmos`` and ``speechmos``. Both were fitted to what listeners said of other systems. A network can be flattered:
a gain counts only where other metrics do not lose.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]

_RATE_HZ = 16000
_SHORTEST_S = 0.1
_DNSMOS_WINDOW = round(9.01 * _RATE_HZ)  # what the network takes; windows begin every second
_DNSMOS_OVERALL = (-0.06766283, 1.11546468, 0.04602535)  # its raw figure to the scale, highest power first


def distillmos(wave: Wave, sample_rate_hz: int) -> float:
    """Predicted mean opinion of ``wave[T]`` by DistillMOS; NaN for silence and for less than 0.1 s."""
    network = _distillmos()
    if not _is_sound(wave, sample_rate_hz):
        return float("nan")
    with torch.inference_mode():
        return float(network(torch.from_numpy(resample(wave[None], sample_rate_hz, _RATE_HZ))))


def dnsmos(wave: Wave, sample_rate_hz: int) -> float:
    """Predicted mean opinion of ``wave[T]``, "overall" of DNSMOS P.835: the mean over windows of 9.01 s every second.

    A shorter sound is repeated. NaN for silence and for less than 0.1 s.
    """
    network = _dnsmos()
    if not _is_sound(wave, sample_rate_hz):
        return float("nan")
    wave = resample(wave[None], sample_rate_hz, _RATE_HZ)[0].clip(-1, 1)
    while len(wave) < _DNSMOS_WINDOW:
        wave = np.concatenate([wave, wave])
    whole = len(wave) // _RATE_HZ * _RATE_HZ  # as theirs: what is beyond the last second begins no window
    starts = _RATE_HZ * np.arange(1 + max(0, whole - _DNSMOS_WINDOW) // _RATE_HZ)
    windows = (np.ascontiguousarray(wave[None, start : start + _DNSMOS_WINDOW], np.float32) for start in starts)
    raw = [float(network.run(None, {"input_1": window})[0][0][2]) for window in windows]  # signal, background, overall
    return float(np.polyval(_DNSMOS_OVERALL, raw).mean())


def _is_sound(wave: Wave, sample_rate_hz: int) -> bool:
    return len(wave) >= _SHORTEST_S * sample_rate_hz and bool(wave.any())


@functools.lru_cache(maxsize=1)
def _distillmos() -> Any:
    with needed_for("distillmos is"):
        from distillmos.sqa import DEFAULT_WEIGHTS_CHKPT, ConvTransformerSQAModel

    network = ConvTransformerSQAModel(load_weights=False)  # which would print where it finds them
    network.load_state_dict(torch.load(DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True)["model"])
    return network.eval()


@functools.lru_cache(maxsize=1)
def _dnsmos() -> Any:
    """The network alone: the package's own code would load librosa for an opinion that is not used."""
    with needed_for("dnsmos is"):
        import onnxruntime
        import speechmos
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(speechmos.__file__).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
