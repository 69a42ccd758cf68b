"""All of the recipe: packs a data set, trains the models, compares them. What is done already is not done again.

python recipes/images/run.py SOURCE -o FOLDER [--configs NAME...] [--set KEY=VALUE]...

SOURCE is CIFAR-10's cifar-10-binary.tar.gz, an .npz, or a folder of pictures.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def vqaudio(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "vqaudio", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--configs", nargs="+", default=["ten_latents", "one_latent", "vae"], help="files beside this one"
    )
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    shards = arguments.output / "shards"
    if not shards.exists():
        vqaudio("prepare", arguments.source, "-o", shards)
    changes = [word for change in arguments.changes for word in ("--set", change)]
    models = []
    for name in arguments.configs:
        run = arguments.output / name
        models.append(run / "model")
        if not models[-1].exists():
            vqaudio("train", HERE / f"{name}.toml", "--data", shards, "-o", run, "--resume", *changes)
    compare = [HERE / "compare.py", *models, "--data", arguments.source, "-o", arguments.output / "results"]
    subprocess.run([sys.executable, *map(str, compare)], check=True)


if __name__ == "__main__":
    main()
