"""What a bottleneck lets through before any WaveNet is trained: Griffin-Lim speaks the predicted spectra.

python recipes/speaker_conversion/bottlenecks.py CORPUS MODEL [MODEL ...] [--words]

The models need only the phase "codes" of voices.toml, with another encoder, codebook or augmentation. Measured is on
the utterances that training on CORPUS held out, each converted to one speaker of either gender.
"""

import argparse
import os
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import GriffinLim

from vqaudio.dsp.loudness import measure_level
from vqaudio.evaluation.corpus import read_original
from vqaudio.evaluation.metrics import align, estoi, recognise, similarity, speaker_embedding, stoi, word_errors
from vqaudio.io.corpora import Recording, find_recordings
from vqaudio.models import checkpoint
from vqaudio.models.speech_vqvae import AudioVQVAE
from vqaudio.training.packing import is_validation

RATE = 16000
LEAST = 10  # recordings of a speaker who is measured
HELD_OUT = 0.02
STEP = 4  # every fourth frame of the spectra is spoken


class Speaker:
    """Turns codes into sound by way of the spectra that ``model`` predicts."""

    def __init__(self, model: AudioVQVAE) -> None:
        mel, hop = model.config.mels[0], model.config.decoder.hop_length
        self.model, self.bands = model, mel.n_mels
        self.inverse = torch.linalg.pinv(melscale_fbanks(mel.n_fft // 2 + 1, 0.0, RATE / 2, mel.n_mels, RATE).T)
        self.speak = GriffinLim(mel.n_fft, 60, hop_length=STEP * hop, power=1.0)

    @torch.no_grad()
    def __call__(self, codes: torch.Tensor, speaker: str) -> np.ndarray:
        """``codes[1, tokens]`` as ``speaker`` would say them."""
        torch.manual_seed(0)
        voice = self.model.voice(torch.tensor([self.model.config.speakers.index(speaker)]))
        mel = self.model.mel_head(self.model.features(codes, voice))[0, : self.bands].exp()
        return self.speak((self.inverse @ mel[:, ::STEP]).clamp(min=1e-5)).numpy().astype(np.float32)


def normalised(recording: Recording) -> np.ndarray:
    wave = read_original(recording, RATE).wave
    return wave * np.float32(measure_level([wave[None]], RATE, 1)[0].gain)


def judge(folder: Path, held_out: list[Recording], known: dict[str, list[Recording]], words: bool) -> dict[str, float]:
    """The table's row of one model."""
    model = checkpoint.load_model(folder)
    assert isinstance(model, AudioVQVAE)
    speaker, rng = Speaker(model), random.Random(0)
    centres = {name: centre(own) for name, own in known.items()}
    found = defaultdict(list)
    for recording in held_out:
        wave = normalised(recording)
        wave = wave[: len(wave) - len(wave) % model.config.encoder.hop_length]
        codes = model.encode(torch.from_numpy(wave)[None])
        again = align(wave, speaker(codes, recording.speaker), RATE)
        found["STOI"].append(stoi(wave, again, RATE))
        found["ESTOI"].append(estoi(wave, again, RATE))
        found["own voice"].append(similarity(speaker_embedding(again, RATE), centres[recording.speaker]))
        for gender in "FM":
            others = [name for name, own in known.items() if name != recording.speaker and own[0].gender == gender]
            target = rng.choice(sorted(others))
            converted = speaker(codes, target)
            embedding = speaker_embedding(converted, RATE)
            to_target, to_source = (similarity(embedding, centres[name]) for name in (target, recording.speaker))
            found["to the target"].append(to_target)
            found["to the source"].append(to_source)
            found["nearer to the target"].append(float(to_target > to_source))
            if words and recording.transcript:
                heard = word_errors(recording.transcript, recognise(converted, RATE))
                found["word error rate"].append(heard.errors / max(1, heard.words))
    return {name: float(np.mean(values)) for name, values in found.items()}


def centre(recordings: list[Recording]) -> np.ndarray:
    """The mean embedding of some recordings."""
    mean = np.mean([speaker_embedding(normalised(recording), RATE) for recording in recordings[:5]], axis=0)
    return mean / np.linalg.norm(mean)


def is_held_out(recording: Recording, corpus: Path) -> bool:
    return is_validation(os.path.relpath(recording.path, corpus), HELD_OUT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--words", action="store_true", help="word errors of the converted speech, too (slow)")
    wanted = parser.parse_args()
    known = defaultdict(list)
    for recording in find_recordings(wanted.corpus):
        known[recording.speaker].append(recording)
    known = {name: own for name, own in known.items() if len(own) > LEAST}
    held_out = [r for own in known.values() for r in own if is_held_out(r, wanted.corpus)]
    for folder in wanted.models:
        row = judge(folder, held_out, known, wanted.words)
        print(folder, "|", " | ".join(f"{name} {value:.3f}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
