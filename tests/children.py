"""How tests start another Python: one that finds the package that is being tested."""

import os
import site
from pathlib import Path

import vqaudio


def environment(**more: str) -> dict[str, str]:
    """This process's variables and ``more``, and the package's folder in front, unless it is installed.

    A folder of installed packages must not come before the standard library: one of them is a backport named typing.
    """
    home = Path(vqaudio.__file__).resolve().parents[1]
    installed = home in [Path(folder).resolve() for folder in site.getsitepackages()]
    return os.environ | ({} if installed else {"PYTHONPATH": str(home)}) | more
