"""Models of torch, for use alone."""

import copy
from typing import TypeVar

from torch import nn

ModelT = TypeVar("ModelT", bound=nn.Module)


def frozen_copy(model: ModelT) -> ModelT:
    """``model`` for use alone: of one that may still learn, a copy."""
    if model.training or any(parameter.requires_grad for parameter in model.parameters()):
        model = copy.deepcopy(model).eval().requires_grad_(False)
    return model
