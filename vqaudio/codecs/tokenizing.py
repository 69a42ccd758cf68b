"""An utterance of a corpus to a row of codes, and a row of codes back to sound."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Block, Floats
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.codecs.encoding import BLOCK_TOKENS, Sound, WaveSound
from vqaudio.codecs.sampling import DecodeOptions
from vqaudio.codecs.speakers import Voice
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.tokens import TokenRange
from vqaudio.errors import ContainerError, SoundError, VqaudioError
from vqaudio.io.places import open_place
from vqaudio.io.sound import SoundReader
from vqaudio.io.sources import Entry
from vqaudio.io.token_tables import Failure, TokenRow

_READ_FRAMES = 65536
_HELD_SAMPLES = 1 << 25  # of a sound that is held in memory while it is coded: 35 minutes at 16 kHz

Outcome = TokenRow | Failure


class _Mixed:
    """The mean of a sound's channels, as a sound of one: for those too long to hold."""

    channels = 1

    def __init__(self, sound: SoundReader) -> None:
        self._sound, self.sample_rate_hz = sound, sound.sample_rate_hz

    def blocks(self, frames: int) -> Iterator[Block]:
        """See :class:`Sound`; at the end ``SoundError`` where the file is damaged or cut."""
        for block in self._sound.blocks(frames):
            yield block.mean(axis=0, keepdims=True)
        _refuse_damage(self._sound)


class _Read(NamedTuple):
    """An utterance that has been read: in memory, or open where it is too long for that. ``files`` are to be closed."""

    sound: Sound
    checksum: str
    files: ExitStack


def tokenize(codec: Codec, entry: Entry) -> TokenRow:
    """The codes of one utterance, its channels mixed to one.

    Raises:
        SoundError: its sound cannot be read, is damaged or cut, or is empty.
        DataError: its sound is not where the source says.
        OSError: the file cannot be opened.
    """
    return _encode(codec, entry, _read(entry))


def tokenize_all(codec: Codec, entries: Sequence[Entry]) -> Iterator[Outcome]:
    """The codes of each of the ``entries``, in order, or why there are none.

    One thread reads and decodes the next file while the network works on this one.
    """
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(_read_or_fail, entries[0]) if entries else None
        for number, entry in enumerate(entries):
            assert following is not None
            read = following.result()
            if number + 1 < len(entries):
                following = reader.submit(_read_or_fail, entries[number + 1])
            yield read if isinstance(read, Failure) else _encode_or_fail(codec, entry, read)


def _read(entry: Entry) -> _Read:
    file, checksum = open_place(entry.place, entry.path or entry.id)
    with ExitStack() as files:
        files.callback(file.close)
        sound = files.enter_context(SoundReader(file))
        wave = _held(sound)
        if wave is None:
            return _Read(_Mixed(sound), checksum, files.pop_all())
        _refuse_damage(sound)
        if not len(wave):
            raise SoundError(f"{sound.name}: holds no sound; record or copy it again")
        return _Read(WaveSound(wave, sound.sample_rate_hz), checksum, ExitStack())


def _held(sound: SoundReader) -> Floats | None:
    """The mean of the sound's channels ``[T]``, or None where it is too long to hold."""
    parts, samples = [np.zeros(0, np.float32)], 0
    for block in sound.blocks(_READ_FRAMES):
        parts.append(block.mean(axis=0))
        samples += block.shape[1]
        if samples > _HELD_SAMPLES:
            return None
    return np.concatenate(parts)


def _refuse_damage(sound: SoundReader) -> None:
    if sound.problem:
        raise SoundError(f"{sound.name}: {sound.problem}")


def _encode(codec: Codec, entry: Entry, read: _Read) -> TokenRow:
    with read.files:
        header, blocks = codec.encode_blocks(read.sound, Coder.PACKED)
        tokens = np.concatenate([np.zeros(0, np.int32), *(block[0] for block in blocks)])
    return TokenRow(
        id=entry.id,
        path=entry.path,
        codes=np.ascontiguousarray(tokens.reshape(-1, codec.num_quantizers).T.astype(np.uint16)),
        sample_rate=header.sample_rate_hz,
        samples=header.shape[0],
        level=header.levels[0],
        speaker=entry.speaker,
        transcript=entry.transcript,
        checksum=read.checksum,
        model=codec.fingerprint.hex(),
    )


def _read_or_fail(entry: Entry) -> _Read | Failure:
    try:
        return _read(entry)
    except Exception as error:  # one file of millions must not stop the rest, whatever is wrong with it
        return failure_of(entry, error)


def _encode_or_fail(codec: Codec, entry: Entry, read: _Read) -> Outcome:
    try:
        return _encode(codec, entry, read)
    except Exception as error:
        return failure_of(entry, error)


def failure_of(entry: Entry, error: BaseException) -> Failure:
    """Why an utterance has no codes, in one line."""
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, VqaudioError | OSError):
        reason = str(error).removeprefix(f"{entry.path}: ")
    else:
        reason = f"internal error ({type(error).__name__}: {error}); please report it"
    return Failure(entry.id, entry.path, " ".join(reason.split()))


def detokenize(codec: Codec, row: TokenRow, seed: int = 0, speaker: str | Voice | None = None) -> Block:
    """The sound of a row, float32 ``[1, row.samples]`` at ``row.sample_rate``.

    Args:
        codec: of the model that made the codes.
        row: out of :func:`vqaudio.io.token_tables.read_rows`, or made by a model of tokens.
        seed: see :meth:`Codec.decode`.
        speaker: see :meth:`Codec.decode`.

    Raises:
        ModelError: another model made the codes.
        ContainerError: codes and length contradict each other, or a code is none of the model's.
    """
    tokens = row.codes.T.reshape(1, -1).astype(np.int32)
    header = Header(
        model_sha256=fingerprint_of(row.model),
        modality=Modality.AUDIO,
        coder=Coder.PACKED,
        grid=(tokens.size,),
        shape=(row.samples,),
        sample_rate_hz=row.sample_rate,
        channels=1,
        codebook_size=codec.codebook_size,
        tokens_per_block=BLOCK_TOKENS,
        levels=(row.level,),
    )
    if tokens.size and int(tokens.max()) >= codec.codebook_size:
        raise ContainerError(f"{row.id}: a code is {tokens.max()}; the model's are 0 to {codec.codebook_size - 1}")
    ranges = [TokenRange(tokens, np.zeros(tokens.shape, bool))]
    blocks = codec.decode_blocks(header, ranges, DecodeOptions(seed=seed, speaker=speaker))
    return np.concatenate([np.zeros((1, 0), np.float32), *blocks], axis=1)


def row_of(codec: Codec, codes: npt.ArrayLike, id: str = "", level: float = 1.0) -> TokenRow:
    """A row of ``codes[num_quantizers, frames]`` that no sound was encoded to, at the model's own rate.

    ``level`` is the factor from the model's normalised loudness to the wanted one.
    """
    frames = np.ascontiguousarray(codes, np.uint16)
    samples = frames.shape[1] * codec.config.encoder.hop_length
    return TokenRow(id, "", frames, codec.sample_rate, samples, level, "", "", "", codec.fingerprint.hex())


def fingerprint_of(text: str) -> bytes:
    """The bytes of a row's ``model``; ``ContainerError`` where it is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ContainerError(f"the row's model is {text[:20]!r}, which is no fingerprint; make it anew") from None
