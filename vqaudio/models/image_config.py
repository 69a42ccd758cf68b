"""The configuration of models for pictures: the network, the prior over the code grid, the whole."""

import typing
from dataclasses import dataclass, field

from vqaudio.models.settings import MOST_LAYERS, QuantizerConfig, positive, require

MAX_TILE_TOKENS = 65_536  # a block of a stream holds whole tiles


@dataclass(frozen=True)
class ImageNetworkConfig:
    """Encoder and decoder (VQ-VAE, section 4.1): strided 4x4 convolutions, then residual 3x3 blocks, and the mirror.

    ``channels`` has one entry a strided layer, each of which halves height and width. ``blocks`` residual blocks work
    at the code rate on the last entry's channels. ``mixtures`` logistics stand for each pixel's colour.
    """

    channels: tuple[int, ...] = (256, 256)
    blocks: int = 2
    mixtures: int = 5

    def __post_init__(self) -> None:
        require(1 <= len(self.channels) <= 5, "channels", self.channels, "give 1 to 5 strided layers")
        for width in (*self.channels, self.blocks):
            positive("channels and blocks", width)
        require(self.blocks <= MOST_LAYERS, "blocks", self.blocks, f"give at most {MOST_LAYERS}")
        require(1 <= self.mixtures <= 32, "mixtures", self.mixtures, "give 1 to 32 logistics")

    @property
    def stride(self) -> int:
        """Pixels along each axis of a cell of the code grid."""
        return int(2 ** len(self.channels))


@dataclass(frozen=True)
class PixelCNNConfig:
    """A gated PixelCNN (van den Oord et al. 2016, 1606.05328) over a grid of cells with one code or more each.

    ``levels`` codes, ``residual`` and ``skip`` channels, ``hidden`` units before the logits. ``kernel_size`` is odd;
    each layer looks that many cells wide, and upward and leftward half as far.
    """

    levels: int = 512
    residual: int = 64
    skip: int = 64
    hidden: int = 128
    layers: int = 8
    kernel_size: int = 3

    def __post_init__(self) -> None:
        require(2 <= self.levels <= 65536, "levels", self.levels, "give 2 to 65536 codes")
        for name in ("residual", "skip", "hidden", "layers"):
            positive(name, getattr(self, name))
        require(self.layers <= MOST_LAYERS, "layers", self.layers, f"give at most {MOST_LAYERS}")
        odd = 3 <= self.kernel_size <= 15 and self.kernel_size % 2 == 1
        require(odd, "kernel_size", self.kernel_size, "give an odd number, 3 to 15")


def _check_tile(tile: int, stride: int) -> None:
    fits = 0 < tile <= 1024 and tile % stride == 0
    require(fits, "tile", tile, f"give a multiple of {stride} pixels, up to 1024")


@dataclass(frozen=True)
class ImageVQVAEConfig:
    """Pictures to codes and back, in tiles of ``tile`` x ``tile`` pixels.

    The defaults are the paper's setting for CIFAR-10: tiles of 32 x 32, a grid of 8 x 8 cells, ``latents`` 10 codes a
    cell out of one codebook of 512. ``prior``, where there is one, is the PixelCNN over a tile's codes; ``classes``
    names the labels that it is told (none: it is told nothing).
    """

    kind: typing.ClassVar[str] = "image-vqvae"
    tile: int = 32
    latents: int = 10
    network: ImageNetworkConfig = field(default_factory=ImageNetworkConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    prior: PixelCNNConfig | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_tile(self.tile, self.network.stride)
        positive("latents", self.latents)
        require(
            self.tile_tokens <= MAX_TILE_TOKENS,
            "latents",
            self.latents,
            f"a tile has {self.tile_tokens} codes then, give at most {MAX_TILE_TOKENS}",
        )
        require(
            self.quantizer.num_quantizers == 1,
            "num_quantizers",
            self.quantizer.num_quantizers,
            "give 1; latents has the codes a cell",
        )
        require(len(set(self.classes)) == len(self.classes), "classes", self.classes, "name each class once")
        require(
            self.prior is not None or not self.classes,
            "classes",
            self.classes,
            "only a prior is told: add [model.prior]",
        )
        size = self.quantizer.codebook_size
        if self.prior is not None:
            require(
                self.prior.levels == size, "prior.levels", self.prior.levels, f"it must be the codebook's size, {size}"
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Of a tile's codes: rows, columns, codes a cell."""
        side = self.tile // self.network.stride
        return side, side, self.latents

    @property
    def tile_tokens(self) -> int:
        """Codes of a tile."""
        rows, columns, latents = self.grid
        return rows * columns * latents


@dataclass(frozen=True)
class ImageVAEConfig:
    """The same network with a Gaussian latent of ``latent_dim`` numbers a cell, for comparison; it codes no files."""

    kind: typing.ClassVar[str] = "image-vae"
    tile: int = 32
    latent_dim: int = 32
    network: ImageNetworkConfig = field(default_factory=ImageNetworkConfig)

    def __post_init__(self) -> None:
        _check_tile(self.tile, self.network.stride)
        positive("latent_dim", self.latent_dim)
