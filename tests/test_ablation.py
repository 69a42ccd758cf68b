"""The ablation: the WaveNet learns what drives the codes' own filter, and is measured on what was held out."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from vqaudio.codecs.speech import load
from vqaudio.codecs.subband_sampler import Spread
from vqaudio.dsp import filterbank
from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase
from vqaudio.errors import DataError
from vqaudio.kernels.varying_filter import VaryingFilter
from vqaudio.models.checkpoint import load_model
from vqaudio.models.subband_wavenet import SubbandWaveNet, SubbandWaveNetConfig
from vqaudio.models.vocoder_vqvae import VocoderVQVAE
from vqaudio.training.packing import is_validation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes" / "benchmark"))

import ablation
import wavenet_training

RATE = 16000


@pytest.fixture(scope="module")
def model(vocoded_model: Path) -> VocoderVQVAE:
    found = load_model(vocoded_model)
    assert isinstance(found, VocoderVQVAE)
    return found.eval()


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)


def test_what_is_heard_drives_the_codes_filter_to_the_recording(model: VocoderVQVAE, wave: np.ndarray) -> None:
    heard = wavenet_training.hear(model, wave)
    config, frames = model.config, heard.features.shape[1]
    length = frames * config.frame_length
    bands = model.bands_head(heard.features.float()[None])[0].T.detach().numpy()
    responses = MinimumPhase(config.vocoder.bands, RATE, config.vocoder.sharpen).responses(
        np.pad(bands, ((0, 1), (0, 0)), mode="edge")
    )
    driven = filterbank.synthesise(heard.excitation.float()[None])[0].numpy()
    again = VaryingFilter(config.frame_length, TAPS).push(driven, responses)
    assert length <= len(wave)
    assert abs(np.corrcoef(again[1000:-1000], wave[1000 : length - 1000])[0, 1]) > 0.95


def test_crops_keep_frames_and_steps_together(model: VocoderVQVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavenet_training, "CROP_FRAMES", 4)
    steps = model.config.frame_length // 4
    frame = torch.arange(30)
    step = frame.repeat_interleave(steps).float()[:, None].expand(-1, 4)
    heard = wavenet_training.Heard(step, step, step, frame.float()[None].expand(3, -1))
    batch = next(wavenet_training.crops([heard], 0))
    assert batch.features.shape == (wavenet_training.BATCH, 3, 4)
    assert torch.equal(batch.excitation[:, ::steps, 0], batch.features[:, 0])
    assert torch.equal(batch.pulses[:, steps - 1 :: steps, 0], batch.features[:, 0])


def test_the_wavenet_speaks_for_as_long_as_the_recording(
    model: VocoderVQVAE, vocoded_model: Path, wave: np.ndarray, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = model.config
    network = SubbandWaveNet(
        SubbandWaveNetConfig(features=config.conditioning.features, hop_length=config.frame_length // 4)
    )
    save_file(network.state_dict(), tmp_path / "wavenet.safetensors")
    sampler, codec = ablation.load_wavenet(tmp_path / "wavenet.safetensors", model), load(vocoded_model, "cpu")
    spoken = [ablation.Drawn(codec, model, sampler, spread)(wave[:7001], RATE).wave for spread in (Spread(), Spread())]
    assert spoken[0].shape == (7001,)
    assert np.isfinite(spoken[0]).all()
    assert np.array_equal(*spoken)
    calm = Spread(unvoiced=(0.0,) * 4, voiced=(0.0,) * 4)
    assert np.std(ablation.Drawn(codec, model, sampler, calm)(wave[:7001], RATE).wave) < 0.9 * np.std(spoken[0])


def test_it_is_measured_on_what_training_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["path\tspeaker\ttranscript"]
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", np.full(800, 0.1), RATE)
        lines.append(f"{number}.wav\tann\t{'a word' if number % 2 else ''}")
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    monkeypatch.setattr(ablation, "HELD_OUT", 0.5)
    found = ablation.held_out(tmp_path, 100)
    assert {one.path.name for one in found} == {f"{n}.wav" for n in range(12) if is_validation(f"{n}.wav", 0.5)}
    spoken = [bool(one.transcript) for one in found]
    assert spoken == sorted(spoken, reverse=True)
    assert ablation.held_out(tmp_path, 2) == found[:2]
    monkeypatch.setattr(ablation, "HELD_OUT", 0.0)
    with pytest.raises(DataError, match="would hold out none"):
        ablation.held_out(tmp_path, 2)
