"""The figures of an evaluation are those of their definitions."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sounds import talk

from vqaudio.cli import main as cli
from vqaudio.codecs.sampler import Conditioner, export
from vqaudio.codecs.speech import Codec
from vqaudio.dsp import loudness, mulaw
from vqaudio.errors import ConfigError, DataError
from vqaudio.evaluation.metrics import METRICS, packages
from vqaudio.evaluation.speech import EvaluationOptions, Utterance, chosen_metrics, evaluate, likelihood, strict
from vqaudio.kernels import wavenet_reference as reference

RATE, HOP = 16000, 64


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def log2_probability(logits: np.ndarray, symbols: np.ndarray) -> float:
    """Of all of ``symbols[T]`` under ``logits[T, K]``, by the definition of softmax."""
    exact = logits.astype(np.float64)
    return float(sum(row[s] - np.log(np.exp(row).sum()) for row, s in zip(exact, symbols, strict=True)) / np.log(2))


def test_the_bound_is_that_of_the_definition(talking_codec: Codec) -> None:
    """log p(x | z_q) and log p(z) symbol by symbol through the step-by-step reference."""
    model, wave = talking_codec.model, noise(10 * HOP)
    codes = talking_codec.encode(wave, RATE).tokens[0]
    found = likelihood(talking_codec, wave, codes, codes[::-1].copy())
    (level,) = loudness.measure_level([wave[None]], RATE, 1)
    emphasised = model.emphasise(torch.from_numpy(wave * np.float32(level.gain))[None])
    symbols = mulaw.mu_law_encode(emphasised)[0].numpy()
    with torch.no_grad():
        features = model.features(torch.from_numpy(codes.astype(np.int64))[None])[0].T.numpy()
    decoder = reference.Kernel(export(model.decoder), mulaw.SILENCE_LEVEL)
    sound = log2_probability(decoder.forced_logits(Conditioner(model.decoder)(features), HOP, symbols), symbols)
    assert model.prior is not None
    network = model.prior.wavenet
    conditions = Conditioner(network)(np.zeros((len(codes), 0), np.float32))
    tokens = log2_probability(
        reference.Kernel(export(network), 100).forced_logits(conditions, 1, codes.astype(np.int64)), codes
    )
    assert found["bits_per_sample"] == pytest.approx(-sound / len(wave), abs=1e-4)
    assert found["bits_per_token"] == pytest.approx(-tokens / len(codes), abs=1e-4)
    assert found["bound_learnt_prior"] == pytest.approx(-(sound + tokens) / len(wave), abs=1e-4)
    uniform = len(codes) * np.log2(100)
    assert found["bound_uniform_prior"] == pytest.approx((-sound + uniform) / len(wave), abs=1e-4)


def test_a_corpus_is_gone_through_group_by_group(talking_codec: Codec, tmp_path: Path) -> None:
    for index, name in enumerate(["a/1.wav", "a/2.wav", "b/1.wav"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, noise(6400 + index, index), RATE)
    result = evaluate(talking_codec, tmp_path)
    assert list(result.groups) == ["a", "b", "all"]
    assert [of["bits_per_sample"].count for of in result.groups.values()] == [2, 1, 3]
    rate = result.groups["b"]["packed_bits_per_second"].value
    assert rate == pytest.approx(8 * (70 + 12 + -(-101 * 7 // 8)) * RATE / 6402)
    assert 0 < result.codes_used <= 100
    assert len(evaluate(talking_codec, tmp_path, EvaluationOptions(limit=1, metrics=())).utterances) == 2


def test_utterances_are_shown_with_their_sound_and_files_that_fail_are_named(
    talking_codec: Codec, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "b.wav", noise(6400), RATE)
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    (tmp_path / "c.wav").write_bytes(b"no sound")
    seen: list[Utterance] = []
    result = evaluate(talking_codec, tmp_path, EvaluationOptions(metrics=("mel",)), watch=seen.append)
    assert [utterance.name for utterance in seen] == ["b.wav"]
    assert result.not_measured == ()
    assert seen[0].decoded.shape == seen[0].original.wave.shape == (6400,)
    assert result.utterances["b.wav"].figures == seen[0].figures
    assert [line.split(": ")[0] for line in result.failed] == [str(tmp_path / name) for name in ("a.wav", "c.wav")]


def test_a_model_with_speakers_speaks_as_the_recording_does(voiced_codec: Codec, tmp_path: Path) -> None:
    for name in ("bob/1.wav", "carl/1.wav", "carl/short.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, talk(150, 0.1 if "short" in name else 1.2), RATE)
    seen: list[Utterance] = []
    result = evaluate(voiced_codec, tmp_path, EvaluationOptions(metrics=()), watch=seen.append)
    bob = voiced_codec.decode(seen[0].stream, speaker="bob")[0]
    assert np.array_equal(seen[0].decoded, bob)
    assert not np.array_equal(seen[1].decoded, bob)  # the same sound in a voice found for it
    assert "short.wav" in result.failed[0]  # too short to find a voice in
    assert result.groups["all"]["bits_per_sample"].count == 2


def test_metrics_are_chosen_by_name_or_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_metrics(("mel",)) == (("mel",), ())
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "pesq" else name)
    names, missing = chosen_metrics(None)
    assert set(names) == set(METRICS) - {"pesq"}
    assert missing == ("pesq is not available: pesq is not installed; pip install 'vqaudio[evaluate]'",)
    with pytest.raises(ConfigError, match="pesq is not installed"):
        chosen_metrics(("stoi", "pesq"))


def test_a_document_is_strict_json() -> None:
    document = strict({"a": [math.nan, math.inf, 1.5, 2], "b": (None, "c")})
    assert json.dumps(document, allow_nan=False) == '{"a": [null, null, 1.5, 2], "b": [null, "c"]}'


def test_an_empty_corpus_is_an_error(talking_codec: Codec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with pytest.raises(DataError):
        evaluate(talking_codec, tmp_path)


def test_the_verb(talking_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", noise(6400), 8000)
    target = tmp_path / "out.json"
    assert cli.main(["evaluate", str(talking_model), "--data", str(tmp_path), "--json", str(target)]) == 0
    said = capsys.readouterr()
    assert "bits a sample" in said.out
    assert "wer is not measured: the corpus has no transcripts" in said.err
    assert json.loads(target.read_text())["groups"]["all"]["bits_per_token"]["count"] == 1
    assert cli.main(["evaluate", str(talking_model), "--data", str(tmp_path), "--json", str(target)]) == 1
    assert cli.main(["evaluate", str(talking_model), "--data", str(tmp_path), "--compare", str(target)]) == 2
