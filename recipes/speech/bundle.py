"""Puts a trained model into the package: its weights in half precision, its card beside them.

python recipes/speech/bundle.py runs/speech/model vqaudio/pretrained/speech [CARD.md] [--licence TEXT]

The checksums of the files that it learnt from go along, so that nobody measures it on them.
"""

import argparse
import shutil
from pathlib import Path

from vqaudio.io.corpora import find_recordings
from vqaudio.models import checkpoint
from vqaudio.models.checksums import write_sums
from vqaudio.models.sources import file_checksum, read_sources, write_sources

HERE = Path(__file__).parent
KEPT = ("step", "samples_seen", "hours_of_sound", "pictures_seen", "seconds", "data_sha256", "speakers")


def bundle(trained: Path, target: Path, card: Path, licence: str, learnt_from: Path | None = None) -> None:
    """Copies the model in ``trained`` to ``target``, keeping of its training facts those that a user needs.

    ``learnt_from`` is the corpus, for a model that does not say from which files it learnt.
    """
    document = checkpoint.read_document(trained)
    facts = {name: document["training"][name] for name in KEPT if name in document["training"]}
    if licence:
        facts["licence"] = licence
    state = checkpoint.read_tensors(trained / checkpoint.WEIGHTS_FILE)
    # the codebooks' sums follow from the rest, and the discriminator is for training alone
    state = {
        name: tensor
        for name, tensor in state.items()
        if not name.endswith("ema_sum") and not name.startswith("discriminator.")
    }
    checkpoint.save_model(target, checkpoint.read_config(trained), state, facts, half=True)
    shutil.copy(card, target / "CARD.md")
    sources = read_sources(trained)
    if learnt_from:
        sources |= {file_checksum(recording.path) for recording in find_recordings(learnt_from)}
    write_sources(target, sources)
    write_sums(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("card", type=Path, nargs="?", default=HERE / "CARD.md")
    parser.add_argument("--licence", default="", help="whose data it learnt from, for 'vqaudio models NAME'")
    parser.add_argument("--learnt-from", type=Path, help="the corpus, for a model that does not say")
    wanted = parser.parse_args()
    bundle(wanted.trained, wanted.target, wanted.card, wanted.licence, wanted.learnt_from)
