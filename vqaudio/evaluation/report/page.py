"""The page: an evaluation, the utterances to hear and the other codecs, put into ``page.html``."""

import base64
from collections.abc import Sequence

from vqaudio import __version__
from vqaudio.evaluation.phones import PHONES, PhoneMap
from vqaudio.evaluation.report.figures import figure_of
from vqaudio.evaluation.report.gallery import Gallery
from vqaudio.evaluation.report.pictures import phone_png, rate_quality_svg
from vqaudio.evaluation.report.rivals import Rival
from vqaudio.evaluation.report.templates import template
from vqaudio.evaluation.speech import Evaluation


def render(
    model: str, result: Evaluation, gallery: Gallery, rivals: Sequence[Rival] = (), phones: PhoneMap | None = None
) -> str:
    """The whole page as HTML that needs no other file and no network.

    Args:
        model: the model's name.
        result: of its evaluation.
        gallery: that watched the evaluation.
        rivals: other codecs, for the rate-quality plot, to which the model is added. Without any there is no plot.
        phones: what the codes stand for, for a picture.

    Raises:
        ConfigError: Jinja2 or matplotlib is not installed.
    """
    own = Rival(model, result.groups["all"], ours=True)
    return template("page.html", figure=_figure, data_uri=_data_uri).render(
        model=model,
        version=__version__,
        result=result,
        rows=[(figure_of(name), [of.get(name) for of in result.groups.values()]) for name in result.groups["all"]],
        cases=gallery.cases,
        plot=rate_quality_svg([*(rival for rival in rivals if not rival.ours), own]) if rivals else "",
        phones=phones,
        phone_picture=phone_png(phones.counts) if phones else b"",
        phone_names=PHONES,
        columns=list(result.groups["all"]),
        figure_of=figure_of,
    )


def _figure(value: float | None, name: str) -> str:
    return figure_of(name).format(value)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
