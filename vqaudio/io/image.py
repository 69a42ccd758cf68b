"""Picture files by Pillow: reading any of them as RGB levels, writing, and cutting into tiles.

A picture is uint8 ``[height, width, 3]``, levels of red, green and blue.
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vqaudio.errors import PictureError

if TYPE_CHECKING:  # imported where it is used: the sound of speech needs none
    from PIL import Image

Picture = npt.NDArray[np.uint8]

MAX_PIXELS = 1 << 26  # 67 million: 200 MB of levels
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
# by how they begin; what looks like a picture to Pillow alone (a TGA, say) is found by its suffix
_BEGINNINGS = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"P5",
    b"P6",
    b"P4",
    b"\0\0\x01\0",
    b"8BPS",
)
_AVIF_BRANDS = (b"avif", b"avis")
HEAD_BYTES = 16  # that looks_like_picture needs

# what is written, by suffix: Pillow's name of the format, and what to ask it for
_WRITTEN: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".ppm": ("PPM", {}),
}
READ_SUFFIXES = frozenset({*_WRITTEN, ".gif", ".pgm", ".pbm", ".tga", ".avif", ".jp2", ".ico", ".psd"})


def looks_like_picture(head: bytes, name: str = "") -> bool:
    """Says whether a file that begins with ``head`` (:data:`HEAD_BYTES` of it) and is called ``name`` is a picture."""
    if head.startswith(_BEGINNINGS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    return head[8:12] in _AVIF_BRANDS or Path(name).suffix.lower() in READ_SUFFIXES


# ------------------------------------------------------------------------------------------------------------ reading


@contextmanager
def _told_plainly(name: str) -> Iterator[None]:
    """Pillow's many ways to fail, in one line."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but harmless tags, and of the sizes that are refused here anyway
            yield
    except PictureError:
        raise
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, "far more") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name}: is no picture that can be read; give a PNG, JPEG, WebP or the like") from None
    except Exception as error:  # decoders raise whatever they come upon in a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"{name}: cannot be read ({reason}); get an intact copy") from None


def _too_large(name: str, pixels: str) -> PictureError:
    return PictureError(f"{name}: has {pixels} pixels, more than {MAX_PIXELS}; scale it down or cut it up")


def read_picture(source: str | os.PathLike[str] | IO[bytes], name: str = "") -> Picture:
    """A picture file's levels, uint8 ``[height, width, 3]``, upright as its EXIF data say.

    Transparent parts are laid on white, grey becomes equal red, green and blue, 16 bits are rounded to 8, of several
    frames the first is taken.

    Args:
        source: a path or an open binary file.
        name: what errors call it; by default the path.

    Raises:
        PictureError: it is no picture, is damaged, has more than :data:`MAX_PIXELS`, or no levels that are known.
        OSError: there is no such file.
    """
    name = name or (os.fspath(source) if isinstance(source, str | os.PathLike) else "the picture")
    if isinstance(source, str | os.PathLike) and os.path.isdir(source):
        raise PictureError(f"{name}: is a folder; name a picture")
    from PIL import Image, ImageOps

    with _told_plainly(name), Image.open(source) as image:
        if image.width * image.height > MAX_PIXELS:  # before anything is decoded
            raise _too_large(name, f"{image.width} x {image.height}")
        return _levels(ImageOps.exif_transpose(image), name)


def _levels(image: "Image.Image", name: str) -> Picture:
    from PIL import Image

    if image.mode in _DEEP_MODES or image.mode == "I":
        return _from_deep(np.asarray(image).astype(np.int64), name)
    if image.mode == "F":
        raise PictureError(f"{name}: has levels in floating point, whose range is not known; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _from_deep(levels: npt.NDArray[np.int64], name: str) -> Picture:
    if levels.min() < 0 or levels.max() > 65535:
        raise PictureError(f"{name}: has levels beyond 16 bits; save it with 8 or 16 bits")
    grey = ((levels + 128) // 257).astype(np.uint8)  # 65535 is 255 * 257
    return np.repeat(grey[:, :, None], 3, axis=2)


# ------------------------------------------------------------------------------------------------------------ writing


def check_suffix(name: str) -> str:
    """The suffix of the picture file ``name``; PictureError unless such files can be written."""
    suffix = Path(name).suffix.lower()
    if suffix not in _WRITTEN:
        raise PictureError(f"{name}: pictures are not written as {suffix or 'this'}; use {', '.join(_WRITTEN)}")
    return suffix


def write_picture(file: IO[bytes], picture: Picture, suffix: str = ".png") -> None:
    """Writes ``picture`` to an open file in the format of ``suffix``; see :func:`check_suffix`.

    Raises:
        PictureError: the format cannot hold a picture of this size.
    """
    from PIL import Image

    kind, options = _WRITTEN[suffix]
    buffer = io.BytesIO()  # Pillow seeks, which not every file can
    try:
        Image.fromarray(picture).save(buffer, kind, **options)
    except (OSError, ValueError) as error:
        raise PictureError(
            f"a picture of {picture.shape[1]} x {picture.shape[0]} does not fit {kind}: {error}"
        ) from None
    file.write(buffer.getbuffer())


# -------------------------------------------------------------------------------------------------------------- tiles


def grid_rows(count: int) -> int:
    """Rows in which ``count`` pictures make the squarest full rectangle."""
    return max(rows for rows in range(1, int(count**0.5) + 1) if count % rows == 0)


def tile_grid(height: int, width: int, tile: int) -> tuple[int, int]:
    """Rows and columns of the tiles that cover a picture."""
    return -(-height // tile), -(-width // tile)


def padded(picture: Picture, tile: int) -> Picture:
    """The picture grown to whole tiles, right and below, by repeating its last column and row."""
    height, width, _ = picture.shape
    rows, columns = tile_grid(height, width, tile)
    return np.pad(picture, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")


def to_tiles(picture: Picture, tile: int) -> Picture:
    """``[height, width, 3]`` to tiles ``[n, 3, tile, tile]``, row by row."""
    whole = padded(picture, tile)
    rows, columns = whole.shape[0] // tile, whole.shape[1] // tile
    cut = whole.reshape(rows, tile, columns, tile, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut.reshape(rows * columns, 3, tile, tile))


def from_tiles(tiles: Picture, height: int, width: int) -> Picture:
    """The picture ``[height, width, 3]`` whose :func:`to_tiles` are ``tiles[n, 3, tile, tile]``."""
    tile = tiles.shape[-1]
    rows, columns = tile_grid(height, width, tile)
    whole = tiles.reshape(rows, columns, 3, tile, tile).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(whole.reshape(rows * tile, columns * tile, 3)[:height, :width])
