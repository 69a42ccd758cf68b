"""What the studio shows: players, spectra, pitch and codes as pieces of HTML. Every text that comes from outside is
escaped."""

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Floats

_PITCH_RATE_HZ, _PITCH_HOP = 16000, 160  # a frame every 10 ms
_GOLDEN = 0.618034
_STRIP_ROW = 6  # pixels

CSS = """
.vq-sounds { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: .8rem; }
.vq-sounds figure, .vq-codes { margin: 0; min-width: 0; }
.vq-sounds figcaption { font-weight: 600; overflow-wrap: anywhere; }
.vq-sounds audio { display: block; width: 100%; margin-top: .3rem; }
.vq-view { position: relative; background: #000; border-radius: .25rem; overflow: hidden; }
.vq-view img { display: block; width: 100%; height: 9rem; margin: 0; }
.vq-view svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.vq-view path { fill: none; stroke: #4fd8ff; stroke-width: 2; vector-effect: non-scaling-stroke; }
.vq-picture img { width: 100%; max-width: 24rem; height: auto; image-rendering: pixelated; margin: 0; }
.vq-codes img { display: block; width: 100%; height: 3rem; margin: 0; image-rendering: pixelated; }
.vq-facts { border-collapse: collapse; margin: .6rem 0; }
.vq-facts, .vq-facts :is(tr, th, td) { border: 0 !important; }
.vq-facts th { text-align: left; font-weight: 400; padding: .1rem 1rem .1rem 0; opacity: .75; }
.vq-facts td { font-variant-numeric: tabular-nums; padding: .1rem 0; }
.vq-failure, .vq-note { padding: .5rem .8rem; border-radius: .25rem; overflow-wrap: anywhere; }
.vq-failure { border-left: .3rem solid #c62828; background: #c6282822; }
.vq-note { border-left: .3rem solid #b28704; background: #b2870422; }
"""


def address(path: Path) -> str:
    """Where the page finds the file ``path``, which lies in the studio's own folder."""
    return "gradio_api/file=" + quote(str(path))


def failure(line: str) -> str:
    """One line of an error."""
    return f'<p class="vq-failure" role="alert">{escape(line)}</p>'


def notes(lines: Iterable[str]) -> str:
    """Lines worth knowing that are no errors."""
    return "".join(f'<p class="vq-note">{escape(line)}</p>' for line in lines)


def facts(values: Mapping[str, str]) -> str:
    """A table of two columns."""
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in values.items())
    return f'<table class="vq-facts"><tbody>{"".join(rows)}</tbody></table>'


def download(path: Path) -> str:
    """A link that saves the file ``path`` under its own name."""
    name = escape(path.name)
    return f'<p><a class="vq-download" download="{name}" href="{escape(address(path))}">Download {name}</a></p>'


def pitch_track(wave: Floats, sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """The pitch of ``wave[T]`` by autocorrelation, Hz, a frame every 10 ms; NaN where there is no voice."""
    from vqaudio.dsp.hearing import heard_pitch
    from vqaudio.io.resample import resample

    own = resample(wave[None], sample_rate_hz, _PITCH_RATE_HZ)[0]
    if len(own) < _PITCH_HOP:
        return np.full(1, np.nan)
    hz, voiced = heard_pitch(own, _PITCH_RATE_HZ, _PITCH_HOP)
    return np.where(voiced, hz.astype(np.float64), np.nan)


def sound(label: str, path: Path, name: str) -> str:
    """A sound file to hear, with its spectrum and, on it, its pitch; ``name`` is how programs find the player."""
    from vqaudio.codecs.encoding import mixed
    from vqaudio.evaluation.report.pictures import pitch_svg, spectrogram
    from vqaudio.io.sound import SoundReader

    with SoundReader(path) as file:
        wave, rate_hz = mixed(file), file.sample_rate_hz
    picture = _data(spectrogram(wave, rate_hz)) if len(wave) else ""
    view = f'<img src="{picture}" alt="Spectrogram of {escape(label)}">{pitch_svg(pitch_track(wave, rate_hz))}'
    player = f'<audio controls preload="metadata" id="{name}" src="{escape(address(path))}"></audio>'
    return f'<figure><figcaption>{escape(label)}</figcaption><div class="vq-view">{view}</div>{player}</figure>'


def sounds(figures: Iterable[str]) -> str:
    """Figures of :func:`sound` or :func:`picture` side by side, or below each other where there is no room."""
    return f'<div class="vq-sounds">{"".join(figures)}</div>'


def picture(label: str, path: Path, name: str) -> str:
    """A picture file to see."""
    image = f'<img id="{name}" src="{escape(address(path))}" alt="{escape(label)}">'
    return f'<figure class="vq-picture"><figcaption>{escape(label)}</figcaption>{image}</figure>'


def code_strip(codes: npt.NDArray[np.int32]) -> str:
    """``codes[rows, columns]`` as a strip, a colour a code; neighbouring numbers get colours far apart, for codes have
    no order."""
    from PIL import Image

    if not codes.size:
        return ""
    hues = np.round(255 * ((codes * _GOLDEN) % 1.0)).astype(np.uint8)
    levels = np.stack([hues, np.full_like(hues, 190), np.full_like(hues, 235)], axis=-1)
    file = io.BytesIO()
    Image.fromarray(np.repeat(levels, _STRIP_ROW, axis=0), "HSV").convert("RGB").save(file, "PNG")
    what = f"{codes.size} codes, a colour a code, a row a quantizer"
    caption = f"<figcaption>{what}</figcaption>"
    return f'<figure class="vq-codes">{caption}<img src="{_data(file.getvalue())}" alt="{what}"></figure>'


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
