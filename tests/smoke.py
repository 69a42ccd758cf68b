"""What an installed package must do anywhere: python tests/smoke.py, in any folder that may be written to.

The bundled model codes and decodes speech without torch, the start of a program that has compiled its kernels needs no
Numba, and errors are one line. Raises AssertionError, or ends with "well".
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

import vqaudio
from vqaudio.codecs.bundled import PRETRAINED

CLIP = PRETRAINED / "demo.flac"


def run(*words: object, status: int = 0) -> str:
    """What a command wrote to standard output, or, where it was to fail, to standard error."""
    command = [sys.executable, "-m", "vqaudio", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{words}: {done.returncode}: {done.stderr}"
    return done.stderr if status else done.stdout


def main() -> None:
    where = Path(vqaudio.__file__).resolve()
    source = Path(__file__).resolve().parents[1] / "vqaudio"
    assert not where.is_relative_to(source), f"{where} is the source, not the package"
    assert importlib.util.find_spec("torch") is None, "speech is to run without torch"
    clip, rate_hz = soundfile.read(CLIP, dtype="float32")

    run("encode", CLIP, "-o", "a.vqa", "--force")
    run("decode", "a.vqa", "-o", "a.wav", "--force")
    sound, decoded_hz = soundfile.read("a.wav", dtype="float32")
    assert (len(sound), decoded_hz) == (len(clip), rate_hz)
    level, original_level = (float(np.sqrt(np.mean(np.square(one)))) for one in (sound, clip))
    assert 0.5 < level / original_level < 2, f"decoded at {level}, the original is at {original_level}"

    facts = json.loads(run("info", "a.vqa", "--json"))
    assert facts, "info tells nothing"
    assert "vqaudio" in run("--version")
    (line,) = run("decode", CLIP, "-o", "b.wav", status=1).splitlines()
    assert "demo.flac" in line

    codec = vqaudio.load("speech", "cpu")
    stream = codec.encode(clip, rate_hz)
    assert np.array_equal(stream.tokens, vqaudio.Stream.load("a.vqa").tokens), "the verb codes otherwise than Python"
    again = codec.decode(stream)
    np.testing.assert_allclose(again[0], sound, atol=1e-3)
    if sys.platform == "linux":
        assert "numba" not in sys.modules, "kernels that lie ready are to be fetched without Numba"
    print(f"Python {sys.version.split()[0]}: well")


if __name__ == "__main__":
    main()
