"""What fuzzing begins with: small streams of a model, and the model itself in one file.

python recipes/c-decoder/seeds.py tests/fixtures/v1/sound-model -o seeds      # seeds/streams, seeds/models
"""

import argparse
from pathlib import Path

import numpy as np

import vqaudio
from vqaudio.codecs.speech import Codec

RATES_HZ = (16_000, 8_000, 44_100)


def streams(codec: Codec, folder: Path) -> None:
    """Short sounds, packed and under the prior, of one and two channels, at several rates."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for coder in ("packed", "prior"):
        for rate_hz in RATES_HZ:
            for channels, seconds in ((1, 0.0), (1, 0.03), (1, 0.1), (2, 0.05), (3, 0.5)):
                wave = 0.1 * generator.standard_normal((channels, round(seconds * rate_hz)))
                stream = codec.encode(wave.astype(np.float32), rate_hz, coder=coder)
                stream.save(folder / f"{coder}-{rate_hz}-{channels}-{seconds}.vqa", overwrite=True)


def model(source: Path, folder: Path) -> None:
    """The configuration's size in two bytes, the configuration, the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config, weights = ((source / name).read_bytes() for name in ("config.json", "model.safetensors"))
    (folder / "model").write_bytes(len(config).to_bytes(2, "little") + config + weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    streams(vqaudio.load(arguments.model, "cpu"), arguments.output / "streams")
    model(arguments.model, arguments.output / "models")


if __name__ == "__main__":
    main()
