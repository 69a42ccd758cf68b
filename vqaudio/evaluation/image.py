"""What a model of pictures is worth: bits a dim, all codes counted, beside lossless coders on the same pictures.

Likelihood is the bound of VQ-VAE, section 3.3: ``-log2 p(x) <= -log2 p(x | z_q) - log2 p(z)``, over pixels times three
channels, with the prior over the codes uniform and, where the model has one, learnt. It is one for exact levels: see
logistic.py.
"""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vqaudio.bitstream.entropy import Codes
from vqaudio.bitstream.header import Coder
from vqaudio.codecs.image import ImageCodec
from vqaudio.errors import PictureError
from vqaudio.evaluation.metrics.statistics import Mean, bootstrap_mean
from vqaudio.io.atomic import atomic_files
from vqaudio.io.image import Picture, from_tiles, grid_rows, to_tiles, write_picture
from vqaudio.io.image_corpora import Sample, find_pictures
from vqaudio.models import logistic_mixture as logistic

Scores = dict[str, float]
_BITS_PER_NAT = 1 / math.log(2)
_BATCH_TILES = 64
_SHOWN = 16  # reconstructions in a report


@dataclass(frozen=True)
class ImageEvaluation:
    """What :func:`evaluate_pictures` found: means over pictures with 95 % intervals, and the codes of the whole pass.

    ``pictures`` has the metrics of each. ``failed`` has a line for each file that could not be read.
    """

    means: dict[str, Mean]
    pictures: dict[str, Scores]
    codes_used: int
    codebook_size: int
    code_entropy_bits: float
    failed: tuple[str, ...]


def evaluate_pictures(
    codec: ImageCodec,
    source: Path,
    limit: int = 0,
    progress: Callable[[Iterable[Sample]], Iterable[Sample]] = iter,
    report: Path | None = None,
) -> ImageEvaluation:
    """Codes and decodes the pictures of ``source`` (its test part, where it has one) and measures what comes of it.

    Args:
        codec: of the model.
        source: what :func:`vqaudio.io.image_corpora.find_pictures` reads.
        limit: of pictures; 0 takes all.
        progress: may wrap the list of pictures to show how far it is.
        report: a folder that gets ``reconstructions.png``, originals above, and, where the model draws by itself,
            ``samples.png``.

    Raises:
        DataError: there are no pictures.
        PictureError: none can be read.
    """
    samples = find_pictures(source).part(test=True)
    samples = samples[:limit] if limit else samples
    counts = np.zeros(codec.config.quantizer.codebook_size, np.int64)
    pictures: dict[str, Scores] = {}
    failed: list[str] = []
    shown: list[Picture] = []
    for sample in progress(samples):
        try:
            picture = sample.read()
        except (PictureError, OSError) as error:
            failed.append(str(error))
            continue
        found, codes, decoded = _measure(codec, picture)
        pictures[sample.name] = found
        counts += np.bincount(codes.ravel(), minlength=len(counts))
        if len(shown) < 2 * _SHOWN:
            shown += [picture, decoded]
    if not pictures:
        raise PictureError(f"{source}: none of its pictures could be read; first: {failed[0]}")
    if report is not None:
        _write_report(codec, shown, report)
    shares = counts[counts > 0] / counts.sum()
    return ImageEvaluation(
        means={name: bootstrap_mean(np.array([of[name] for of in pictures.values()])) for name in found},
        pictures=pictures,
        codes_used=len(shares),
        codebook_size=len(counts),
        code_entropy_bits=float(-(shares * np.log2(shares)).sum()),
        failed=tuple(failed),
    )


def _measure(codec: ImageCodec, picture: Picture) -> tuple[Scores, Codes, Picture]:
    """The metrics of a picture, its codes, and what they decode to."""
    stream = codec.encode(picture)
    codes = stream.tokens.reshape(-1, *codec.config.grid)
    decoded = codec.decode(stream)
    dims = picture.size
    found = likelihood(codec, picture, codes)
    if codec.default_coder() is Coder.PRIOR:
        file = io.BytesIO()
        stream.write(file, codec.block_coder(Coder.PRIOR))
        found["stream_file"] = 8 * len(file.getvalue()) / dims
    found |= {f"{kind}_lossless_file": 8 * size / dims for kind, size in lossless_sizes(picture).items()}
    error = np.square(picture.astype(np.float64) - decoded).mean()
    found["psnr_db"] = float(10 * np.log10(255**2 / max(error, 1e-3)))
    return found, codes, decoded


@torch.no_grad()
def likelihood(codec: ImageCodec, picture: Picture, codes: Codes) -> Scores:
    """Bits a dim of a picture ``[height, width, 3]`` whose codes are ``[tiles, rows, columns, latents]``."""
    model, dims = codec.model, picture.size
    device = next(model.parameters()).device
    tiles = torch.from_numpy(to_tiles(picture, codec.config.tile)).to(device)
    known = torch.from_numpy(codes.astype(np.int64)).to(device)
    planes, prior_bits = [], 0.0
    for first in range(0, len(tiles), _BATCH_TILES):
        part = slice(first, first + _BATCH_TILES)
        planes.append(logistic.nll(model.parameters_of(known[part]), tiles[part]).cpu().numpy())
        if model.prior is not None and not codec.config.classes:
            prior_bits += float(model.prior.nll(known[part]).double().sum()) * _BITS_PER_NAT
    plane = np.repeat(np.concatenate(planes)[:, None], 3, axis=1)
    inside = from_tiles(cast(Picture, plane), *picture.shape[:2])[..., 0]  # without the padding
    bits = float(inside.astype(np.float64).sum()) * _BITS_PER_NAT / dims
    uniform = codes.size * math.log2(codec.config.quantizer.codebook_size) / dims
    found = {"reconstruction": bits, "uniform_prior": uniform, "bound_uniform_prior": bits + uniform}
    if model.prior is not None and not codec.config.classes:
        learnt = prior_bits / dims
        found |= {"learnt_prior": learnt, "bound_learnt_prior": bits + learnt}
    return found


def lossless_sizes(picture: Picture) -> dict[str, int]:
    """Bytes of the picture as PNG and as lossless WebP, each at its smallest."""
    asked: dict[str, dict[str, Any]] = {
        "png": {"optimize": True},
        "webp": {"lossless": True, "quality": 100, "method": 6},
    }
    sizes = {}
    for kind, options in asked.items():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind, **options)
        sizes[kind] = len(buffer.getvalue())
    return sizes


# ------------------------------------------------------------------------------------------------------------- report


def contact_sheet(pictures: list[Picture], rows: int) -> Picture:
    """Pictures side by side in ``rows``, each in the top left corner of a cell as large as the largest, on white."""
    columns = len(pictures) // rows
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _write_report(codec: ImageCodec, shown: list[Picture], folder: Path) -> None:
    originals, decoded = shown[::2], shown[1::2]
    half = grid_rows(len(originals))
    columns = len(originals) // half
    rows: list[Picture] = []
    for first in range(0, len(originals), columns):
        rows += [*originals[first : first + columns], *decoded[first : first + columns]]
    with atomic_files(folder, overwrite=True) as add:
        add("reconstructions.png", _png(contact_sheet(rows, 2 * half)))
        if codec.model.prior is not None and not codec.config.classes:
            add("samples.png", _png(codec.decode(codec.side_by_side(codec.sample(64)))))


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    write_picture(file, picture)
    return file.getvalue()
