"""Packages that only some verbs need: extras of the install, imported when they are first used."""

import importlib
from types import ModuleType

from vqaudio.errors import ConfigError


def needed(module: str, extra: str, purpose: str) -> ModuleType:
    """The module ``module`` out of the extra ``extra``; ``purpose`` says what for.

    Raises:
        ConfigError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ConfigError(f"{purpose} needs {package} ({error}): pip install 'vqaudio[{extra}]'") from None
