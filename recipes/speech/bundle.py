"""Puts a trained model into the package: its weights in half precision, its card beside them.

python recipes/speech/bundle.py runs/speech/model vqaudio/pretrained/speech [CARD.md] [--licence TEXT]
"""

import argparse
import shutil
from pathlib import Path

from vqaudio.models import checkpoint

HERE = Path(__file__).parent
KEPT = ("step", "samples_seen", "hours_of_sound", "pictures_seen", "seconds", "data_sha256", "speakers")


def bundle(trained: Path, target: Path, card: Path, licence: str) -> None:
    """Copies the model in ``trained`` to ``target``, keeping of its training facts those that a user needs."""
    document = checkpoint.read_document(trained)
    facts = {name: document["training"][name] for name in KEPT if name in document["training"]}
    if licence:
        facts["licence"] = licence
    state = checkpoint.read_tensors(trained / checkpoint.WEIGHTS_FILE)
    # the codebooks' sums follow from the rest
    state = {name: tensor for name, tensor in state.items() if not name.endswith("ema_sum")}
    checkpoint.save_model(target, checkpoint.read_config(trained), state, facts, half=True)
    shutil.copy(card, target / "CARD.md")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("card", type=Path, nargs="?", default=HERE / "CARD.md")
    parser.add_argument("--licence", default="", help="whose data it learnt from, for 'vqaudio models NAME'")
    wanted = parser.parse_args()
    bundle(wanted.trained, wanted.target, wanted.card, wanted.licence)
