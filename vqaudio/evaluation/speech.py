"""What a model is worth, measured over a corpus: rate from real bytes, likelihood, code usage, metrics of the sound.

Likelihood is the bound of VQ-VAE, section 3.3: ``log p(x) >= log p(x | z_q) + log p(z)``, in bits a sample, with the
prior over the tokens uniform and, where the model has one, learnt, and in bits a second of sound. The metrics of the
sound are those of :mod:`vqaudio.evaluation.metrics`.
"""

import dataclasses
import io
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.bitstream.header import Coder
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.speakers import Voice
from vqaudio.codecs.speech import Codec
from vqaudio.dsp import loudness
from vqaudio.errors import ConfigError, DataError, VqaudioError
from vqaudio.evaluation.corpus import measurable_recordings, read_original
from vqaudio.evaluation.metrics import (
    METRICS,
    Figures,
    Mean,
    MetricCache,
    Original,
    Ruler,
    check_names,
    missing,
    summary,
)
from vqaudio.io.corpora import Recording
from vqaudio.models.prior import WaveNetPrior
from vqaudio.models.sound_model import SymbolNetwork
from vqaudio.models.speech_vqvae import AudioVQVAE

Wave = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]
_BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True)
class EvaluationOptions:
    """What to measure.

    Attributes:
        metrics: names out of :data:`vqaudio.evaluation.metrics.METRICS`; None takes all whose packages are installed.
        limit: of files of each group; 0 takes all.
        seed: of the decoder's draws.
        temperature: the decoder's; None is the model's own.
        whisper: the recogniser of words, see :func:`vqaudio.evaluation.metrics.words.load_whisper`.
        cache: a file in which what metrics find is kept by checksum; None keeps nothing.
        learnt_from: checksums of files that the model learnt from, on which it is not measured.
    """

    metrics: tuple[str, ...] | None = None
    limit: int = 0
    seed: int = 0
    temperature: float | None = None
    whisper: str = ""
    cache: Path | None = None
    learnt_from: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Utterance:
    """A file gone through the codec: its sound before and after, its stream of one channel, and its figures."""

    name: str  # its path in the corpus
    recording: Recording
    original: Original
    decoded: Wave
    stream: Stream
    figures: Figures


@dataclass(frozen=True)
class Measured:
    """What remains of an :class:`Utterance` when its sound is gone."""

    group: str
    speaker: str
    duration_s: float
    transcript: str
    figures: Figures


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found: means by group ("all" is all of them), and the codes of the whole pass.

    ``utterances`` has each file by its path in the corpus. ``failed`` has a line for each file that could not be
    measured, ``not_measured`` one for each metric that was left out.
    """

    groups: dict[str, dict[str, Mean]]
    utterances: dict[str, Measured]
    codes_used: int
    codebook_size: int
    largest_code_share: float
    code_entropy_bits: float
    failed: tuple[str, ...]
    not_measured: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """All of it for JSON; null is a figure that could not be had."""
        document: dict[str, Any] = strict(dataclasses.asdict(self))
        return document


def strict(value: Any) -> Any:
    """``value`` with None for each number that JSON does not have."""
    if isinstance(value, dict):
        return {name: strict(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [strict(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate(
    codec: Codec,
    corpus: Path,
    plan: EvaluationOptions = EvaluationOptions(),
    progress: Callable[[Iterable[Recording]], Iterable[Recording]] = iter,
    watch: Callable[[Utterance], None] = lambda utterance: None,
) -> Evaluation:
    """Codes and decodes the corpus' files (channels mixed to one) and measures what comes back.

    A model with speakers speaks with the voice of each recording's own speaker, where it knows him, or else with the
    voice that it finds in the recording.

    Args:
        codec: of the model.
        corpus: a folder with manifest.tsv, or any that :func:`vqaudio.io.corpora.find_recordings` reads.
        plan: what to measure.
        progress: may wrap the list of files to show how far it is.
        watch: is shown every utterance with its sound, which is then forgotten.

    Raises:
        ConfigError: the plan names a metric that is unknown or whose package is not installed.
        DataError: there is no corpus, none of its files can be measured, or the model learnt from one of them.
    """
    recordings, faults = measurable_recordings(corpus, plan.limit, plan.learnt_from)
    names, not_measured = chosen_metrics(plan.metrics)
    if "wer" in names and not any(recording.transcript for recording in recordings):
        not_measured += ("wer is not measured: the corpus has no transcripts; a manifest.tsv may have them",)
    ruler = Ruler(names, MetricCache(plan.cache) if plan.cache else None, plan.whisper)
    utterances: dict[str, Measured] = {}
    failed = list(faults)
    counts = np.zeros(codec.config.quantizer.codebook_size, np.int64)
    foreign = np.zeros(1, np.int32)
    for recording in progress(recordings):
        name = Path(os.path.relpath(recording.path, corpus)).as_posix()
        try:
            original = read_original(recording, codec.config.sample_rate_hz)
            voice = own_voice(codec, recording, original)
        except (VqaudioError, OSError) as error:
            failed.append(f"{recording.path}: {str(error).removeprefix(f'{recording.path}: ')}")
            continue
        utterance = _go_through(codec, name, recording, original, voice, foreign, plan, ruler)
        foreign = utterance.stream.tokens[0]
        counts += np.bincount(foreign, minlength=len(counts))
        duration_s = len(original.wave) / original.sample_rate_hz
        utterances[name] = Measured(
            recording.group, recording.speaker, duration_s, recording.transcript, utterance.figures
        )
        watch(utterance)
    if not utterances:
        raise DataError(f"{corpus}: no file could be measured ({failed[0]}); give a corpus of speech")
    return _evaluation(utterances, counts, tuple(failed), not_measured)


def _evaluation(
    utterances: dict[str, Measured],
    counts: npt.NDArray[np.int64],
    failed: tuple[str, ...],
    not_measured: tuple[str, ...],
) -> Evaluation:
    """``counts[K]`` say how often each code occurred."""
    groups: dict[str, list[Figures]] = defaultdict(list)
    for utterance in utterances.values():
        groups[utterance.group].append(utterance.figures)
    every = [utterance.figures for utterance in utterances.values()]
    shares = counts[counts > 0] / counts.sum()
    return Evaluation(
        groups={group: summary(of) for group, of in (*groups.items(), ("all", every))},
        utterances=utterances,
        codes_used=len(shares),
        codebook_size=len(counts),
        largest_code_share=float(shares.max()),
        code_entropy_bits=float(-(shares * np.log2(shares)).sum()),
        failed=failed,
        not_measured=not_measured,
    )


def chosen_metrics(wanted: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The metrics to measure, of all or of those ``wanted``, and a line for each that is left out.

    Raises:
        ConfigError: a wanted one is unknown or its package is not installed.
    """
    if wanted is None:
        absent = missing(METRICS)
        return tuple(name for name in METRICS if name not in absent), tuple(absent.values())
    check_names(wanted)
    for line in missing(wanted).values():
        raise ConfigError(line)
    return wanted, ()


