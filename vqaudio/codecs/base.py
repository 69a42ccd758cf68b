"""What every codec is, whatever it codes: a model's codes, the container around them, and the coders between the two.

:class:`vqaudio.codecs.speech.Codec` and :class:`vqaudio.codecs.image.ImageCodec` add how codes come of a sound or a
picture, and what comes of codes.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.entropy import BlockCoder, FrequencyModel, PackedCoder, PriorCoder
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.codecs.bundled import Stream
from vqaudio.codecs.progress import Progress, ignore
from vqaudio.errors import ConfigError, ContainerError, ModelError

_NOUNS = {Modality.AUDIO: "sound", Modality.IMAGE: "picture"}


class BaseCodec(abc.ABC):
    """Codes that a stream names by ``fingerprint`` (32 bytes), and the coders that write them."""

    modality: ClassVar[Modality]
    fingerprint: bytes

    @property
    @abc.abstractmethod
    def codebook_size(self) -> int:
        """How many codes there are."""

    @property
    def num_quantizers(self) -> int:
        """Tokens of a frame of sound; 1 of a picture, whose grid says all."""
        return 1

    @abc.abstractmethod
    def frequency_model(self) -> Callable[[], FrequencyModel]:
        """What makes models of how likely each code is next, each with state of its own. The weights are made once.

        Raises:
            ConfigError: the model has no prior, or one that must be told what no stream names.
        """

    @abc.abstractmethod
    def encode(self, *args: Any, **options: Any) -> Stream:
        """Codes a sound or a picture; what it takes is each codec's own."""

    @abc.abstractmethod
    def decode(self, *args: Any, **options: Any) -> npt.NDArray[Any]:
        """The sound or the picture of a stream; damaged parts are silent, or grey.

        Raises:
            ModelError: another model made the stream.
            ContainerError: it is none of this codec's kind, or its header contradicts itself.
        """

    @abc.abstractmethod
    def sample(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        progress: Progress = ignore,
    ) -> list[Stream]:
        """Draws ``count`` new streams from the prior (VQ-VAE, section 3.3).

        Args:
            count: each stream is another draw; the same seed draws the same first ones, however many more are drawn.
            seed: 0 to 2**63 - 1.
            temperature: above 0; 1 draws from the prior itself, less keeps to what is likely.
            top_p: above 0 to 1; draws only from the likeliest codes that together have this share.
            progress: is told the share that is done, 0 to 1.

        Raises:
            ModelError: the model has no prior, or one that must be told what cannot be told here.
            ConfigError: a number is out of range.
        """

    @abc.abstractmethod
    def check_numbers(self, header: Header) -> None:
        """Refuses a header of this codec's whose numbers cannot be true (``ContainerError``)."""

    # ------------------------------------------------------------------------------------------------------- coders

    def default_coder(self) -> Coder:
        """How this model's streams are smallest: by its prior where it has one that streams can use."""
        return Coder.PRIOR if self._has_prior else Coder.PACKED

    @property
    def _has_prior(self) -> bool:
        try:
            return self._prior_coder is not None
        except ConfigError:
            return False

    def block_coder(self, coder: Coder) -> BlockCoder:
        """What turns codes into bytes and back. Threads may share it: each call has state of its own.

        Raises:
            ConfigError: the model has no prior to code with, or one that must be told what no stream names.
        """
        return PackedCoder(self.codebook_size) if coder is Coder.PACKED else self._prior_coder

    @functools.cached_property
    def _prior_coder(self) -> PriorCoder:
        return PriorCoder(self.frequency_model())

    def chosen_coder(self, coder: Coder | str | None) -> Coder:
        """The coder that is asked for, also by name, or else :meth:`default_coder`; ``ConfigError`` where it cannot."""
        if coder is None:
            return self.default_coder()
        chosen = Coder.named(coder)
        self.block_coder(chosen)
        return chosen

    def warm_coder(self, coder: Coder) -> None:
        """Compiles the kernel that codes under the prior, or fetches it from the disk, if ``coder`` needs it."""
        block_coder, codes = self.block_coder(coder), np.zeros(2, np.int32)
        block_coder.decode(block_coder.encode(codes), len(codes))

    # ------------------------------------------------------------------------------------------------------ streams

    def read(self, file: BinaryIO) -> Stream:
        """The stream in an open file, whichever coder wrote it; see :meth:`vqaudio.bitstream.stream.Stream.read`.

        Raises:
            ModelError: another model made the stream.
            ContainerError: the file is no stream, or its header is refused.
        """
        return self.read_from(StreamReader(file))

    def read_from(self, reader: StreamReader) -> Stream:
        """As :meth:`read`, of a stream whose header has been read."""
        self.check(reader.header)  # which bounds the memory that the codes take
        return Stream.read_from(reader, self.block_coder(reader.header.coder), self.num_quantizers)

    def check_name(self, model_sha256: bytes, what: str) -> None:
        """Refuses codes of another model (``ModelError``); ``what`` begins the sentence, such as "the stream was"."""
        if model_sha256 != self.fingerprint:
            theirs, ours = (sha256.hex()[:12] for sha256 in (model_sha256, self.fingerprint))
            raise ModelError(f"{what} made with model {theirs}, this is model {ours}; give the model it needs")

    def check(self, header: Header) -> None:
        """Refuses a stream that this codec cannot decode.

        Raises:
            ModelError: another model made it.
            ContainerError: its header contradicts itself, or this codec.
        """
        self.check_name(header.model_sha256, "the stream was")
        if header.modality is not self.modality:
            has, wanted = _NOUNS[header.modality], _NOUNS[self.modality]
            raise ContainerError(f"the stream is that of a {has}; give one of a {wanted}")
        if header.coder is Coder.PRIOR and not self._has_prior:
            raise ContainerError("the stream is coded under a prior that its model does not have; get an intact copy")
        self.check_numbers(header)
