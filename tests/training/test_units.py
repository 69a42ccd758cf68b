"""Units of speech beside a corpus' speech parameters: read as they were written, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqaudio.errors import DataError
from vqaudio.training.packing import prepare
from vqaudio.training.resident import ResidentShards
from vqaudio.training.shards import Analysis, AudioShards
from vqaudio.training.units import utterance_waves, write_units

RATE_HZ, HOP = 16000, 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(3):
        time = np.arange(RATE_HZ + 1000 * number) / RATE_HZ
        soundfile.write(tmp_path / "in" / f"{number}.wav", 0.2 * np.sin(2 * np.pi * 150 * time), RATE_HZ)
    prepare(tmp_path / "in", tmp_path / "shards", RATE_HZ, 0.0, analysis=Analysis(HOP, 20), processes=1)
    return tmp_path / "shards"


def units_of(shards: AudioShards) -> list[np.ndarray]:
    return [np.arange(utterance.frames) % 7 + number for number, utterance in enumerate(shards.utterances)]


def test_batches_hold_what_was_written(folder: Path) -> None:
    before = AudioShards(folder)
    assert "units" not in before.batch(0, 0, slice(2), 2, 8000)
    written = units_of(before)
    write_units(folder, written, 9)
    shards = AudioShards(folder)
    shards.verify()
    assert shards.units == 9
    assert shards.checksum != before.checksum
    resident = ResidentShards(folder, torch.device("cpu"))
    for step in range(5):
        batch = shards.batch(1, step, slice(4), 4, 20000)  # longer than any utterance
        assert torch.equal(resident.batch(1, step, slice(4), 4, 20000)["units"], batch["units"])
        for units, wave in zip(batch["units"].numpy(), batch["wave"].numpy(), strict=True):
            frames = np.count_nonzero(units >= 0)
            (number,) = (n for n, utterance in enumerate(shards.utterances) if utterance.frames == frames)
            assert np.array_equal(units[:frames], written[number])
            assert (units[frames:] == -1).all()
            assert not wave[shards.utterances[number].length :].any()


def test_waves_are_those_of_the_batches(folder: Path) -> None:
    shards = AudioShards(folder)
    waves = [wave for _, wave in utterance_waves(shards)]
    assert [len(wave) for wave in waves] == [16000, 17000, 18000]
    (batch,) = shards.validation_batches(1, 1, 16000)
    row = batch["wave"][0].numpy()
    assert any(np.abs(np.convolve(wave, row[::-1], "valid")).max() > 0.99 * np.square(row).sum() for wave in waves)


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    units = units_of(AudioShards(folder))
    with pytest.raises(DataError, match="do not fit an utterance of"):
        write_units(folder, [units[0][:-1], *units[1:]], 9)
    with pytest.raises(DataError, match="do not fit"):
        write_units(folder, units, 8)
    with pytest.raises(DataError, match="give 2 to 2048"):
        write_units(folder, units, 5000)
    prepare(tmp_path / "in", tmp_path / "plain", RATE_HZ)
    with pytest.raises(DataError, match="prepare it with --analysis"):
        write_units(tmp_path / "plain", units, 9)
    assert AudioShards(folder).units == 0