# ------------------------------------------------------------------------------------------------------ one utterance


def own_voice(codec: Codec, recording: Recording, original: Original) -> Voice | None:
    """Who speaks in the recording, for a model that must be told: a speaker of its own, or a voice learnt from it."""
    if not codec.config.speakers:
        return None
    if recording.speaker in codec.config.speakers:
        return codec.check_speaker(recording.speaker)
    return codec.voice_of(original.wave, original.sample_rate_hz)


def _go_through(
    codec: Codec,
    name: str,
    recording: Recording,
    original: Original,
    voice: Voice | None,
    foreign: Codes,
    plan: EvaluationOptions,
    ruler: Ruler,
) -> Utterance:
    stream = codec.encode(original.wave, original.sample_rate_hz)
    decoded = codec.decode(stream, seed=plan.seed, temperature=plan.temperature, speaker=voice)[0]
    packed = Stream(dataclasses.replace(stream.header, coder=Coder.PACKED), stream.tokens)
    rates = {"bits_per_second": stream, "packed_bits_per_second": packed}
    found = {rate: _bits_per_second(codec, of) for rate, of in rates.items()}
    found |= likelihood(codec, original.wave, stream.tokens[0], foreign, voice)
    found |= ruler.measure(original, decoded)
    return Utterance(name, recording, original, decoded, stream, found)


def _bits_per_second(codec: Codec, stream: Stream) -> float:
    """Of the stream's file, header and all."""
    file = io.BytesIO()
    stream.write(file, codec.block_coder(stream.header.coder))
    return 8 * len(file.getvalue()) * stream.header.sample_rate_hz / stream.header.shape[0]


def _prior_in_torch(network: SymbolNetwork) -> WaveNetPrior:
    """A prior that no speaker is told, wherever its weights are."""
    prior = WaveNetPrior(network.config, 0)
    prior.wavenet.load_state_dict({name: torch.from_numpy(array) for name, array in network.arrays().items()})
    return prior


@torch.no_grad()
def likelihood(codec: Codec, wave: Wave, codes: Codes, foreign: Codes, voice: Voice | None = None) -> dict[str, float]:
    """The model's likelihood of ``wave[T]``, at normalised level and padded with silence to whole tokens, in bits.

    Args:
        codec: of the model.
        wave: at the model's rate.
        codes: the tokens ``[tokens]`` that ``wave`` was encoded to.
        foreign: the tokens of another sound, of any length: with these the likelihood must be clearly worse.
        voice: who speaks, where the model knows speakers.
    """
    model, (level,) = codec.model, loudness.measure_level([wave[None]], codec.config.sample_rate_hz, 1)
    found, per_token, prior = {}, None, model.prior_network()
    if prior is not None and not prior.config.features:
        tokens = torch.from_numpy(codes.astype(np.int64))[None]
        per_token = float(_prior_in_torch(prior).nll(tokens).mean()) * _BITS_PER_NAT
        found["bits_per_token"] = per_token
    if not isinstance(model, AudioVQVAE):  # its decoder has no likelihood
        return found
    device = model.device
    padded = np.pad(wave * np.float32(level.gain), (0, codes.size * model.samples_per_token - len(wave)))
    emphasised = model.emphasise(torch.from_numpy(padded)[None].to(device))
    told = None if voice is None else torch.from_numpy(voice)[None].to(device)
    drawn = model

    def decoder_bits(used: Codes) -> float:
        features = drawn.features(torch.from_numpy(used.astype(np.int64))[None].to(device), told)
        return float(drawn.decoder_nll(features, emphasised, emphasised.shape[1])) * _BITS_PER_NAT

    bits = decoder_bits(codes)
    uniform = math.log2(codec.config.quantizer.codebook_size)
    found |= {
        "bits_per_sample": bits,
        "bits_per_sample_shuffled": decoder_bits(np.resize(foreign, codes.size)),
        "bound_uniform_prior": bits + uniform / model.samples_per_token,
    }
    if per_token is not None:
        found["bound_learnt_prior"] = bits + per_token / model.samples_per_token
    best = found.get("bound_learnt_prior", found["bound_uniform_prior"])
    return found | {"bound_bits_per_second": best * codec.config.sample_rate_hz}
