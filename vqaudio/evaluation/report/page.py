"""The page: an evaluation, the utterances to hear and the other codecs, put into ``page.html``."""

import base64
from collections.abc import Sequence

from vqaudio import __version__
from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.evaluation.report.figures import figure_of
from vqaudio.evaluation.report.gallery import Gallery
from vqaudio.evaluation.report.pictures import rate_quality_svg
from vqaudio.evaluation.report.rivals import Rival
from vqaudio.evaluation.speech import Evaluation


def render(model: str, result: Evaluation, gallery: Gallery, rivals: Sequence[Rival] = ()) -> str:
    """The whole page as HTML that needs no other file and no network.

    Args:
        model: the model's name.
        result: of its evaluation.
        gallery: that watched the evaluation.
        rivals: other codecs, for the rate-quality plot, to which the model is added. Without any there is no plot.

    Raises:
        ConfigError: Jinja2 or matplotlib is not installed.
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
    environment.filters |= {"figure": _figure, "data_uri": _data_uri}
    own = Rival(model, result.groups["all"], ours=True)
    return environment.get_template("page.html").render(
        model=model,
        version=__version__,
        result=result,
        rows=[(figure_of(name), [of.get(name) for of in result.groups.values()]) for name in result.groups["all"]],
        cases=gallery.cases,
        plot=rate_quality_svg([*(rival for rival in rivals if not rival.ours), own]) if rivals else "",
        columns=list(result.groups["all"]),
        figure_of=figure_of,
    )


def _figure(value: float | None, name: str) -> str:
    return figure_of(name).format(value)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
