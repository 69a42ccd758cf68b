"""image.py: pictures of every kind come in upright and in RGB, or are refused in one line; tiles fit together."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import gradient
from PIL import Image

from vqaudio.errors import PictureError
from vqaudio.io.image import (
    MAX_PIXELS,
    check_suffix,
    from_tiles,
    looks_like_picture,
    read_picture,
    tile_grid,
    to_tiles,
    write_picture,
)


def saved(image: Image.Image, kind: str = "png", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("kind", ["png", "bmp", "ppm", "tiff"])
def test_rgb_is_read_exactly(kind: str) -> None:
    picture = gradient(7, 5)
    assert np.array_equal(read_picture(saved(Image.fromarray(picture), kind)), picture)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".ppm"])
def test_what_is_written_is_read_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    with open(path, "wb") as file:
        write_picture(file, gradient(9, 1), check_suffix(str(path)))
    assert np.array_equal(read_picture(path), gradient(9, 1))


def test_jpeg_is_written() -> None:
    file = io.BytesIO()
    write_picture(file, gradient(16, 16), ".jpg")
    assert np.abs(read_picture(file).astype(int) - gradient(16, 16)).mean() < 5


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.gif"])
def test_formats_that_are_not_written_are_refused(name: str) -> None:
    with pytest.raises(PictureError, match="not written"):
        check_suffix(name)


def test_grey_becomes_three_equal_channels() -> None:
    grey = gradient(4, 6)[:, :, 0]
    assert np.array_equal(read_picture(saved(Image.fromarray(grey))), np.repeat(grey[:, :, None], 3, 2))


def test_sixteen_bits_are_rounded_to_eight() -> None:
    deep = np.array([[0, 128, 129, 257, 65535, 32896]], np.uint16)
    assert read_picture(saved(Image.fromarray(deep)))[0, :, 0].tolist() == [0, 0, 1, 1, 255, 128]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_mode_is_read(mode: str) -> None:
    kind = {"HSV": "png", "PA": "png", "YCbCr": "jpeg"}.get(mode, "tiff")
    image = Image.fromarray(gradient(6, 8)).convert(mode if mode not in ("HSV", "PA") else "RGB")
    read = read_picture(saved(image, kind))
    assert read.shape == (6, 8, 3)
    assert read.dtype == np.uint8


def test_transparent_parts_lie_on_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = 10, 20, 30, 255
    rgba[1, 1] = 0, 0, 0, 128
    read = read_picture(saved(Image.fromarray(rgba, "RGBA")))
    assert read[0, 0].tolist() == [10, 20, 30]
    assert read[0, 1].tolist() == [255, 255, 255]
    assert read[1, 1].tolist() == [127, 127, 127]


def test_a_transparent_palette_entry_counts() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    assert read_picture(saved(image, transparency=1))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_picture(saved(Image.fromarray(gradient(4, 6)), "png", exif=exif))
    assert read.shape[:2] == ((4, 6) if orientation < 5 else (6, 4))
    if orientation == 3:
        assert np.array_equal(read, gradient(4, 6)[::-1, ::-1])


def test_of_several_frames_the_first_is_taken() -> None:
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    assert read_picture(saved(frames[0], "gif", save_all=True, append_images=frames[1:]))[0, 0].tolist() == [255, 0, 0]


def test_floating_point_is_refused() -> None:
    with pytest.raises(PictureError, match="floating point"):
        read_picture(saved(Image.fromarray(np.ones((2, 2), np.float32)), "tiff"), "x.tif")


def test_more_than_sixteen_bits_are_refused() -> None:
    with pytest.raises(PictureError, match="beyond 16 bits"):
        read_picture(saved(Image.fromarray(np.full((2, 2), 70000, np.int32)), "tiff"), "x.tif")


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims this size, with nothing behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(8193, 8192), (10000, 10000), (60000, 60000), (2**31 - 1, 1)])
def test_decompression_bombs_are_refused_before_they_grow(width: int, height: int) -> None:
    with pytest.raises(PictureError, match=rf"more pixels|more than {MAX_PIXELS}"):
        read_picture(io.BytesIO(png_of(width, height)), "bomb.png")


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM123456789", b"RIFF\0\0\0\0WEBP"]
)
def test_what_is_no_picture_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(PictureError) as caught:
        read_picture(io.BytesIO(data), "x.png")
    assert str(caught.value).startswith("x.png: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "bmp"])
def test_cut_files_are_refused(kind: str) -> None:
    data = saved(Image.fromarray(gradient(40, 40)), kind).getvalue()
    with pytest.raises(PictureError):
        read_picture(io.BytesIO(data[: len(data) // 2]), "cut")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)


def test_pictures_are_told_by_how_they_begin() -> None:
    for kind in ("png", "jpeg", "webp", "bmp", "tiff", "gif", "ppm"):
        assert looks_like_picture(saved(Image.fromarray(gradient(4, 4)), kind).read(16))
    for head in (b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3\3", b"\xff\xfb\x90", b"FORM", b""):
        assert not looks_like_picture(head)
    assert looks_like_picture(b"", "photo.JPG")


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9))
def test_tiles_fit_together(height: int, width: int, tile: int) -> None:
    picture = gradient(height, width)
    tiles = to_tiles(picture, tile)
    rows, columns = tile_grid(height, width, tile)
    assert tiles.shape == (rows * columns, 3, tile, tile)
    assert np.array_equal(from_tiles(tiles, height, width), picture)
    assert np.array_equal(tiles[0, :, 0, 0], picture[0, 0])
    assert np.array_equal(tiles[-1, :, -1, -1], picture[-1, -1])  # the edge is repeated
