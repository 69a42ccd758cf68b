"""What a training run writes down as it goes: ``log.jsonl``, a line of JSON an entry, and TensorBoard's events."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard import SummaryWriter

from vqaudio.codecs.preview import Preview

LOG_FILE = "log.jsonl"
FEWEST_CODES = 0.1  # share of the codebook under which it has collapsed
LEAST_USE_OF_CODES = 0.02  # bits a sample or dim by which wrong codes must make the decoder worse


def warnings_of(values: dict[str, float], codebook_size: int) -> list[str]:
    """What validation figures say of the two ways in which a VQ-VAE fails: a collapsed codebook, codes ignored."""
    warnings = []
    if values.get("codes_used", codebook_size) < FEWEST_CODES * codebook_size:
        warnings.append(f"the codebook has collapsed: {values['codes_used']:.0f} of {codebook_size} codes are used")
    for unit in ("sample", "dim"):
        true, shuffled = values.get(f"bits_per_{unit}"), values.get(f"bits_per_{unit}_shuffled")
        if true is not None and shuffled is not None and not shuffled - true >= LEAST_USE_OF_CODES:
            bits = f"{true:.3f} bits a {unit}, {shuffled:.3f} with those of others"
            warnings.append(f"the decoder ignores its codes: {bits}")
    return warnings


class TrainingLog:
    """The log of the run in ``folder``, from step ``step`` on; ``listener`` hears each line."""

    def __init__(self, folder: Path, step: int, listener: Callable[[dict[str, Any]], None] | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOG_FILE
        self._listener = listener
        self._trim(step)
        self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def _trim(self, step: int) -> None:
        """Drops the lines of steps that a resumed run will go through again."""
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            self._path.write_text("".join(kept), encoding="utf-8")

    def write(self, step: int, phase: str, part: str, values: dict[str, float]) -> None:
        """Enters the figures of a ``part`` of the work, "train" or "validation"."""
        for name, value in values.items():
            self._events.add_scalar(f"{part}/{name}", value, step)
        self._note({"step": step, "phase": phase, "part": part, **values})

    def warn(self, step: int, phase: str, message: str) -> None:
        """Enters a warning, as a line whose ``part`` is "warning"."""
        self._events.add_text("warning", message, step)
        self._note({"step": step, "phase": phase, "part": "warning", "message": message})

    def show(self, step: int, preview: Preview) -> None:
        """Puts sounds and pictures where one can hear and see them."""
        for name, sound in preview.sounds.items():
            self._events.add_audio(f"preview/{name}", sound[None], step, preview.sample_rate_hz)
        for name, picture in preview.pictures.items():
            self._events.add_image(f"preview/{name}", picture, step, dataformats="HW")

    def show_picture(self, step: int, picture: npt.NDArray[np.uint8]) -> None:
        """Puts a picture ``[height, width, 3]`` where one can see it."""
        self._events.add_image("preview", picture, step, dataformats="HWC")

    def _note(self, line: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._listener:
            self._listener(line)

    def close(self) -> None:
        """Completes the events' file."""
        self._events.close()
