"""How fast pictures are drawn on one core: the compiled kernel, and a plain loop that runs the network for every code.

python recipes/images/speed.py [MODEL] -o FOLDER

Both draw the same codes from the same numbers; the loop draws the first tile alone. Seconds are the processor's, of one
thread, which other programs on the machine do not lengthen; the best of some runs counts.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
import torch

from vqaudio.codecs.image import ImageCodec, load_images
from vqaudio.codecs.pixelcnn_sampler import GridSampler
from vqaudio.kernels.wavenet_reference import Draw, draw

PICTURES = 16


def best(work: Callable[[], object], runs: int) -> float:
    """Processor seconds."""
    times = []
    for _ in range(runs):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


@torch.no_grad()
def naive(codec: ImageCodec, uniforms: np.ndarray) -> np.ndarray:
    """A tile's codes, the whole network run for each."""
    assert codec.model.prior is not None
    codes = torch.zeros(1, *codec.config.grid, dtype=torch.int64)
    for place, uniform in zip(np.ndindex(*codec.config.grid), uniforms, strict=True):
        logits = codec.model.prior.logits(codes)[(0, slice(None), *place)]
        codes[(0, *place)] = draw(logits.numpy(), Draw(), float(uniform))
    return codes[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="images")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec = load_images(arguments.model, "cpu")
    prior = codec.model.prior
    assert prior is not None
    tokens = codec.config.tile_tokens
    uniforms = np.random.default_rng([0, 0]).random(tokens)
    sampler = GridSampler(prior, *codec.config.grid[:2])
    agree = float((sampler.draw(uniforms) == naive(codec, uniforms)).mean())  # compiles, too
    codec.decode(*codec.sample(1))
    figures = {
        "codes_a_tile": tokens,
        "sample_16_pictures_s": best(lambda: codec.decode(codec.side_by_side(codec.sample(PICTURES))), 3),
        "cached_codes_per_s": tokens / best(lambda: sampler.draw(uniforms), 5),
        "naive_codes_per_s": tokens / best(lambda: naive(codec, uniforms), 2),
        "codes_drawn_alike": agree,
    }
    figures["cached_over_naive"] = figures["cached_codes_per_s"] / figures["naive_codes_per_s"]
    text = json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=1) + "\n"
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "speed.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
