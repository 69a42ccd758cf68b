"""A stream names its codes: a decoder that has learnt more reads it, a model of other codes refuses it."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import VOCODED

from vqaudio.codecs.speech import Codec, load
from vqaudio.errors import ModelError
from vqaudio.models import checkpoint

WAVE = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)


def other(folder: Path, model: Path, parts: tuple[str, ...]) -> Codec:
    """The codec of ``model``, its ``parts`` moved a little."""
    state = checkpoint.load_model(model).state_dict()
    torch.manual_seed(1)
    for name, tensor in state.items():
        if name.startswith(parts) and tensor.is_floating_point():
            state[name] = tensor + 0.05 * torch.randn_like(tensor)
    checkpoint.save_model(folder, VOCODED, state, {}, half=True)
    return load(folder, "cpu")


def test_a_better_decoder_speaks_old_streams(vocoded_model: Path, tmp_path: Path) -> None:
    old, file = load(vocoded_model, "cpu"), io.BytesIO()
    stream = old.encode(WAVE, 16000)
    stream.write(file)
    file.seek(0)
    new = other(tmp_path / "new", vocoded_model, ("conditioning.", "bands_head.", "pitch_head.", "encoder."))
    read = new.read(file)
    assert np.array_equal(read.tokens, stream.tokens)
    assert not np.allclose(new.decode(read), old.decode(stream))


@pytest.mark.parametrize("part", ["quantizer.", "prior."])
def test_other_codes_are_refused(part: str, vocoded_model: Path, tmp_path: Path) -> None:
    stream = load(vocoded_model, "cpu").encode(WAVE, 16000)
    with pytest.raises(ModelError, match="give the model it needs"):
        other(tmp_path / "new", vocoded_model, (part,)).decode(stream)
