"""The packages that metrics need, which may be missing."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from vqaudio.errors import ConfigError


def missing_package(packages: Iterable[str]) -> str | None:
    """The first of ``packages`` that is not installed."""
    return next((name for name in packages if find_spec(name) is None), None)


def remedy(what: str, package: str) -> str:
    """One line on ``what`` that cannot be had for want of ``package``."""
    return f"{what} not available: {package} is not installed; pip install 'vqaudio[evaluate]'"


@contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Around the import of a scorer's package: a missing one becomes a :class:`ConfigError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(remedy(what, error.name or "a package")) from error
