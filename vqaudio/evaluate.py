"""What a model is worth, measured over a corpus: rate from real bytes, likelihood, code usage, intelligibility.

Likelihood is the bound of VQ-VAE, section 3.3: ``log p(x) >= log p(x | z_q) + log p(z)``, in bits a sample, with the
prior over the tokens uniform and, where the model has one, learnt.
"""

import dataclasses
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vqaudio import audio
from vqaudio.codec import Codec
from vqaudio.container import Coder
from vqaudio.corpora import Recording, find_recordings
from vqaudio.errors import DataError
from vqaudio.resample import resample
from vqaudio.soundfiles import SoundReader
from vqaudio.stream import Stream
from vqaudio.streaming import mixed

Wave = npt.NDArray[np.float32]
Scores = dict[str, float]
_BITS_PER_NAT = 1 / math.log(2)
_RESAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class Mean:
    """A mean over utterances and its bootstrap 95 % interval; ``count`` utterances had the score."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found: means by group ("all" is all of them), and the codes of the whole pass.

    ``utterances`` has the scores of each file. ``not_measured`` says, a line each, what was left out and why.
    """

    groups: dict[str, dict[str, Mean]]
    utterances: dict[str, Scores]
    codes_used: int
    codebook_size: int
    largest_code_share: float
    code_entropy_bits: float
    not_measured: tuple[str, ...]


def evaluate(
    codec: Codec,
    corpus: Path,
    limit: int = 0,
    seed: int = 0,
    temperature: float | None = None,
    progress: Callable[[Iterable["Item"]], Iterable["Item"]] = iter,
) -> Evaluation:
    """Codes and decodes the corpus' files (channels mixed to one) and scores what comes back.

    Args:
        codec: of the model.
        corpus: a folder with manifest.tsv, or any that :func:`vqaudio.corpora.find_recordings` reads. A file's group is
            the first folder on its path.
        limit: of files of each group; 0 takes all.
        seed: of the decoder's draws.
        temperature: the decoder's; the model's own where left out.
        progress: may wrap the list of files to show how far it is.

    Raises:
        DataError: there is no corpus, or nothing in it is long enough to be scored.
        SoundError: a file cannot be read.
    """
    scorers, missing = _scorers()
    found: dict[str, dict[str, Scores]] = defaultdict(dict)
    counts = np.zeros(codec.config.quantizer.codebook_size, np.int64)
    foreign = np.zeros(1, np.int32)
    for recording, group in progress(_chosen(corpus, limit)):
        wave = _read(recording.path, codec.config.sample_rate_hz)
        if len(wave) == 0:
            continue
        scores, foreign = _score(codec, wave, foreign, seed, temperature, scorers)
        counts += np.bincount(foreign, minlength=len(counts))
        found[group][str(recording.path)] = scores
    if not found:
        raise DataError(f"{corpus}: holds nothing but empty sounds; give one with speech")
    shares = counts[counts > 0] / counts.sum()
    utterances = {path: scores for group in found.values() for path, scores in group.items()}
    return Evaluation(
        groups={name: _means(list(of.values())) for name, of in (*found.items(), ("all", utterances))},
        utterances=utterances,
        codes_used=len(shares),
        codebook_size=len(counts),
        largest_code_share=float(shares.max()),
        code_entropy_bits=float(-(shares * np.log2(shares)).sum()),
        not_measured=missing,
    )


Item = tuple[Recording, str]  # a file and its group


def _chosen(corpus: Path, limit: int) -> list[Item]:
    chosen: dict[str, list[Item]] = defaultdict(list)
    for recording in find_recordings(corpus):
        folders = recording.path.relative_to(corpus).parts[:-1]
        group = folders[0] if folders else corpus.resolve().name
        if not limit or len(chosen[group]) < limit:
            chosen[group].append((recording, group))
    return [pair for group in chosen.values() for pair in group]


def _read(path: Path, sample_rate_hz: int) -> Wave:
    with SoundReader(path) as sound:
        return resample(mixed(sound)[None], sound.sample_rate_hz, sample_rate_hz)[0]


# ------------------------------------------------------------------------------------------------------------- scores


