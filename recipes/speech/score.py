"""Scores a model on a corpus with a manifest.tsv: rate from real bytes, STOI, ESTOI, PESQ, code usage, likelihood.

python recipes/speech/score.py MODEL CORPUS [-o scores.json] [--limit N]     (needs pip install 'vqaudio[evaluate]')
"""

import argparse
import csv
import io
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import torch
from pesq import PesqError, pesq
from pystoi import stoi

import vqaudio
from vqaudio.audio import measure_level
from vqaudio.codec import Codec
from vqaudio.container import Coder, Stream

RATE = 16000
BITS_PER_NAT = 1 / np.log(2)


def kilobits_per_second(codec: Codec, stream: Stream) -> float:
    """The true rate of the stream's file, header and all."""
    file = io.BytesIO()
    stream.write(file, codec.block_coder(stream.header.coder))
    return len(file.getvalue()) * 8 / (stream.header.shape[0] / stream.header.sample_rate_hz) / 1000


@torch.no_grad()
def likelihoods(codec: Codec, wave: np.ndarray, codes: np.ndarray, foreign: np.ndarray) -> dict[str, float]:
    """Bits a sample of the decoder under the true and under foreign codes, bits a token of the float prior."""
    model, (level,) = codec.model, measure_level([wave[None]], RATE, 1)
    tokens = torch.from_numpy(codes.astype(np.int64))[None]
    padded = np.pad(wave * level.gain, (0, codes.size * model.hop_length - len(wave))).astype(np.float32)
    emphasised = model.emphasise(torch.from_numpy(padded)[None])
    found = {}
    for name, used in (("bits_per_sample", codes), ("bits_per_sample_shuffled", np.resize(foreign, codes.size))):
        features = model.features(torch.from_numpy(used.astype(np.int64))[None])
        found[name] = float(model.decoder_nll(features, emphasised, emphasised.shape[1])) * BITS_PER_NAT
    if model.prior is not None:
        found["bits_per_token"] = float(model.prior.nll(tokens).mean()) * BITS_PER_NAT
    return found


def score_utterance(codec: Codec, wave: np.ndarray, foreign: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """The scores of an utterance at 16 kHz, and its codes; ``foreign`` codes are those of another."""
    stream = codec.encode(wave, RATE)
    decoded = codec.decode(stream)[0]
    scores = {
        "stoi": float(stoi(wave, decoded, RATE)),
        "estoi": float(stoi(wave, decoded, RATE, extended=True)),
        "kb_per_s": kilobits_per_second(codec, stream),
        "kb_per_s_packed": kilobits_per_second(codec, codec.encode(wave, RATE, Coder.PACKED)),
        **likelihoods(codec, wave, stream.codes[0], foreign),
    }
    try:
        scores["pesq_nb"] = float(pesq(RATE, wave, decoded, "nb"))
    except PesqError:  # it found no speech in one of the two
        scores["pesq_nb"] = float("nan")
    return scores, stream.codes[0]


def score(model: str, corpus: Path, limit: int) -> dict[str, dict[str, float]]:
    """Means by group and over all, codes counted over the whole pass."""
    torch.set_num_threads(1)
    codec = vqaudio.load(model, "cpu")
    with open(corpus / "manifest.tsv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    counts = np.zeros(codec.config.quantizer.codebook_size, np.int64)
    foreign = np.zeros(1, np.int32)
    for row in rows:
        if limit and len(groups[row["group"]]) == limit:
            continue
        wave, rate_hz = soundfile.read(corpus / row["path"], dtype="float32")
        assert rate_hz == RATE, f"{row['path']} is not of {RATE} Hz"
        scores, foreign = score_utterance(codec, wave, foreign)
        counts += np.bincount(foreign, minlength=len(counts))
        groups[row["group"]].append(scores)
    groups["all"] = [scores for group in list(groups.values()) for scores in group]
    result = {
        name: {key: float(np.nanmean([s[key] for s in found])) for key in found[0]} for name, found in groups.items()
    }
    result["codes"] = {"used": int((counts > 0).sum()), "largest_share": float(counts.max() / counts.sum())}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="utterances of each group")
    arguments = parser.parse_args()
    text = json.dumps(score(arguments.model, arguments.corpus, arguments.limit), indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
