"""Trained models of pictures side by side: the table, and pictures to look at.

python recipes/images/compare.py MODEL... --data SOURCE -o FOLDER

MODEL is a model's folder, a VQ-VAE's or the VAE's; SOURCE is what 'vqaudio prepare' was given, whose test part counts.
Of the VAE, whose bound is a mean over draws of the latent, 8 draws a picture are taken.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from vqaudio.codecs.image import load_images
from vqaudio.evaluation.image import contact_sheet, evaluate_pictures
from vqaudio.evaluation.metrics.statistics import Mean, bootstrap_mean
from vqaudio.io.image import to_tiles, write_picture
from vqaudio.io.image_corpora import find_pictures
from vqaudio.models import checkpoint
from vqaudio.models import logistic_mixture as logistic
from vqaudio.models.image_config import ImageVAEConfig
from vqaudio.models.image_vqvae import ImageVAE

DRAWS, BATCH = 8, 64
ROWS = {
    "reconstruction": "reconstruction",
    "uniform_prior": "codes, uniform prior",
    "learnt_prior": "codes, learnt prior",
    "kl": "latent (KL)",
    "bound_uniform_prior": "all, uniform prior",
    "bound_learnt_prior": "all, learnt prior",
    "bound": "all",
    "stream_file": "the .vqa file, header and all",
    "psnr_db": "PSNR of what is decoded, dB",
}


@torch.no_grad()
def evaluate_vae(model: ImageVAE, source: Path, limit: int, folder: Path) -> dict[str, Mean]:
    """The bound of each test picture (of one tile) in bits a dim; draws pictures from the latent's prior, too."""
    torch.manual_seed(0)
    samples = find_pictures(source).part(test=True)
    tiles = torch.from_numpy(np.concatenate([to_tiles(s.read(), model.config.tile) for s in samples[: limit or None]]))
    parts = [
        [torch.stack(model.terms(tiles[i : i + BATCH])) for i in range(0, len(tiles), BATCH)] for _ in range(DRAWS)
    ]
    nll, kl = torch.stack([torch.cat(of, 1) for of in parts]).mean(0).double().numpy() / math.log(2)
    rows, columns = model.config.tile // model.config.network.stride, 64
    latent = torch.randn(columns, model.config.latent_dim, rows, rows)
    drawn = logistic.mean_levels(model.decoder(latent)).permute(0, 2, 3, 1).numpy()
    save(contact_sheet(list(drawn), 8), folder / "samples.png")
    return {"reconstruction": bootstrap_mean(nll), "kl": bootstrap_mean(kl), "bound": bootstrap_mean(nll + kl)}


def save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        write_picture(file, picture)


def table(found: dict[str, dict[str, Mean]]) -> str:
    """Markdown: a model a column; then the lossless coders, which are the same for all."""
    lines = [f"| bits a dim, 95 % interval | {' | '.join(found)} |", "| --- |" + " --- |" * len(found)]
    for name, words in ROWS.items():
        cells = [words_for(of[name], name) if name in of else "" for of in found.values()]
        if any(cells):
            lines.append(f"| {words} | {' | '.join(cells)} |")
    coded = next((of for of in found.values() if "png_lossless_file" in of), None)
    if coded:
        for kind in ("png", "webp"):
            words = words_for(coded[f"{kind}_lossless_file"], kind)
            lines.append(
                f"\n{'WebP' if kind == 'webp' else 'PNG'}, lossless, on the same pictures: {words} bits a dim."
            )
    return "\n".join(lines) + "\n"


def words_for(mean: Mean, name: str) -> str:
    digits = 1 if name == "psnr_db" else 3
    return f"{mean.value:.{digits}f} ({mean.low:.{digits}f} to {mean.high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=0, help="of the test pictures; 0 takes all")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    found: dict[str, dict[str, Mean]] = {}
    for folder in arguments.models:
        name = folder.parent.name if folder.name == "model" else folder.name
        pictures = arguments.output / name
        if isinstance(checkpoint.read_config(folder), ImageVAEConfig):
            model = checkpoint.load_model(folder)
            assert isinstance(model, ImageVAE)
            found[name] = evaluate_vae(model, arguments.data, arguments.limit, pictures)
        else:
            codec = load_images(folder, "cpu")
            found[name] = evaluate_pictures(codec, arguments.data, arguments.limit, report=pictures).means
    document = {name: {score: asdict(mean) for score, mean in of.items()} for name, of in found.items()}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "table.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (arguments.output / "table.md").write_text(table(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