def _score(
    codec: Codec, wave: Wave, foreign: npt.NDArray[np.int32], seed: int, temperature: float | None, scorers: "_Scorers"
) -> tuple[Scores, npt.NDArray[np.int32]]:
    """The scores of ``wave``, and its codes."""
    stream = codec.encode(wave, codec.config.sample_rate_hz)
    decoded = codec.decode(stream, seed, temperature)[0]
    packed = Stream(dataclasses.replace(stream.header, coder=Coder.PACKED), stream.codes)
    rates = {"bits_per_second": stream, "packed_bits_per_second": packed}
    scores = {name: _bits_per_second(codec, of) for name, of in rates.items()}
    scores |= likelihood(codec, wave, stream.codes[0], foreign)
    for name, scorer in scorers.items():
        scores[name] = scorer(wave, decoded, codec.config.sample_rate_hz)
    return scores, stream.codes[0]


def _bits_per_second(codec: Codec, stream: Stream) -> float:
    """Of the stream's file, header and all."""
    file = io.BytesIO()
    stream.write(file, codec.block_coder(stream.header.coder))
    return 8 * len(file.getvalue()) * stream.header.sample_rate_hz / stream.header.shape[0]


@torch.no_grad()
def likelihood(
    codec: Codec, wave: Wave, codes: npt.NDArray[np.int32], foreign: npt.NDArray[np.int32]
) -> dict[str, float]:
    """The model's likelihood of ``wave[T]``, at normalised level and padded with silence to whole tokens, in bits.

    Args:
        codec: of the model.
        wave: at the model's rate.
        codes: the tokens ``[tokens]`` that ``wave`` was encoded to.
        foreign: the tokens of another sound, of any length: with these the likelihood must be clearly worse.
    """
    model, (level,) = codec.model, audio.measure_level([wave[None]], codec.config.sample_rate_hz, 1)
    padded = np.pad(wave * np.float32(level.gain), (0, codes.size * model.hop_length - len(wave)))
    emphasised = model.emphasise(torch.from_numpy(padded)[None])

    def decoder_bits(used: npt.NDArray[np.int32]) -> float:
        features = model.features(torch.from_numpy(used.astype(np.int64))[None])
        return float(model.decoder_nll(features, emphasised, emphasised.shape[1])) * _BITS_PER_NAT

    bits = decoder_bits(codes)
    uniform = math.log2(codec.config.quantizer.codebook_size)
    found = {
        "bits_per_sample": bits,
        "bits_per_sample_shuffled": decoder_bits(np.resize(foreign, codes.size)),
        "bound_uniform_prior": bits + uniform / model.hop_length,
    }
    if model.prior is not None and model.prior.speakers is None:
        tokens = torch.from_numpy(codes.astype(np.int64))[None]
        per_token = float(model.prior.nll(tokens).mean()) * _BITS_PER_NAT
        found |= {"bits_per_token": per_token, "bound_learnt_prior": bits + per_token / model.hop_length}
    return found


_Scorers = dict[str, Callable[[Wave, Wave, int], float]]


def _scorers() -> tuple[_Scorers, tuple[str, ...]]:
    """Those whose packages are installed, and a line for each that is not."""
    scorers: _Scorers = {}
    missing = []
    try:
        from pystoi import stoi

        scorers["stoi"] = lambda a, b, rate: float(stoi(a, b, rate))
        scorers["estoi"] = lambda a, b, rate: float(stoi(a, b, rate, extended=True))
    except ImportError:
        missing.append("stoi and estoi are not measured: pip install 'vqaudio[evaluate]'")
    try:
        from pesq import PesqError, pesq

        def pesq_nb(original: Wave, decoded: Wave, rate: int) -> float:
            try:
                return float(pesq(rate, original, decoded, "nb"))
            except (PesqError, ValueError):  # no speech in one of the two, or a rate that it does not know
                return math.nan

        scorers["pesq_nb"] = pesq_nb
    except ImportError:
        missing.append("pesq is not measured: pip install 'vqaudio[evaluate]'")
    return scorers, tuple(missing)


def _means(scores: list[Scores]) -> dict[str, Mean]:
    return {name: bootstrap_mean(np.array([s[name] for s in scores])) for name in scores[0]}


def bootstrap_mean(values: npt.NDArray[np.float64]) -> Mean:
    """The mean of those ``values[N]`` that are numbers, with its bootstrap 95 % interval (the same at each call)."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Mean(math.nan, math.nan, math.nan, 0)
    draws = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return Mean(float(values.mean()), float(low), float(high), len(values))
