"""What the codes mean: each code stands for a phone (van den Oord et al. 2017, section 4.3).

Speech is aligned with its transcript by PocketSphinx's acoustic model and dictionary: 39 phones of American English and
silence, every 10 ms. In one half of the utterances each code is given the phone that it occurs with most often; with
these it names the phones of the other half. Beside it stand the commonest phone alone (chance) and as many clusters of
cepstra (MFCC), found by k-means on the same half.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.codecs.speech import Codec
from vqaudio.dsp.mel import log_mel
from vqaudio.errors import DataError
from vqaudio.evaluation.metrics import Original, spoken_words
from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

PHONES = [
    "SIL",
    "AA",
    "AE",
    "AH",
    "AO",
    "AW",
    "AY",
    "B",
    "CH",
    "D",
    "DH",
    "EH",
    "ER",
    "EY",
    "F",
    "G",
    "HH",
    "IH",
    "IY",
    "JH",
    "K",
    "L",
    "M",
    "N",
    "NG",
    "OW",
    "OY",
    "P",
    "R",
    "S",
    "SH",
    "T",
    "TH",
    "UH",
    "UW",
    "V",
    "W",
    "Y",
    "Z",
    "ZH",
]
ALIGNED_HZ = 100  # phones a second
_RATE_HZ = 16000
_FULL_SCALE = 32767
_CEPSTRA = 13
_BANDS, _WINDOW_S = 40, 0.025
_KMEANS_ROUNDS = 25
_CLUSTERED = 20000  # frames that centres are found on


class Aligner:
    """Finds when each phone of a transcript is spoken: by Viterbi search, first the words, then the phones in them."""

    def __init__(self) -> None:
        """Loads the acoustic model.

        Raises:
            ConfigError: PocketSphinx is not installed.
        """
        with needed_for("phones are"):
            from pocketsphinx import Decoder
        # Its lattice would give some words less time than their phones need.
        self._decoder = Decoder(samprate=_RATE_HZ, loglevel="FATAL", lm=None, bestpath=False)

    def unknown_words(self, transcript: str) -> list[str]:
        """The words of ``transcript`` that the dictionary lacks."""
        return [word for word in spoken_words(transcript) if self._decoder.lookup_word(word) is None]

    def align(self, wave: Wave, sample_rate_hz: int, transcript: str) -> Integers | None:
        """Numbers in :data:`PHONES`, one each 10 ms of ``wave[T]``; None where the words are unknown or do not fit."""
        words = spoken_words(transcript)
        if not words or self.unknown_words(transcript):
            return None
        sound = resample(wave[None], sample_rate_hz, _RATE_HZ)[0].clip(-1, 1)
        data = (sound * _FULL_SCALE).astype("<i2").tobytes()
        phones = np.zeros(math.ceil(len(sound) * ALIGNED_HZ / _RATE_HZ), np.int64)
        try:
            self._decoder.set_align_text(" ".join(words))
            self._listen(data)  # to the words
            self._decoder.set_alignment()
            self._listen(data)  # to the phones in them
        except RuntimeError:
            return None
        alignment = self._decoder.get_alignment()  # must live as long as what it gives
        if alignment is None:
            return None
        for word in alignment:
            for phone in word:
                number = PHONES.index(phone.name) if phone.name in PHONES else 0  # the rest are noises
                phones[phone.start : phone.start + phone.duration] = number
        return phones

    def _listen(self, data: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(data, no_search=False, full_utt=True)
        self._decoder.end_utt()


@dataclass(frozen=True, eq=False)
class SpokenCodes:
    """One utterance: of each frame the phone ``[frames]``, the code ``[frames]`` and the cepstra ``[frames, 13]``."""

    phones: Integers
    codes: Integers
    cepstra: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PhoneMap:
    """How well codes tell phones apart, as shares of all frames.

    Attributes:
        accuracy: of the codes' commonest phones, on utterances that they were not counted on.
        speech_accuracy: the same of frames that are no silence.
        mfcc_accuracy: of as many clusters of cepstra.
        chance: the share of the commonest phone.
        utterances: how many were aligned.
        left_out: how many were not, for words that the dictionary lacks or a transcript that does not fit.
        frames: how many there are.
        counts: ``[phones, codes]``, how often each phone came with each code.
    """

    accuracy: float
    speech_accuracy: float
    mfcc_accuracy: float
    chance: float
    utterances: int
    left_out: int
    frames: int
    counts: Integers

    def document(self) -> dict[str, float]:
        """All but the counts, for JSON."""
        return {of.name: getattr(self, of.name) for of in fields(self) if of.name != "counts"}


def phones_of_frames(phones: Integers, frames: int, frame_s: float) -> Integers:
    """The phone at the middle of each of ``frames`` frames of ``frame_s`` seconds; silence after the end."""
    middles = ((np.arange(frames) + 0.5) * frame_s * ALIGNED_HZ).astype(np.int64)
    return np.where(middles < len(phones), phones[middles.clip(max=len(phones) - 1)], 0)


def cepstra_of_frames(wave: Wave, sample_rate_hz: int, frames: int, frame_s: float) -> npt.NDArray[np.float64]:
    """MFCC ``[frames, 13]`` round the middle of each frame."""
    from scipy.fft import dct

    hop = round(0.005 * sample_rate_hz)
    window = round(_WINDOW_S * sample_rate_hz)
    padded = np.pad(wave, (0, max(0, hop - len(wave))))
    mel = log_mel(torch.from_numpy(padded)[None], sample_rate_hz, window, hop, _BANDS)[0].double().numpy()
    places = np.rint((np.arange(frames) + 0.5) * frame_s * sample_rate_hz / hop).astype(np.int64)
    return dct(mel.T[places.clip(max=mel.shape[1] - 1)], norm="ortho")[:, :_CEPSTRA]


@dataclass
class PhoneWatch:
    """Gathers a codec's codes and the phones that they were spoken for, an utterance at a time.

    Of a residual quantizer the first stage's code stands for the vector: it says most.

    Attributes:
        codebook_size: of that stage.
        stages: codes of a vector, in their order.
        vector_s: seconds of sound of a vector.
    """

    codebook_size: int
    stages: int
    vector_s: float
    utterances: list[SpokenCodes] = field(default_factory=list)
    left_out: int = 0
    aligner: Aligner = field(default_factory=Aligner)

    def add(self, original: Original, codes: npt.NDArray[np.int32]) -> None:
        """``codes[tokens]`` of ``original``; without a transcript it is not counted."""
        if not original.transcript.strip():
            return
        phones = self.aligner.align(original.wave, original.sample_rate_hz, original.transcript)
        if phones is None:
            self.left_out += 1
            return
        first = codes[:: self.stages].astype(np.int64)
        frames = len(first)
        cepstra = cepstra_of_frames(original.wave, original.sample_rate_hz, frames, self.vector_s)
        self.utterances.append(SpokenCodes(phones_of_frames(phones, frames, self.vector_s), first, cepstra))

    def result(self, known: "PhoneWatch | None" = None) -> PhoneMap:
        """See :func:`map_phones`; ``known`` gathered what the phones of codes are counted on."""
        counted = known.utterances if known else ()
        return map_phones(self.utterances, self.codebook_size, self.left_out, counted)


def phone_watch(codec: Codec) -> PhoneWatch:
    """For ``codec``'s codes.

    Raises:
        ConfigError: PocketSphinx is not installed.
    """
    quantizer = codec.config.quantizer
    vector_s = quantizer.num_quantizers * codec.model.samples_per_token / codec.config.sample_rate_hz
    return PhoneWatch(quantizer.codebook_size, quantizer.num_quantizers, vector_s)


def map_phones(
    utterances: Sequence[SpokenCodes], codebook_size: int, left_out: int = 0, known: Sequence[SpokenCodes] = ()
) -> PhoneMap:
    """Codes to phones: those of ``utterances`` are named by what was counted on others.

    The others are ``known``, such as what the model was trained on, or else half of ``utterances``, by turns.

    Raises:
        DataError: there are less than two utterances.
    """
    if len(utterances) < 2:
        raise DataError(
            "less than two utterances could be aligned; give more, with transcripts in common English words"
        )
    halves = utterances[::2], utterances[1::2]
    named = right = speech = speech_right = clusters_right = 0
    for counted, other in ((known, utterances),) if known else (halves, halves[::-1]):
        phones = np.concatenate([of.phones for of in other])
        guesses = _commonest(counted, [of.codes for of in counted], codebook_size)
        hits = guesses[np.concatenate([of.codes for of in other])] == phones
        clusters = _clusters(counted, other, codebook_size)
        cluster_hits = _commonest(counted, clusters[0], codebook_size)[np.concatenate(clusters[1])] == phones
        named, right = named + len(phones), right + int(hits.sum())
        speech, speech_right = speech + int((phones > 0).sum()), speech_right + int(hits[phones > 0].sum())
        clusters_right += int(cluster_hits.sum())
    counts = _counts(utterances, [of.codes for of in utterances], codebook_size)
    return PhoneMap(
        accuracy=right / named,
        speech_accuracy=speech_right / max(1, speech),
        mfcc_accuracy=clusters_right / named,
        chance=float(counts.sum(axis=1).max() / named),
        utterances=len(utterances),
        left_out=left_out,
        frames=named,
        counts=counts,
    )


def _counts(utterances: Sequence[SpokenCodes], codes: Sequence[Integers], size: int) -> Integers:
    counts = np.zeros((len(PHONES), size), np.int64)
    for of, numbers in zip(utterances, codes, strict=True):
        np.add.at(counts, (of.phones, numbers), 1)
    return counts


def _commonest(utterances: Sequence[SpokenCodes], codes: Sequence[Integers], size: int) -> Integers:
    """The phone of each code; of one that never occurred the commonest of all."""
    counts = _counts(utterances, codes, size)
    return np.where(counts.any(axis=0), counts.argmax(axis=0), counts.sum(axis=1).argmax())


def _clusters(
    known: Sequence[SpokenCodes], other: Sequence[SpokenCodes], size: int
) -> tuple[list[Integers], list[Integers]]:
    """Of both lists the cluster of each frame; centres are those of ``known``."""
    from scipy.cluster.vq import kmeans2, vq

    points = np.concatenate([of.cepstra for of in known])
    mean, spread = points.mean(axis=0), points.std(axis=0) + 1e-9
    size = min(size, len(points))
    points = (points - mean) / spread
    points = points[np.random.default_rng(0).permutation(len(points))[:_CLUSTERED]]
    first = points[:size]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster does no harm
        centres, _ = kmeans2(points, first, _KMEANS_ROUNDS, minit="matrix")
    found = [[vq((of.cepstra - mean) / spread, centres)[0].astype(np.int64) for of in part] for part in (known, other)]
    return found[0], found[1]
