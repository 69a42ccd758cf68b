"""Shards of speech held in a device's memory: batches are cut there, so that a fast device never waits for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqaudio.dsp.mel_envelope import FLOOR
from vqaudio.training.shards import AudioShards, Drawn


class ResidentShards(AudioShards):
    """As :class:`AudioShards`, the same batches, but all of it in the memory of ``device``: 2 bytes a sample, and with
    speech parameters 2 bytes a number."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises ``DataError`` as :class:`AudioShards`."""
        super().__init__(folder)
        self._device = device
        self._samples = [torch.from_numpy(np.array(shard)).to(device) for shard in self._shards]
        self._unit_rows = [torch.from_numpy(np.array(rows)).to(device) for rows in self._units]
        self._numbers = [torch.from_numpy(np.array(table)).to(device) for table in self._tables]

    def _rows(self, drawn: Sequence[Drawn], crop_samples: int) -> dict[str, Tensor]:
        waves = torch.zeros(len(drawn), crop_samples, device=self._device)
        batch = {"wave": waves, "speaker": torch.tensor([one.utterance.speaker for one in drawn], device=self._device)}
        frames = crop_samples // self.analysis.hop_length if self.analysis else 0
        if self.analysis:
            size = (len(drawn), self.analysis.bands, frames)
            batch["bands"] = torch.full(size, float(np.log(FLOOR)), device=self._device)
            batch["f0"] = torch.zeros(len(drawn), frames, device=self._device)
        if self.units:
            batch["units"] = torch.full((len(drawn), frames), -1, device=self._device)
        for row, one in enumerate(drawn):
            utterance, start = one.utterance, self._start(one, crop_samples)
            first, last = utterance.offset + start, utterance.offset + min(utterance.length, start + crop_samples)
            waves[row, : last - first] = self._samples[utterance.shard][first:last] * (
                one.gain * utterance.gain / 32768
            )
            if self.analysis:
                begin = start // self.analysis.hop_length
                end = min(begin + frames, utterance.frames)
                table = self._numbers[utterance.table][utterance.row + begin : utterance.row + end].float()
                batch["bands"][row, :, : end - begin] = table[:, :-1].T + 2 * float(np.log(one.gain))
                batch["f0"][row, : end - begin] = table[:, -1]
            if self.units:
                rows = slice(utterance.row + begin, utterance.row + end)
                batch["units"][row, : end - begin] = self._unit_rows[utterance.table][rows].long()
        return batch
