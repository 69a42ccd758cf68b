"""What the training loop and the models agree on: batches, losses, looks at a batch."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

NATS_PER_BIT = math.log(2)
Batch = Mapping[str, Tensor]


class Loss(NamedTuple):
    """What every trainable returns: ``total``, a scalar to minimise, and ``metrics``, scalars worth logging."""

    total: Tensor
    metrics: dict[str, Tensor]


class Probe(NamedTuple):
    """A look at a batch without learning: mean ``metrics`` and the ``codes`` used, for counts over a whole pass.

    ``codes`` is None where the model has none.
    """

    metrics: dict[str, Tensor]
    codes: Tensor | None


class Trainable(Protocol):
    """All that the training loop knows of a model. A trainable is also an ``nn.Module``."""

    @property
    def codebook_size(self) -> int:
        """How many codes there are; 0 for a model without codes."""

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """Weighs the loss terms by name; terms of weight 0 or not named are not computed."""

    def loss(self, batch: Batch) -> Loss:
        """The loss of a batch under the current objective."""

    def probe(self, batch: Batch) -> Probe:
        """Validation figures of a batch."""
