"""Pictures of sounds, of tokens and of codecs side by side."""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.mel import log_mel
from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.evaluation.report.figures import FIGURES
from vqaudio.evaluation.report.rivals import Rival

Wave = npt.NDArray[np.float32]

_WIDEST = 1000  # columns of a spectrogram
_BANDS, _WINDOW_S = 64, 0.032
_MEL_RANGE = (-6.0, 3.0)  # natural log, at the level that the codec works at
_GOLDEN = 0.618034
_PITCH_HZ = (60.0, 500.0)  # of a contour, bottom and top
_INK = "#0a0b0c"  # becomes the colour of the page's text
_OURS, _OTHERS = "#2f7fd6", "#9a6b1f"
_TICKS_KBPS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
PLOTTED = ("word_error_rate", "distillmos", "stoi", "speaker_similarity")


def spectrogram(wave: Wave, sample_rate_hz: int) -> bytes:
    """A PNG of the log-mel spectrum of ``wave[T]``, all of it, low frequencies at the bottom."""
    level = measure_level([wave[None]], sample_rate_hz, 1)[0]
    hop = max(round(0.01 * sample_rate_hz), -(-len(wave) // _WIDEST))
    window = max(hop, round(_WINDOW_S * sample_rate_hz))
    padded = np.pad(wave * np.float32(level.gain), (0, max(0, hop - len(wave))))
    mel = log_mel(torch.from_numpy(padded)[None], sample_rate_hz, window, hop, _BANDS)[0].numpy()
    return _png(mel[::-1], *_MEL_RANGE, "magma")


def token_strip(codes: npt.NDArray[np.int32]) -> bytes:
    """A PNG one pixel high, a pixel a token; neighbouring numbers get colours far apart, for codes have no order."""
    return _png((codes[None] * _GOLDEN) % 1.0, 0.0, 1.0, "turbo")


def pitch_svg(track: npt.NDArray[np.float64]) -> str:
    """A contour of ``track[frames]``, Hz or NaN, as an ``<svg>`` element: a line wherever there is a voice."""
    low, high = np.log2(_PITCH_HZ)
    heights = 100 * (1 - (np.log2(track) - low) / (high - low))
    steps, drawing = [], False
    for frame, height in enumerate(heights):
        if np.isfinite(height):
            steps.append(f"{'L' if drawing else 'M'}{frame} {height:.1f}")
        drawing = bool(np.isfinite(height))
    box = f'viewBox="0 0 {max(1, len(track))} 100" preserveAspectRatio="none"'
    return f'<svg class="pitch" {box} role="img" aria-label="Pitch"><path d="{" ".join(steps)}"/></svg>'


def phone_png(counts: npt.NDArray[np.int64]) -> bytes:
    """A PNG of ``counts[phones, codes]``: a row a phone, a column a code that occurs, in the order of their phones.

    It is brighter where more of a code's frames are of that phone.
    """
    used = counts[:, counts.any(axis=0)]
    shares = used / used.sum(axis=0)
    order = np.lexsort((-shares.max(axis=0), shares.argmax(axis=0)))
    return _png(shares[:, order], 0.0, 1.0, "viridis")


def _png(values: npt.NDArray[np.floating], low: float, high: float, colours: str) -> bytes:
    with needed_for("the report is"):
        from matplotlib import image
    file = io.BytesIO()
    image.imsave(file, values, vmin=low, vmax=high, cmap=colours, format="png")
    return file.getvalue()


def rate_quality_svg(rivals: Sequence[Rival]) -> str:
    """The plot as an ``<svg>`` element in the colour of the text around it."""
    file = io.StringIO()
    _draw(rivals, file, _INK, {"format": "svg", "transparent": True, "metadata": {"Date": None}})
    text = file.getvalue().replace(_INK, "currentColor")
    head, rest = text[text.index("<svg") :].split(">", 1)
    return re.sub(r' (width|height)="[^"]*"', "", head) + ">" + rest  # as wide as its place


def rate_quality_png(rivals: Sequence[Rival], path: Path) -> None:
    """The plot as a file."""
    _draw(rivals, path, "#202020", {"format": "png", "dpi": 110})


def _draw(rivals: Sequence[Rival], target: Path | io.StringIO, ink: str, how: dict[str, Any]) -> None:
    """One panel for each of :data:`PLOTTED` that any codec has."""
    with needed_for("the plot is"):
        import matplotlib
        from matplotlib.figure import Figure

    shown = [name for name in PLOTTED if any(name in rival.figures for rival in rivals)]
    rows = max(1, math.ceil(len(shown) / 2))
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    style: Any = {**dict.fromkeys(inked, ink), "svg.hashsalt": "vqaudio", "axes.facecolor": "none"}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10, 3.6 * rows), layout="constrained")
        panels = figure.subplots(rows, 2, squeeze=False).flat
        for panel, name in zip(panels, shown, strict=False):
            _panel(panel, name, rivals)
        for panel in panels[len(shown) :]:
            panel.axis("off")
        figure.savefig(target, **how)


def _panel(panel: Any, name: str, rivals: Sequence[Rival]) -> None:
    """Rate from left to right, ``name`` from bottom to top, each codec with its interval."""
    for rival in rivals:
        if name not in rival.figures or "bits_per_second" not in rival.figures:
            continue
        rate, mean = rival.figures["bits_per_second"].value / 1000, rival.figures[name]
        spread = [[mean.value - mean.low], [mean.high - mean.value]]
        colour, marker = (_OURS, "D") if rival.ours else (_OTHERS, "o")
        panel.errorbar(rate, mean.value, yerr=spread, fmt=marker, color=colour, elinewidth=1, capsize=2)
        label = rival.name.replace("$", r"\$")  # which would begin a formula
        beside = (5, -11) if rival.ours else (5, 4)  # for the two often lie close
        panel.annotate(label, (rate, mean.value), beside, textcoords="offset points", fontsize=8)
    panel.set_xscale("log")
    panel.set_xlabel("kb/s, all bytes of the file")
    shown = panel.get_xlim()
    panel.set_xticks(_TICKS_KBPS, [f"{tick:g}" for tick in _TICKS_KBPS], minor=False)
    panel.set_xticks([], minor=True)
    panel.set_xlim(shown[0] / 1.1, shown[1] * 1.4)
    panel.set_title(f"{FIGURES[name].label} ({FIGURES[name].better} is better)", fontsize=10)
    panel.grid(alpha=0.25)
