"""Coding under a prior is integers: the same bytes with and without the compiler, on however many threads."""

import hashlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import children
import pytest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "v1"
# Codes of random numbers reach the bounds of the fixed-point numbers sooner than those of a sound.
CHILD = """
import hashlib, sys
import numba, numpy as np
from pathlib import Path
from vqaudio.bitstream.header import Coder
from vqaudio.codecs.loading import load
digest = hashlib.sha256()
if len(sys.argv) > 2:
    numba.set_num_threads(int(sys.argv[2]))
for model in ("sound-model", "picture-model"):
    codec = load(Path(sys.argv[1]) / model, "cpu")
    coder = codec.block_coder(Coder.PRIOR)
    size = codec.config.quantizer.codebook_size
    count = 96 if model == "sound-model" else codec.config.tile_tokens
    for seed in range(2):
        codes = np.random.default_rng(seed).integers(0, size, count, np.int32)
        payload = coder.encode(codes)
        assert (coder.decode(payload, count) == codes).all()
        digest.update(payload)
print(numba.config.DISABLE_JIT, digest.hexdigest())
"""


def payloads(*threads: int, **settings: str) -> tuple[str, str]:
    """Whether the compiler was off, and the checksum of what a process with these settings makes of the codes."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", CHILD, str(FIXTURES), *map(str, threads)]
    done = subprocess.run(command, env=children.environment(**settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    off, digest = done.stdout.split()
    return off, digest


@cache
def compiled() -> str:
    off, digest = payloads(NUMBA_DISABLE_JIT="0")
    assert off == "0"
    assert digest != hashlib.sha256().hexdigest()
    return digest


@pytest.mark.slow
def test_without_the_compiler() -> None:
    """An overflow would be a warning there, which is an error here."""
    assert payloads(NUMBA_DISABLE_JIT="1") == ("1", compiled())


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_on_any_number_of_threads(threads: int) -> None:
    settings = {name: str(threads) for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    assert payloads(threads, **settings) == ("0", compiled())


@pytest.mark.slow
def test_for_a_generic_processor() -> None:
    assert payloads(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ("0", compiled())
