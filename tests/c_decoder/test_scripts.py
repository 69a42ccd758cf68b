"""Beside the C decoder: seeds for fuzzing are whole streams and a model, the page of speeds tells what was found."""

import importlib.util
from pathlib import Path
from types import ModuleType

import vqaudio

SOURCE = Path(__file__).resolve().parents[2] / "recipes" / "c-decoder"


def script(name: str) -> ModuleType:
    """By its path: other recipes have scripts of the same name."""
    spec = importlib.util.spec_from_file_location(f"c_decoder_{name}", SOURCE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seeds_are_what_the_fuzzer_reads(vocoded_model: Path, tmp_path: Path) -> None:
    codec, seeds = vqaudio.load(vocoded_model, "cpu"), script("seeds")
    seeds.streams(codec, tmp_path / "streams")
    read = []
    for path in (tmp_path / "streams").iterdir():
        with path.open("rb") as file:
            read.append(codec.read(file))
    assert len(read) == 2 * len(seeds.RATES_HZ) * 5
    assert not any(stream.damage for stream in read)
    assert {stream.header.channels for stream in read} == {1, 2, 3}
    seeds.model(vocoded_model, tmp_path / "models")
    data = (tmp_path / "models" / "model").read_bytes()
    config = (vocoded_model / "config.json").read_bytes()
    assert data[2 : 2 + int.from_bytes(data[:2], "little")] == config
    assert data.endswith((vocoded_model / "model.safetensors").read_bytes())


def test_the_page_tells_what_was_measured() -> None:
    row = {"codes": 12.34, "sound": 56.78, "start_s": 0.216}
    text = script("speed").page({"seconds": 20.0, "machine": "m", "rows": {"C": row}})
    assert "20 s of speech, m, one core" in text
    assert "| C | 12.3 | 56.8 | 0.22 |" in text
