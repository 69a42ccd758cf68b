"""image_codec.py, image_generate.py, image_evaluate.py, models.py: pictures come back at their size, damage stays where
it is, and what the bits say is true."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import CLASSY, PLAIN, TINY, gradient, save_model
from PIL import Image

import vqaudio
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.facts import facts_of
from vqaudio.codecs.image import DAMAGED_LEVEL, ImageCodec, load_images
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.speech import load as load_sounds
from vqaudio.errors import ConfigError, ContainerError, DataError, ModelError, PictureError
from vqaudio.evaluation.image import contact_sheet, evaluate_pictures, likelihood, lossless_sizes
from vqaudio.io.image import MAX_PIXELS, grid_rows
from vqaudio.models import checkpoint
from vqaudio.models import logistic_mixture as logistic
from vqaudio.models.image_config import ImageVAEConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def codec(folder: Path) -> ImageCodec:
    loaded = vqaudio.load(folder, "cpu")
    assert isinstance(loaded, ImageCodec)
    return loaded


def written(codec: ImageCodec, stream: Stream) -> bytes:
    file = io.BytesIO()
    stream.write(file, codec.block_coder(stream.header.coder))
    return file.getvalue()


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(list(Coder)))
def test_pictures_of_any_size_come_back_at_their_size(codec: ImageCodec, height: int, width: int, coder: Coder) -> None:
    stream = codec.encode(gradient(height, width), coder)
    data = written(codec, stream)
    again = codec.read(io.BytesIO(data))
    assert np.array_equal(again.tokens, stream.tokens)
    assert again.tokens.shape == (1, -(-height // 8) * -(-width // 8), 4, 2)
    decoded = codec.decode(again)
    assert decoded.shape == (height, width, 3)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, codec.decode(stream))


def test_a_tile_is_coded_alike_wherever_it_lies(codec: ImageCodec) -> None:
    picture = gradient(16, 24)
    whole, part = codec.encode(picture), codec.encode(picture[8:, 16:])
    assert np.array_equal(whole.tokens[0, 5], part.tokens[0, 0])
    assert np.array_equal(codec.decode(whole)[8:, 16:], codec.decode(part))


def test_grey_arrays_are_taken(codec: ImageCodec) -> None:
    grey = gradient(9, 9)[:, :, 0]
    assert np.array_equal(codec.encode(grey).tokens, codec.encode(np.repeat(grey[:, :, None], 3, 2)).tokens)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(array: np.ndarray, codec: ImageCodec) -> None:
    with pytest.raises(PictureError, match="not supported"):
        codec.encode(array)


def test_huge_pictures_are_refused(codec: ImageCodec) -> None:
    wide = np.broadcast_to(np.zeros(3, np.uint8), (1, MAX_PIXELS + 1, 3))
    with pytest.raises(PictureError, match="not supported"):
        codec.encode(wide)


def test_a_stream_saves_by_itself_and_loads_with_the_coder_of_its_codec(codec: ImageCodec, tmp_path: Path) -> None:
    stream = codec.encode(gradient(20, 9))
    assert stream.header.coder is Coder.PRIOR
    stream.save(tmp_path / "a.vqa")
    loaded = vqaudio.Stream.load(tmp_path / "a.vqa", codec.block_coder(Coder.PRIOR))
    assert np.array_equal(loaded.tokens, stream.tokens)


def test_damage_costs_the_tiles_of_its_block(codec: ImageCodec) -> None:
    side = 8 * 24  # 576 tiles of 8 codes: two blocks
    stream = codec.encode(gradient(side, side))
    assert stream.header.tokens_per_block == 4096
    data = bytearray(written(codec, stream))
    data[-20] ^= 1
    found = codec.read(io.BytesIO(bytes(data)))
    assert [(d.first_token, d.last_token) for d in found.damage] == [(4096, 576 * 8 - 1)]
    decoded, whole = codec.decode(found), codec.decode(stream)
    first = 512  # of the lost tiles
    row = first // 24 * 8
    assert np.array_equal(decoded[:row], whole[:row])
    assert (decoded[row + 8 :] == DAMAGED_LEVEL).all()
    assert (decoded[row : row + 8, first % 24 * 8 :] == DAMAGED_LEVEL).all()


# ---------------------------------------------------------------------------------------------------- what is refused


def test_headers_that_contradict_themselves_are_refused(codec: ImageCodec) -> None:
    good = codec.encode(gradient(9, 9)).header
    codec.check(good)
    changes: list[dict[str, object]] = [
        {"grid": (4, 2, 4)},
        {"grid": (8, 4)},
        {"shape": (9, 17)},
        {"shape": (2**30, 2**30)},
        {"codebook_size": 21},
        {"channels": 2, "levels": (1.0, 1.0)},
        {"tokens_per_block": 12},
    ]
    for change in changes:
        with pytest.raises(ContainerError):
            codec.check(dataclasses.replace(good, **change))


def test_streams_of_others_are_refused(codec: ImageCodec, tiny_codec: Codec) -> None:
    sound = tiny_codec.encode(np.zeros(100, np.float32), 16000)
    with pytest.raises(ModelError, match="was made with model"):
        codec.check(sound.header)
    with pytest.raises(ContainerError, match="that of a sound"):
        codec.check(dataclasses.replace(sound.header, model_sha256=codec.fingerprint))
    picture = codec.encode(gradient(8, 8))
    with pytest.raises(ContainerError, match="that of a picture"):
        tiny_codec.check(dataclasses.replace(picture.header, model_sha256=tiny_codec.fingerprint))


def test_a_hostile_header_takes_no_memory(codec: ImageCodec) -> None:
    header = Header(codec.fingerprint, Modality.IMAGE, Coder.PACKED, (2**20, 2**15, 1), (1, 1), 0, 1, 20, 65536, (1.0,))
    with pytest.raises(ContainerError):
        codec.read(io.BytesIO(header.to_bytes()))


def test_models_without_a_prior(tmp_path: Path) -> None:
    plain = load_images(save_model(tmp_path / "plain", PLAIN), "cpu")
    assert plain.default_coder() is Coder.PACKED
    with pytest.raises(ConfigError, match="no prior"):
        plain.encode(gradient(8, 8), Coder.PRIOR)
    with pytest.raises(ModelError, match="no prior"):
        plain.sample()
    with pytest.raises(ContainerError, match="does not have"):
        plain.check(dataclasses.replace(plain.encode(gradient(8, 8)).header, coder=Coder.PRIOR))


def test_models_are_loaded_as_what_they_are(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert isinstance(vqaudio.load(tiny_model, "cpu"), Codec)
    with pytest.raises(ModelError, match="a model of pictures"):
        load_sounds(folder)
    with pytest.raises(ModelError, match="no codec for pictures"):
        load_images(tiny_model)
    vae = ImageVAEConfig(tile=8, network=TINY.network)
    checkpoint.save_model(tmp_path / "vae", vae, checkpoint.build(vae).state_dict(), {})
    with pytest.raises(ModelError, match="no codec for pictures"):
        vqaudio.load(tmp_path / "vae")
    assert dataclasses.asdict(facts_of(tmp_path / "vae"))["codebook_size"] is None
    facts = dataclasses.asdict(facts_of(folder))
    assert (facts["tokens_per_tile"], facts["bits_per_token"], facts["prior"]) == (8, 5, True)
    assert facts["bits_per_pixel"] == 8 * 5 / 64


# -------------------------------------------------------------------------------------------------------- new pictures


def test_the_same_seed_draws_the_same_tiles(codec: ImageCodec) -> None:
    few, tiles = codec.sample(2, seed=3), codec.sample(6, seed=3)
    assert all(np.array_equal(one.tokens, other.tokens) for one, other in zip(few, tiles, strict=False))
    assert codec.decode(few[0]).shape == (8, 8, 3)
    many = codec.side_by_side(tiles)
    assert np.array_equal(codec.decode(many)[:8, 8:16], codec.decode(tiles[1]))
    assert many.header.shape == (16, 24)
    assert codec.decode(many).shape == (16, 24, 3)
    assert not np.array_equal(few[0].tokens, codec.sample(seed=4)[0].tokens)
    assert np.array_equal(codec.read(io.BytesIO(written(codec, many))).codes, many.tokens)


def test_rectangles_are_full() -> None:
    assert [grid_rows(count) for count in (1, 2, 7, 12, 16, 64)] == [1, 1, 1, 3, 4, 8]


@pytest.mark.parametrize("wish", [{"count": 0}, {"count": 5000}, {"seed": -1}, {"temperature": 0}, {"top_p": 0}])
def test_numbers_out_of_range(wish: dict[str, float], codec: ImageCodec) -> None:
    with pytest.raises(ConfigError, match=next(iter(wish))):
        codec.sample(**wish)  # type: ignore[arg-type]


def test_classes(codec: ImageCodec, tmp_path: Path) -> None:
    classy = load_images(save_model(tmp_path / "classy", CLASSY), "cpu")
    assert classy.default_coder() is Coder.PACKED
    assert classy.model.prior is not None
    classy.model.prior.logits_weight.weight.mul_(50)  # for draws to differ
    cats, dogs = (classy.side_by_side(classy.sample(4, label=label)).tokens for label in ("cat", "dog"))
    assert not np.array_equal(cats, dogs)
    for wrong in (None, "cow"):
        with pytest.raises(ConfigError, match="cat, dog"):
            classy.sample(label=wrong)
    with pytest.raises(ConfigError, match="of no use"):
        codec.sample(label="cat")
    with pytest.raises(ConfigError, match="told a class"):
        classy.block_coder(Coder.PRIOR)


# ---------------------------------------------------------------------------------------------------------- evaluation


def test_the_likelihood_counts_pixels_and_codes(codec: ImageCodec) -> None:
    picture = gradient(11, 13)
    codes = codec.encode(picture).tokens.reshape(-1, 2, 2, 2)
    found = likelihood(codec, picture, codes)
    bits = 0.0
    for index, (top, left) in enumerate([(0, 0), (0, 8), (8, 0), (8, 8)]):
        inside = picture[top : top + 8, left : left + 8]
        with torch.no_grad():
            parameters = codec.model.parameters_of(torch.from_numpy(codes[index : index + 1].astype(np.int64)))
            nll = logistic.nll(
                parameters[:, :, : inside.shape[0], : inside.shape[1]],
                torch.from_numpy(inside.transpose(2, 0, 1).copy())[None],
            )
        bits += float(nll.sum()) / np.log(2)
    dims = 11 * 13 * 3
    assert found["reconstruction"] == pytest.approx(bits / dims, rel=1e-5)
    assert found["uniform_prior"] == pytest.approx(32 * np.log2(20) / dims)
    assert codec.model.prior is not None
    with torch.no_grad():
        learnt = float(codec.model.prior.nll(torch.from_numpy(codes.astype(np.int64))).sum()) / np.log(2)
    assert found["learnt_prior"] == pytest.approx(learnt / dims, rel=1e-5)
    assert found["bound_learnt_prior"] == pytest.approx((bits + learnt) / dims, rel=1e-5)


def test_files_are_about_as_long_as_the_prior_says(codec: ImageCodec) -> None:
    picture = gradient(160, 160)
    stream = codec.encode(picture)
    predicted = likelihood(codec, picture, stream.tokens.reshape(-1, 2, 2, 2))["learnt_prior"] * picture.size / 8
    frame = len(stream.header.to_bytes()) + 12 * stream.header.block_count
    assert len(written(codec, stream)) - frame == pytest.approx(predicted, rel=0.01)


def test_evaluation_takes_the_test_part_and_reports(codec: ImageCodec, tmp_path: Path) -> None:
    images = np.stack([gradient(12, 9, seed) for seed in range(9)])
    np.savez(tmp_path / "a.npz", images=images, batch=np.arange(9) // 3)
    result = evaluate_pictures(codec, tmp_path / "a.npz", report=tmp_path / "report")
    assert len(result.pictures) == 3
    means = {name: mean.value for name, mean in result.means.items()}
    assert means["bound_uniform_prior"] == pytest.approx(means["reconstruction"] + means["uniform_prior"])
    assert means["bound_learnt_prior"] == pytest.approx(means["reconstruction"] + means["learnt_prior"])
    sizes = [lossless_sizes(image) for image in images[6:]]
    assert means["png_lossless_file"] == pytest.approx(np.mean([8 * size["png"] / (12 * 9 * 3) for size in sizes]))
    assert {"stream_file", "webp_lossless_file", "psnr_db"} <= set(means)
    json.dumps(dataclasses.asdict(result))
    assert Image.open(tmp_path / "report" / "reconstructions.png").size == (27, 24)
    assert Image.open(tmp_path / "report" / "samples.png").size == (64, 64)


def test_evaluation_goes_on_past_broken_files(codec: ImageCodec, tmp_path: Path) -> None:
    Image.fromarray(gradient(5, 5)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nonsense")
    result = evaluate_pictures(codec, tmp_path)
    assert (len(result.pictures), len(result.failed)) == (1, 1)
    (tmp_path / "a.png").unlink()
    with pytest.raises(PictureError, match="none of its pictures"):
        evaluate_pictures(codec, tmp_path)
    with pytest.raises(DataError):
        evaluate_pictures(codec, tmp_path / "none")


def test_contact_sheets() -> None:
    sheet = contact_sheet([np.zeros((2, 3, 3), np.uint8), np.zeros((4, 1, 3), np.uint8)], 1)
    assert sheet.shape == (4, 6, 3)
    assert (sheet[:2, :3] == 0).all()
    assert (sheet[2:, :3] == 255).all()
