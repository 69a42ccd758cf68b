"""Codes that say who speaks, spoken by somebody else: by name, by a recording, in streams and files."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.arrays import Block
from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.codecs.files import OpenStream
from vqaudio.codecs.sampling import DecodeOptions
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.voice_file import load_table, save_table
from vqaudio.dsp.voice_change import VoiceStatistics
from vqaudio.errors import ModelError, SoundError

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> Codec:
    return load("speech", "cpu")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    wave, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    return wave[: 5 * RATE]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """How far two voices' mean envelopes lie apart."""
    pair = [VoiceStatistics.from_vector(voice).mean for voice in (one, other)]
    return float(np.abs(pair[0] - pair[1]).mean())


def test_voices_with_names_lie_beside_the_weights(speech: Codec) -> None:
    assert len(speech.speakers) >= 20
    assert list(speech.speakers) == sorted(speech.speakers)


@pytest.mark.parametrize("place", [0, 7, -1])
def test_a_named_voice_is_taken_on(speech: Codec, clip: np.ndarray, place: int) -> None:
    name = speech.speakers[place]
    stream, target = speech.encode(clip, RATE), speech.check_speaker(name)
    assert target is not None
    heard, source = speech.voice_of(speech.decode(stream, speaker=name)[0], RATE), speech.voice_of(clip, RATE)
    assert likeness(heard, target) < 0.85 * likeness(source, target)
    assert abs(VoiceStatistics.from_vector(heard).log_pitch - VoiceStatistics.from_vector(target).log_pitch) < 0.1


def test_a_voice_out_of_a_recording_is_taken_on_and_kept_in_a_file(
    speech: Codec, clip: np.ndarray, tmp_path: Path
) -> None:
    stream = speech.encode(clip, RATE)
    reference = speech.decode(stream, speaker=speech.speakers[3])[0]  # somebody else's speech, as it were
    voice = speech.voice_of(reference, RATE)
    speech.save_voice(tmp_path / "a.voice", voice)
    kept = speech.load_voice(tmp_path / "a.voice")
    np.testing.assert_array_equal(kept, voice)
    np.testing.assert_array_equal(speech.decode(stream, speaker=kept), speech.decode(stream, speaker=voice))


def test_files_are_spoken_as_streams_are(speech: Codec, clip: np.ndarray) -> None:
    stream, file = speech.encode(np.tile(clip, 4), RATE), io.BytesIO()  # longer than a window
    stream.write(file)
    file.seek(0)
    blocks = list[Block]()

    class Writer:
        clipped = 0

        def write(self, block: Block) -> None:
            blocks.append(block)

    @contextmanager
    def writer(rate_hz: int, channels: int) -> Iterator[Writer]:
        yield Writer()

    name = speech.speakers[1]
    speech.decode_file(OpenStream(file), writer, DecodeOptions(speaker=name))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), speech.decode(stream, speaker=name))


def test_a_silent_channel_does_not_hide_the_voice_of_the_other(speech: Codec, clip: np.ndarray) -> None:
    both = speech.decode(speech.encode(np.stack([0 * clip, clip]), RATE), speaker=speech.speakers[0])
    alone = speech.decode(speech.encode(clip, RATE), speaker=speech.speakers[0])
    assert np.abs(both[0]).max() < 1e-3
    gap = speech.voice_of(both[1], RATE) - speech.voice_of(alone[0], RATE)
    assert np.abs(gap).mean() < 0.1


def test_where_nobody_speaks_nothing_changes(speech: Codec) -> None:
    stream = speech.encode(np.zeros(RATE, np.float32), RATE)
    np.testing.assert_array_equal(speech.decode(stream, speaker=speech.speakers[0]), speech.decode(stream))
    empty = speech.encode(np.zeros(0, np.float32), RATE)
    assert speech.decode(empty, speaker=speech.speakers[0]).shape == (1, 0)


def test_the_pitch_can_be_kept(speech: Codec, clip: np.ndarray) -> None:
    name = max(speech.speakers, key=lambda who: load_table(PRETRAINED / "speech")[who][-2])  # the highest
    semitones = speech.keeping_semitones(clip, RATE, name)
    kept = speech.decode(speech.encode(clip, RATE), speaker=name, pitch_semitones=semitones)[0]
    logs = [VoiceStatistics.from_vector(speech.voice_of(wave, RATE)).log_pitch for wave in (kept, clip)]
    assert abs(logs[0] - logs[1]) < 0.06


def test_what_is_no_voice(speech: Codec, clip: np.ndarray, tmp_path: Path) -> None:
    stream = speech.encode(clip, RATE)
    with pytest.raises(ModelError, match="speakers and no sound file"):
        speech.decode(stream, speaker="nobody")
    for wrong in (np.zeros(5, np.float32), np.full(162, np.nan, np.float32)):
        with pytest.raises(ModelError, match="162 numbers"):
            speech.decode(stream, speaker=wrong)
    with pytest.raises(SoundError, match="speech"):
        speech.voice_of(0.1 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32), RATE)
    with pytest.raises(ModelError, match="whole streams"):
        speech.stream_decoder(speaker=speech.speakers[0])
    save_table(tmp_path, {"ann": np.zeros(162, np.float32)})
    (tmp_path / "voices.safetensors").write_bytes((tmp_path / "voices.safetensors").read_bytes()[:-4])
    with pytest.raises(ModelError, match="intact copy"):
        load_table(tmp_path)
