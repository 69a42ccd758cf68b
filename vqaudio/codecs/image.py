"""The codec for pictures: a model with the container around it, as codec.py is for sounds.

A picture is cut into tiles, padded right and below; each is coded by itself. A stream's grid is ``(tiles, cells, codes
a cell)``, tiles row by row, and each of its blocks holds whole tiles, so that damage costs those alone.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.bitstream.entropy import Codes, FrequencyModel
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.stream import Damage
from vqaudio.bitstream.stream import Stream as StreamInMemory
from vqaudio.codecs.base import BaseCodec
from vqaudio.codecs.bundled import Stream, choose_device, model_folder
from vqaudio.codecs.deprecation import options_were_positional
from vqaudio.codecs.pixelcnn_sampler import picture_frequency_model, sample_tiles
from vqaudio.codecs.progress import Progress, ignore
from vqaudio.codecs.sampling import SampleOptions
from vqaudio.errors import ConfigError, ContainerError, ModelError, PictureError
from vqaudio.io.image import MAX_PIXELS, Picture, from_tiles, grid_rows, tile_grid, to_tiles
from vqaudio.models import checkpoint
from vqaudio.models.frozen import frozen_copy
from vqaudio.models.image_config import ImageVQVAEConfig
from vqaudio.models.image_vqvae import ImageVQVAE
from vqaudio.models.logistic_mixture import mean_levels

_BLOCK_TOKENS = 4096  # about: some kilobytes a block, of which its frame takes 12 bytes
_BATCH_TILES = 64  # coded at once
DAMAGED_LEVEL = 128  # grey
MOST_SAMPLES = 4096


class ImageCodec(BaseCodec):
    """A model that codes pictures. ``fingerprint`` (32 bytes) names it in the streams that it makes."""

    modality = Modality.IMAGE
    model: ImageVQVAE

    def __init__(self, model: ImageVQVAE, fingerprint: bytes) -> None:
        self.model = frozen_copy(model)
        self.fingerprint = fingerprint

    @property
    def config(self) -> ImageVQVAEConfig:
        """The model's configuration."""
        return self.model.config

    def frequency_model(self) -> Callable[[], FrequencyModel]:
        """See :meth:`BaseCodec.frequency_model`."""
        return picture_frequency_model(self.model)

    @property
    def codebook_size(self) -> int:
        """Codes of the codebook."""
        return self.config.quantizer.codebook_size

    # ------------------------------------------------------------------------------------------------ whole pictures

    @options_were_positional
    def encode(
        self, picture: npt.ArrayLike, *, coder: Coder | str | None = None, progress: Progress = ignore
    ) -> Stream:
        """Codes a picture.

        Args:
            picture: uint8 ``[height, width, 3]``, levels of red, green and blue, or ``[height, width]``, of grey.
            coder: how the codes will be written; :meth:`default_coder` where left out.
            progress: is told the share that is done.

        Raises:
            PictureError: the array has another shape or other numbers, is empty, or has more than 2**26 pixels.
            ConfigError: the model has no prior to code with.
        """
        levels = _as_picture(picture)
        tiles = to_tiles(levels, self.config.tile)
        header = self._header(levels.shape[0], levels.shape[1], coder)
        codes = np.empty((len(tiles), *self.config.grid), np.int32)
        for part in _batches(len(tiles)):
            codes[part] = self._encode(tiles[part])
            progress(part.stop / len(tiles))
        return Stream(header, codes.reshape(1, *header.grid), block_coder=self.block_coder(header.coder))

    @torch.no_grad()
    def _encode(self, tiles: Picture) -> Codes:
        device = next(self.model.parameters()).device
        return self.model.encode(torch.from_numpy(tiles).to(device)).cpu().numpy().astype(np.int32)

    @options_were_positional
    def decode(self, stream: StreamInMemory, *, progress: Progress = ignore) -> Picture:
        """The picture of a stream, uint8 ``[height, width, 3]``: what is expected of its codes; lost tiles are grey.

        Raises:
            ModelError: another model made the stream.
            ContainerError: it is no picture's, or its header contradicts itself.
        """
        self.check(stream.header)
        height, width = stream.header.shape
        codes = stream.tokens.reshape(-1, *self.config.grid)
        tiles = np.empty((len(codes), 3, self.config.tile, self.config.tile), np.uint8)
        for part in _batches(len(tiles)):
            tiles[part] = self._decode(codes[part])
            progress(part.stop / len(tiles))
        for damage in stream.damage:
            tiles[self.lost_tiles(damage)] = DAMAGED_LEVEL
        return from_tiles(tiles, height, width)

    @torch.no_grad()
    def _decode(self, codes: Codes) -> Picture:
        device = next(self.model.parameters()).device
        parameters = self.model.parameters_of(torch.from_numpy(codes.astype(np.int64)).to(device))
        return mean_levels(parameters).cpu().numpy()

    def lost_tiles(self, damage: Damage) -> slice:
        """The numbers of the tiles, row by row, that ``damage`` costs."""
        size = self.config.tile_tokens
        return slice(damage.first_token // size, damage.last_token // size + 1)

    # ---------------------------------------------------------------------------------------------------- new pictures

    def sample(
        self,
        count: int = 1,
        *,
        label: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        progress: Progress = ignore,
    ) -> list[Stream]:
        """Draws new tiles, a stream each; :meth:`side_by_side` makes one picture of them. See :meth:`BaseCodec.sample`.

        ``label`` is the class, where the model's prior must be told one.

        Raises:
            ModelError: the model has no prior.
            ConfigError: a number is out of range, or the class is not known, missing, or of no use to this model.
        """
        if self.model.prior is None:
            raise ModelError("the model has no prior, so it cannot draw pictures by itself; give one that has")
        options = SampleOptions(count=count, seed=seed, temperature=temperature, top_p=top_p, most=MOST_SAMPLES)
        drawn = sample_tiles(self.model, options, self._class_number(label), progress)
        return [self.stream_of(tile[None], 1) for tile in drawn]

    def _class_number(self, label: str | None) -> int | None:
        classes = self.config.classes
        if not classes:
            if label is not None:
                raise ConfigError(f"label = {label!r} is of no use: the model knows no classes; leave it out")
            return None
        if label not in classes:
            raise ConfigError(f"label = {label!r} is not valid: give one of {', '.join(classes)}")
        return classes.index(label)

    def side_by_side(self, tiles: Sequence[StreamInMemory]) -> Stream:
        """The stream of one picture: those of single tiles, row by row in the squarest full rectangle."""
        codes = np.concatenate([tile.tokens.reshape(1, *self.config.grid) for tile in tiles])
        return self.stream_of(codes, grid_rows(len(tiles)))

    # ------------------------------------------------------------------------------------------------------- streams

    def stream_of(self, codes: Codes, rows: int) -> Stream:
        """The stream of tiles ``codes[tiles, rows, columns, latents]`` that no picture was encoded to.

        The tiles lie in so many ``rows``, which must divide their number.
        """
        assert len(codes) % rows == 0
        header = self._header(rows * self.config.tile, len(codes) // rows * self.config.tile, None)
        return Stream(header, codes.reshape(1, *header.grid), block_coder=self.block_coder(header.coder))

    def _header(self, height: int, width: int, coder: Coder | str | None) -> Header:
        return Header(
            model_sha256=self.fingerprint,
            modality=Modality.IMAGE,
            coder=self.chosen_coder(coder),
            grid=self._grid(height, width),
            shape=(height, width),
            sample_rate_hz=0,
            channels=1,
            codebook_size=self.codebook_size,
            tokens_per_block=self.config.tile_tokens * max(1, _BLOCK_TOKENS // self.config.tile_tokens),
            levels=(1.0,),
        )

    def _grid(self, height: int, width: int) -> tuple[int, int, int]:
        rows, columns = tile_grid(height, width, self.config.tile)
        return rows * columns, self.config.tile_tokens // self.config.latents, self.config.latents

    def check_numbers(self, header: Header) -> None:
        """See :meth:`BaseCodec.check_numbers`."""
        height, width = header.shape
        if height * width > MAX_PIXELS:
            raise ContainerError(f"the stream is of {width} x {height} pixels, more than {MAX_PIXELS}; cut it up")
        expected = (self._grid(height, width), self.codebook_size, 1, 0)
        found = (header.grid, header.codebook_size, header.channels, header.tokens_per_block % self.config.tile_tokens)
        if found != expected:
            raise ContainerError("the header's numbers contradict each other; get an intact copy of the stream")


def _batches(count: int) -> Iterator[slice]:
    return (slice(first, min(first + _BATCH_TILES, count)) for first in range(0, count, _BATCH_TILES))


def _as_picture(picture: npt.ArrayLike) -> Picture:
    levels = np.asarray(picture)
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, None], 3, axis=2)
    if levels.dtype != np.uint8 or levels.ndim != 3 or levels.shape[2] != 3:
        raise PictureError(
            f"a picture of {levels.dtype} {levels.shape} is not supported: give uint8 [height, width, 3]"
        )
    if not 0 < levels.shape[0] * levels.shape[1] <= MAX_PIXELS:
        raise PictureError(
            f"a picture of {levels.shape[1]} x {levels.shape[0]} is not supported: give 1 to {MAX_PIXELS} pixels"
        )
    return levels


# ------------------------------------------------------------------------------------------------------------- models


def load_images(model: str | Path = "images", device: str = "auto") -> ImageCodec:
    """The codec of a bundled model of pictures, by name, or of such a model's folder.

    Raises:
        ModelError: there is no such model, it is damaged, or it is no codec for pictures.
        ConfigError: there is no such device.
    """
    folder = model_folder(model)
    loaded = checkpoint.load_model(folder)
    if not isinstance(loaded, ImageVQVAE):
        raise ModelError(f"{model}: is no codec for pictures; give one of kind {ImageVQVAEConfig.kind}")
    return ImageCodec(loaded.to(choose_device(device)), checkpoint.fingerprint(folder))
