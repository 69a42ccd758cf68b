"""Text and speech tokens: train a small language model on what ``vqaudio tokenize`` made, and let it speak.

vqaudio tokenize CORPUS -o tokens                       # a corpus with transcripts
python recipes/token_lm/run.py tokens -o runs/token_lm --minutes 10
python recipes/token_lm/run.py --smoke -o /tmp/smoke    # all of it in a minute, on a clip of the package
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from model import PADDING, Batch, TextTokenLM, spelled
from torch import Tensor

import vqaudio
from vqaudio.codecs.bundled import model_folder
from vqaudio.codecs.corpora import LocalEncoder, run_facts, tokenize_corpus
from vqaudio.codecs.tokenizing import detokenize, row_of
from vqaudio.io.atomic import atomic_write
from vqaudio.io.token_tables import TokenRow, read_rows
from vqaudio.models.checkpoint import load_model
from vqaudio.training.packing import is_validation

HELD_OUT = 0.02  # the share, and by their names the utterances, that the bundled model has not learnt from either
CROP_FRAMES = 118  # 4 s


@dataclass(frozen=True)
class Spoken:
    """An utterance: ``codes[frames, stages]`` and its characters ``[C]``."""

    codes: Tensor
    text: Tensor


def spoken(row: TokenRow) -> Spoken:
    return Spoken(torch.from_numpy(row.codes.T.astype(np.int64)), spelled(row.transcript))


def batch_of(utterances: list[Spoken], starts: list[int], length: int) -> Batch:
    """Crops of ``length`` frames."""
    stages = utterances[0].codes.shape[1]
    codes = torch.full((len(utterances), length, stages), -1)
    text = torch.full((len(utterances), max(len(one.text) for one in utterances)), PADDING)
    for row, (one, start) in enumerate(zip(utterances, starts, strict=True)):
        crop = one.codes[start : start + length]
        codes[row, : len(crop)] = crop
        text[row, : len(one.text)] = one.text
    return Batch(codes, torch.tensor([len(one.codes) for one in utterances]), torch.tensor(starts), text)


def drawn(utterances: list[Spoken], rng: np.random.Generator, size: int) -> Batch:
    lengths = np.array([len(one.codes) for one in utterances], float)
    chosen = [utterances[i] for i in rng.choice(len(utterances), size, p=lengths / lengths.sum())]
    starts = [int(rng.integers(0, max(1, len(one.codes) - CROP_FRAMES + 1))) for one in chosen]
    return batch_of(chosen, starts, CROP_FRAMES)


@torch.no_grad()
def bits_per_token(model: TextTokenLM, held_out: list[Spoken]) -> float:
    """Of whole utterances, all stages counted."""
    bits = [model.bits(batch_of([one], [0], len(one.codes))) for one in held_out]
    return float(torch.cat(bits).mean())


def trained(
    model: TextTokenLM, learnt: list[Spoken], held_out: list[Spoken], minutes: float, steps: int
) -> list[dict[str, Any]]:
    """Trains for so long or so many steps; the curve of bits a token on what was held out."""
    rng, curve = np.random.default_rng(0), []
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3, weight_decay=0.05)
    started, step = time.monotonic(), 0
    every = max(1, min(100, steps // 4))
    while True:
        if step % every == 0 or step == steps:
            line = {"step": step, "seconds": round(time.monotonic() - started), "bits": bits_per_token(model, held_out)}
            curve.append(line)
            print(json.dumps(line), flush=True)
        if step == steps or time.monotonic() - started > 60 * minutes:
            return curve
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 50)
        loss = model.bits(drawn(learnt, rng, 8)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1


@torch.no_grad()
def said(model: TextTokenLM, text: str, frames: int, seed: int = 0, temperature: float = 0.8) -> np.ndarray:
    """New codes ``[stages, frames]`` for a text."""
    draw, stages = torch.Generator().manual_seed(seed), model.num_quantizers
    codes = torch.zeros(1, frames, stages, dtype=torch.int64)
    for frame in range(frames):
        first = max(0, frame - CROP_FRAMES)
        for stage in range(stages):
            so_far = Batch(
                codes[:, first : frame + 1], torch.tensor([frames]), torch.tensor([first]), spelled(text)[None]
            )
            likely = (model.logits(so_far)[0, -1, stage] / temperature).softmax(0)
            codes[0, frame, stage] = torch.multinomial(likely, 1, generator=draw)
    return codes[0].T.numpy()


def smoke_corpus(folder: Path) -> Path:
    """Tokens of pieces of the package's sample clip, with transcripts that stand for some."""
    clip = Path(vqaudio.__file__).parent / "pretrained" / "demo.flac"
    wave, rate_hz = soundfile.read(clip, dtype="float32")
    lines = ["path\ttranscript"]
    sounds = folder / "sounds"
    sounds.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(np.array_split(wave, 6)):
        soundfile.write(sounds / f"{number}.flac", piece, rate_hz)
        lines.append(f"{number}.flac\tpiece number {'i' * number}")
    (sounds / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenize_corpus(sounds / "list.tsv", folder / "tokens", LocalEncoder("speech"), run_facts("speech", "parquet"))
    return folder / "tokens"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path, nargs="?", help="what vqaudio tokenize made")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="speech", help="the codec's: a bundled name or a folder")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, with text and without")
    parser.add_argument("--steps", type=int, default=100_000, help="at most, of each")
    parser.add_argument("--say", default="the speech of tomorrow", help="what it is to say at the end")
    parser.add_argument("--smoke", action="store_true", help="all of it, small, in a minute")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.smoke and options.tokens is None:
        parser.error("give TOKENS, or --smoke")
    tokens = smoke_corpus(options.output) if options.smoke else options.tokens
    steps = 4 if options.smoke else options.steps

    codec, prior = vqaudio.load(options.model, "cpu"), load_model(model_folder(options.model)).prior
    rows = [row for row in read_rows(tokens) if row.transcript]
    out = [row for row in rows if is_validation(row.path, HELD_OUT)] or rows[:1]
    learnt = [spoken(row) for row in rows if row not in out]
    held_out = [spoken(row) for row in out]
    print(f"{len(learnt)} utterances to learn from, {len(held_out)} held out", flush=True)
    result: dict[str, Any] = {"learnt": len(learnt), "held_out": len(held_out), "curves": {}}
    for name, hears_text in (("without text", False), ("with text", True)):
        torch.manual_seed(0)
        model = TextTokenLM(prior, codec.num_quantizers, hears_text=hears_text)
        result["curves"][name] = trained(model, learnt, held_out, options.minutes, steps)
    result["prior"] = result["curves"]["with text"][0]["bits"]  # the last layer begins at zero
    with atomic_write(options.output / "curve.json", overwrite=True) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())

    frames_per_letter = sum(len(one.codes) for one in learnt) / sum(len(one.text) for one in learnt)
    frames = 12 if options.smoke else max(1, round(frames_per_letter * len(spelled(options.say))))
    row = row_of(codec, said(model, options.say, frames), "said")
    soundfile.write(options.output / "said.wav", detokenize(codec, row)[0], row.sample_rate)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
