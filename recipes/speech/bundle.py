"""Puts a trained model into the package: its weights in half precision, its card beside them.

python recipes/speech/bundle.py runs/speech/model vqaudio/pretrained/speech [CARD.md]
"""

import shutil
import sys
from pathlib import Path

from vqaudio import checkpoint

HERE = Path(__file__).parent


def bundle(trained: Path, target: Path, card: Path) -> None:
    """Copies the model in ``trained`` to ``target``, keeping of its training facts those that a card needs."""
    document = checkpoint.read_document(trained)
    kept = ("step", "samples_seen", "hours_of_sound", "pictures_seen", "seconds", "data_sha256")
    facts = {name: document["training"][name] for name in kept if name in document["training"]}
    state = checkpoint.read_tensors(trained / checkpoint.WEIGHTS_FILE)
    checkpoint.save_model(target, checkpoint.read_config(trained), state, facts, half=True)
    shutil.copy(card, target / "CARD.md")


if __name__ == "__main__":
    bundle(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else HERE / "CARD.md")
