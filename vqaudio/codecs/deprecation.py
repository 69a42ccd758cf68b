"""Forms of calls that were right in the version before and are still taken, with a warning."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_R = TypeVar("_R")


def options_were_positional(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Takes keyword-only options of ``function`` by position as well, in their order, and warns."""
    parameters = inspect.signature(function).parameters.values()
    positional = sum(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    options = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    @functools.wraps(function)
    def call(*args: object, **named: object) -> _R:
        extra = args[positional:]
        if extra and len(extra) <= len(options):
            names = ", ".join(options[: len(extra)])
            warnings.warn(f"{function.__qualname__}: give {names} by name", DeprecationWarning, stacklevel=2)
            args, named = args[:positional], dict(zip(options, extra, strict=False)) | named
        return cast(Callable[..., _R], function)(*args, **named)

    return cast(Callable[_P, _R], call)
