"""What the training loop knows of the data, whatever they are."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from vqaudio.models.config import ModelConfig, RunConfig
from vqaudio.training.log import TrainingLog


class Dataset(Protocol):
    """Batches that are pure functions of a seed and a step, and what a run notes of where they come from."""

    @property
    def checksum(self) -> str:
        """One digest that stands for the data, kept in a run's facts."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The checksums of the files that the data were made of, where they say."""

    def fitted(self, config: RunConfig) -> RunConfig:
        """``config`` with what it leaves to the data; ``ConfigError`` where its model cannot learn from them."""

    def batch(self, seed: int, step: int, rows: slice, batch_size: int, crop_samples: int) -> dict[str, Tensor]:
        """Rows ``rows`` of training batch number ``step``."""

    def validation_batches(self, crops: int, batch_size: int, crop_samples: int) -> Iterator[dict[str, Tensor]]:
        """The same ``crops`` crops of the validation part at each call."""

    def row_samples(self, crop_samples: int) -> int:
        """What a row of a batch counts for in a run's samples seen."""

    def facts(self, samples: int, model: ModelConfig) -> dict[str, Any]:
        """What a model that has seen so many ``samples`` tells of the data."""

    def show(self, log: TrainingLog, step: int, model: nn.Module, batch: Mapping[str, Tensor], seconds: float) -> None:
        """Puts the first of a validation batch, before and after ``model``, where one can hear or see it."""
