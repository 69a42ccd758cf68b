"""Quality and speed in one go: quality.json, .md and .png, speed.json and .md, with machine and versions.

python recipes/benchmark/run.py CORPUS -o FOLDER
"""

import argparse
import subprocess
import sys
from pathlib import Path

from quality import arguments_of, benchmark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hour", action="store_true", help="take an hour, not 5 minutes, for the memory's sake")
    arguments = arguments_of(parser)
    speed = [sys.executable, str(Path(__file__).with_name("speed.py")), "-o", str(arguments.output)]
    speed += ["--model", arguments.model, *(["--hour"] if arguments.hour else [])]
    subprocess.run(speed, check=True)  # first, and alone, so that nothing slows it
    benchmark(arguments)


if __name__ == "__main__":
    main()
