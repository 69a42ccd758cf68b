"""The newest checkpoint of a run as small files, to carry it to another machine, and back.

python recipes/speech/parts.py split RUN PARTS
python recipes/speech/parts.py join PARTS RUN        (does nothing where RUN has a newer one, or there are no parts)

Numbers become half precision, but for those that would not fit it, and counters; a run that goes on from parts is
therefore not bit for bit the one that was split.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqaudio.io.atomic import atomic_folder
from vqaudio.models import checkpoint

MOST_BYTES = 15 << 20
HALF_MAX, HALF_LEAST = 6e4, 1e-4  # of numbers that half precision holds well enough
FILES = (checkpoint.WEIGHTS_FILE, checkpoint.TRAINING_FILE)


def narrow(tensor: Tensor) -> Tensor:
    """In half precision where its numbers allow it (an optimizer's squares are too small)."""
    if tensor.dtype != torch.float32 or not tensor.numel():
        return tensor
    sizes = tensor.abs()
    fits = sizes.max() < HALF_MAX and (sizes.max() == 0 or sizes.max() > HALF_LEAST)
    return tensor.half() if fits else tensor.bfloat16()


def newest(run: Path) -> Path | None:
    found = sorted((run / "checkpoints").glob("[0-9]*"))
    return found[-1] if found else None


def split(run: Path, parts: Path) -> None:
    """Writes the newest checkpoint of ``run`` into ``parts``, in place of what is there."""
    folder = newest(run)
    if folder is None:
        raise SystemExit(f"{run}: has no checkpoint")
    with atomic_folder(parts) as target:
        shutil.copy(folder / checkpoint.CONFIG_FILE, target / checkpoint.CONFIG_FILE)
        (target / "name").write_text(folder.name)
        for file in FILES:
            group: dict[str, Tensor] = {}
            number = held = 0
            for name, tensor in checkpoint.read_tensors(folder / file).items():
                small = narrow(tensor)
                size = small.numel() * small.element_size()
                if group and held + size > MOST_BYTES:
                    save_file(group, target / f"{number:03d}.{file}")
                    group, held, number = {}, 0, number + 1
                group[name], held = small.contiguous(), held + size
            save_file(group, target / f"{number:03d}.{file}")


def join(parts: Path, run: Path) -> None:
    """Makes a checkpoint of ``run`` of ``parts``, unless it has that one or a newer one."""
    if not (parts / "name").is_file():
        return
    name, there = (parts / "name").read_text(), newest(run)
    if there is not None and there.name >= name:
        return
    with atomic_folder(run / "checkpoints" / name) as target:
        document = json.loads((parts / checkpoint.CONFIG_FILE).read_text(encoding="utf-8"))
        (target / checkpoint.CONFIG_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        for file in FILES:
            tensors: dict[str, Tensor] = {}
            for part in sorted(parts.glob(f"[0-9]*.{file}")):
                tensors |= load_file(part)
            whole = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
            save_file(whole, target / file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("split", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    wanted = parser.parse_args()
    {"split": split, "join": join}[wanted.what](wanted.source, wanted.target)
