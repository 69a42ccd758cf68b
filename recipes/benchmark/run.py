"""Quality and speed in one go: quality.json, .md and .png, speed.json and .md, with machine and versions.

python recipes/benchmark/run.py CORPUS -o FOLDER
"""

import argparse
import subprocess
import sys
from pathlib import Path

from quality import arguments_of, benchmark


def main() -> None:
    arguments = arguments_of(argparse.ArgumentParser(description=__doc__))
    speed = [sys.executable, str(Path(__file__).with_name("speed.py")), "-o", str(arguments.output)]
    subprocess.run([*speed, "--model", arguments.model], check=True)  # first, and alone, so that nothing slows it
    benchmark(arguments)


if __name__ == "__main__":
    main()
