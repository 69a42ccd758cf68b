"""A WaveNet that draws the excitation for a codec's codes: what ablation.py measures beside pulses and noise.

python recipes/benchmark/wavenet_training.py SHARDS -o wavenet.safetensors --minutes 45

The codec is held. Of each utterance its codes are found, and what they say of envelope and pitch; the recording through
the inverse of that envelope's filter is what the sub-band WaveNet learns to draw, told the codes' features and pitch.
"""

import argparse
import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor

from vqaudio.codecs.bundled import model_folder
from vqaudio.dsp.excitation import training_targets
from vqaudio.dsp.mel_envelope import sharpening
from vqaudio.kernels.filterbank import BANDS
from vqaudio.models.checkpoint import load_model
from vqaudio.models.subband_wavenet import SubbandWaveNet, SubbandWaveNetConfig
from vqaudio.models.vocoder_vqvae import VocoderVQVAE
from vqaudio.training.shards import AudioShards

CROP_FRAMES, BATCH = 128, 2  # 8704 samples each
SETTLING_STEPS = 64  # of a crop's beginning, which has no past, are not learnt from
WARMUP_STEPS, LEARNING_RATE, AVERAGE_DECAY = 50, 1.5e-3, 0.99
CONSOLE = Console(stderr=True)


class Heard(NamedTuple):
    """An utterance as the WaveNet learns it: bands ``[steps, 4]`` of the excitation, of what it was a pitch period ago
    and of the pulses, and the ``features[F, frames]``. In half precision."""

    excitation: Tensor
    lagged: Tensor
    pulses: Tensor
    features: Tensor


@torch.no_grad()
def hear(model: VocoderVQVAE, wave: np.ndarray) -> Heard:
    """What ``model``'s codes leave to be drawn of ``wave[T]``, which has normalised level."""
    samples = model.samples_per_token * model.num_quantizers
    sound = torch.from_numpy(wave[: len(wave) - len(wave) % samples])[None]
    features = model.features(model.encode(sound))
    said = model.parameters_of(features)
    f0_hz = torch.where(said.pitch.voiced, said.pitch.hz, 0.0)
    vocoder = model.config.vocoder
    sharpen = torch.from_numpy(sharpening(vocoder.bands, vocoder.sharpen)).float()
    envelope = torch.einsum("ij,bjt->bit", sharpen, said.bands)
    targets = training_targets(sound, envelope, f0_hz, model.config.sample_rate_hz)
    return Heard(*(one[0].half() for one in (*targets, features)))


def heard_utterances(model: VocoderVQVAE, shards: AudioShards, minutes: float) -> list[Heard]:
    """``minutes`` of the training part, drawn at random."""
    own = [utterance for utterance in shards.utterances if not utterance.validation]
    shuffled = [own[i] for i in np.random.default_rng(0).permutation(len(own))]
    ends = np.cumsum([utterance.length for utterance in shuffled])
    chosen = shuffled[: int(np.searchsorted(ends, minutes * 60 * shards.sample_rate_hz)) + 1]
    longest = CROP_FRAMES * model.config.frame_length
    return [
        hear(model, shards.wave(utterance))
        for utterance in track(chosen, "hearing", console=CONSOLE)
        if utterance.length >= 2 * longest
    ]


def crops(heard: list[Heard], seed: int) -> Iterator[Heard]:
    """Batches of crops without end, each utterance as likely as it is long."""
    rng = np.random.default_rng(seed)
    frames = np.array([one.features.shape[1] for one in heard])
    steps = len(heard[0].excitation) // heard[0].features.shape[1]
    while True:
        rows = []
        for pick in rng.choice(len(heard), BATCH, p=frames / frames.sum()):
            first = int(rng.integers(1, frames[pick] - CROP_FRAMES))
            frame = slice(first, first + CROP_FRAMES)
            step = slice(first * steps, (first + CROP_FRAMES) * steps)
            one = heard[pick]
            rows.append((one.excitation[step], one.lagged[step], one.pulses[step], one.features[:, frame]))
        yield Heard(*(torch.stack(parts).float() for parts in zip(*rows, strict=True)))


def nats(network: SubbandWaveNet, batch: Heard) -> Tensor:
    """Negative log likelihood of a sample of the bands, a density."""
    drawn = network(network.shift(batch.excitation), batch.lagged, batch.pulses, batch.features)
    return network.nll(drawn, batch.excitation)[:, SETTLING_STEPS:].mean()


def learn(heard: list[Heard], features: int, hop_length: int, seconds: float) -> tuple[SubbandWaveNet, int]:
    """A WaveNet after ``seconds`` of training, its weights averaged; and the number of steps."""
    torch.manual_seed(0)
    network = SubbandWaveNet(SubbandWaveNetConfig(features=features, hop_length=hop_length // BANDS))
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    started, shown, losses, step = time.monotonic(), 0.0, [], 0
    for step, batch in enumerate(crops(heard, 1)):
        passed = time.monotonic() - started
        if passed > seconds:
            break
        rate = 0.5 + 0.5 * math.cos(math.pi * max(0.0, 2 * passed / seconds - 1))  # whole for half of the time
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * rate
        loss = nats(network, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        for mine, theirs in zip(averaged.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - decay)
        losses.append(loss.item())
        if passed - shown > 60:
            shown = passed
            CONSOLE.print(f"{passed / 60:.1f} minutes, step {step}: {np.mean(losses[-100:]):.4f} nats a sample")
    return averaged, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="of 'vqaudio prepare'")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a file of safetensors")
    parser.add_argument("--model", default="speech", help="the codec: a bundled model's name, or a folder")
    parser.add_argument("--minutes", type=float, default=45.0, help="of training, by the clock")
    parser.add_argument("--sound", type=float, default=90.0, help="minutes of speech to learn from")
    arguments = parser.parse_args()
    model = load_model(model_folder(arguments.model))
    assert isinstance(model, VocoderVQVAE), "codes of speech parameters are needed"
    model.eval()
    heard = heard_utterances(model, AudioShards(arguments.shards), arguments.sound)
    conditioning = model.config.conditioning
    network, steps = learn(heard, conditioning.features, model.config.frame_length, 60 * arguments.minutes)
    facts = {"minutes": f"{arguments.minutes:g}", "steps": str(steps), "minutes of sound": f"{arguments.sound:g}"}
    save_file(network.state_dict(), arguments.output, facts)


if __name__ == "__main__":
    main()
