"""The pages' templates."""

from collections.abc import Callable
from typing import Any

from vqaudio.evaluation.metrics.packages import needed_for


def template(name: str, **filters: Callable[..., str]) -> Any:
    """The template ``name``, which may use ``filters``. Whatever is put into it stays text.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    with needed_for("the report is"):
        from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vqaudio.evaluation.report", ""),
        autoescape=True,  # names and transcripts are anyone's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)
