"""What each part of the codec costs: the parameters, the codes, and what drives the filter: ablation.json.

python recipes/benchmark/ablation.py TRAINING_CORPUS WAVENET [--count 16]

Measured on utterances that training held out, so that nothing here looks at the evaluation set. WAVENET is what
wavenet_training.py wrote. All rows of it come of one run, the same codes, the same envelopes and the same pitch.
"""

import argparse
import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import machine, versions
from quality import COMPARED, Measured, Task, codec_document, corpus_facts, differences, measure_all, measure_recording
from safetensors import safe_open
from safetensors.torch import load_file
from systems import Coded, System, untouched

import vqaudio
from vqaudio.codecs.bundled import model_folder
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.subband_sampler import DrawnExcitation, Spread, SubbandSampler
from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase
from vqaudio.errors import DataError, VqaudioError
from vqaudio.evaluation.corpus import chosen_recordings, readable_recordings
from vqaudio.evaluation.metrics import MetricCache, Ruler, default_cache
from vqaudio.io.corpora import Recording
from vqaudio.kernels.filterbank import BANDS, DELAY
from vqaudio.kernels.varying_filter import VaryingFilter
from vqaudio.models.checkpoint import load_model
from vqaudio.models.subband_wavenet import SubbandWaveNet, SubbandWaveNetConfig
from vqaudio.models.vocoder_vqvae import VocoderVQVAE
from vqaudio.training.packing import is_validation

RESULTS = Path(__file__).parent / "results"
HELD_OUT = 0.02  # of a corpus, as 'vqaudio prepare' does it
METRICS = ("distillmos", "stoi", "pesq", "wer", "speaker")
PULSES, WAVENET, CALM = (
    "coded, pulses and noise",
    "coded, the WaveNet",
    "coded, the WaveNet, voices at 0.7 of its spread",
)


@dataclass(frozen=True)
class Pulses:
    """The codec as it is."""

    codec: Codec

    def __call__(self, wave: np.ndarray, rate_hz: int) -> Coded:
        return Coded(self.codec.decode(self.codec.encode(wave, rate_hz))[0])


@dataclass(frozen=True)
class Drawn:
    """The codec's codes, envelope and pitch with an excitation that a WaveNet draws."""

    codec: Codec
    model: VocoderVQVAE
    sampler: SubbandSampler
    spread: Spread

    @torch.inference_mode()
    def __call__(self, wave: np.ndarray, rate_hz: int) -> Coded:
        codes = torch.from_numpy(self.codec.encode(wave, rate_hz).tokens[0].astype(np.int64))[None]
        features = self.model.features(codes)
        said = self.model.parameters_of(features)
        f0_hz = torch.where(said.pitch.voiced, said.pitch.hz, 0.0)[0].numpy()
        config = self.model.config
        source = DrawnExcitation(self.sampler, config.sample_rate_hz, self.spread, np.random.default_rng(0))
        told = np.pad(features[0].T.numpy(), ((0, 1), (0, 0)), mode="edge")  # a frame more, for it comes late
        excitation = source.push(told, np.pad(f0_hz, (0, 1 + source.frames_ahead), mode="edge"))
        filters = MinimumPhase(config.vocoder.bands, config.sample_rate_hz, config.vocoder.sharpen)
        responses = filters.responses(np.pad(said.bands[0].T.numpy(), ((0, 1), (0, 0)), mode="edge"))
        driven = excitation[DELAY : DELAY + len(f0_hz) * config.frame_length]
        return Coded(VaryingFilter(config.frame_length, TAPS).push(driven, responses)[: len(wave)])


def load_wavenet(path: Path, model: VocoderVQVAE) -> SubbandSampler:
    """What :mod:`wavenet_training` wrote for ``model``."""
    hop_length = model.config.frame_length // BANDS
    network = SubbandWaveNet(SubbandWaveNetConfig(features=model.config.conditioning.features, hop_length=hop_length))
    network.load_state_dict(load_file(path))
    return SubbandSampler(network)


def systems(name: str, wavenet: Path) -> list[System]:
    """In the order of the table; the second of ours is compared with the first."""
    model = load_model(model_folder(name))
    assert isinstance(model, VocoderVQVAE), "codes of speech parameters are needed"
    codec, sampler = vqaudio.load(name, "cpu"), load_wavenet(wavenet, model.eval())
    calm = Spread(voiced=(0.7, 0.7, 0.7, 0.7))
    return [
        System("original", "original", untouched),
        System(PULSES, "ours", Pulses(codec)),
        System(WAVENET, "ours", Drawn(codec, model, sampler, Spread())),
        System(CALM, "ours", Drawn(codec, model, sampler, calm)),
    ]


def held_out(corpus: Path, count: int) -> list[Recording]:
    """``count`` recordings that training on ``corpus`` held out, those with transcripts first.

    Raises:
        DataError: there are none.
    """
    found = [one for one in chosen_recordings(corpus, 0) if is_validation(os.path.relpath(one.path, corpus), HELD_OUT)]
    good, faults = readable_recordings(sorted(found, key=lambda one: not one.transcript))
    if not good:
        why = f" ({faults[0]})" if faults else ""
        raise DataError(f"{corpus}: training would hold out none of its files{why}; give a larger corpus")
    return good[:count]


@functools.cache
def tools(task: Task, wavenet: Path) -> tuple[list[System], Ruler]:
    """Of this process."""
    return systems(task.model, wavenet), Ruler(task.names, MetricCache(task.cache))


def measure_one(wavenet: Path, task: Task, recording: Recording) -> Measured:
    """Every system of the table through every metric."""
    return measure_recording(task, *tools(task, wavenet), recording)


def measure(name: str, corpus: Path, wavenet: Path, count: int) -> dict[str, Any]:
    """All of it, as a document for JSON."""
    recordings = held_out(corpus, count)
    every = systems(name, wavenet)
    task = Task(name, METRICS, default_cache(), "", sounds=False)
    workers = len(os.sched_getaffinity(0))
    found = list(measure_all(task, recordings, workers, functools.partial(measure_one, wavenet)))
    with safe_open(wavenet, "np") as file:
        facts = file.metadata() or {}
    return {
        "machine": machine(),
        "versions": versions(("vqaudio", "torch", "numpy", "distillmos", "faster-whisper"), ()),
        "model": Path(name).name,
        "wavenet": facts,
        "corpus": corpus_facts(found),
        "codecs": {system.name: codec_document(system, found) for system in every},
        "differences": {f"{other} against {PULSES}": _more(found, other) for other in (WAVENET, CALM)},
    }


def _more(found: list[Measured], other: str) -> dict[str, Any]:
    """How much more ``other`` has than pulses and noise."""
    return {name: of for name, of in differences(found, other, PULSES).items() if name in COMPARED and of["count"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="what the model was trained on")
    parser.add_argument("wavenet", type=Path, help="of wavenet_training.py")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="a folder, by default the recipe's results")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--count", type=int, default=16, help="utterances")
    arguments = parser.parse_args()
    try:
        found = measure(arguments.model, arguments.corpus, arguments.wavenet, arguments.count)
    except VqaudioError as error:
        sys.exit(str(error))
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "ablation.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
