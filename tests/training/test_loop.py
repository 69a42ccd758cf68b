"""train.py, log.py: runs that survive being killed, several processes as one, phases, what is written down."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import children
import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vqaudio.codecs import sampler as sample
from vqaudio.codecs.preview import preview
from vqaudio.dsp import emphasis, mulaw
from vqaudio.errors import ConfigError, DataError, ModelError
from vqaudio.models import checkpoint
from vqaudio.models.config import (
    AudioVQVAEConfig,
    ConditioningConfig,
    EncoderConfig,
    MelConfig,
    PhaseConfig,
    QuantizerConfig,
    RunConfig,
    TrainConfig,
    WaveNetConfig,
    model_to_mapping,
)
from vqaudio.models.sources import read_sources
from vqaudio.models.speech_vqvae import AudioVQVAE
from vqaudio.models.strict import to_mapping
from vqaudio.training.log import LOG_FILE, TrainingLog, warnings_of
from vqaudio.training.loop import CHECKPOINTS, KEPT_CHECKPOINTS, make_fabric, train, usable_precision
from vqaudio.training.packing import prepare
from vqaudio.training.shards import AudioShards
from vqaudio.training.state import RunState, learning_rate

RATE_HZ, HOP, CODES = 8000, 8, 16
MODEL = AudioVQVAEConfig(
    sample_rate_hz=RATE_HZ,
    quantizer=QuantizerConfig(codebook_size=CODES, code_dim=8, restart_share=0.9, restart_every=2),  # much chance
    encoder=EncoderConfig(channels=(8, 8, 12), residual_dilations=(1,)),
    conditioning=ConditioningConfig(channels=12, residual_dilations=(1,), features=8),
    decoder=WaveNetConfig(residual=8, skip=8, hidden=12, dilations=(1, 2, 4), features=8, hop_length=HOP),
    mels=(MelConfig(128, 10),),
    decoder_window=16 * HOP,
)
CODES_PHASE = PhaseConfig(
    name="codes",
    steps=6,
    learning_rate=3e-3,
    train=("encoder", "quantizer", "conditioning", "mel_head"),
    objective=(("mel", 1.0), ("codebook", 1.0)),
    batch_size=4,
    crop_samples=32 * HOP,
    warmup_steps=3,
)
DECODER_PHASE = dataclasses.replace(
    CODES_PHASE, name="decoder", train=("decoder",), objective=(("nll", 1.0),), decay_steps=3
)
TRAIN = TrainConfig(
    phases=(CODES_PHASE, DECODER_PHASE),
    precision="32-true",
    log_every=1,
    validate_every=4,
    validation_crops=6,
    sound_seconds=0.0,
    checkpoint_minutes=1e-6,  # after each step
)
CHILD = """
import json, os, signal, sys
from pathlib import Path
import torch
from vqaudio.models.config import RunConfig, TrainConfig, model_from_mapping
from vqaudio.training.shards import AudioShards
from vqaudio.models.speech_vqvae import AudioVQVAE
from vqaudio.models.strict import from_mapping
from vqaudio.training.loop import train

torch.set_num_threads(1)
config_file, shards, folder, kill_at = sys.argv[1:]
document = json.loads(Path(config_file).read_text(encoding="utf-8"))
config = RunConfig(model_from_mapping(document["model"]), from_mapping(TrainConfig, document["train"]))

class Killer:
    def on_step(self, state, phase):
        if state.step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_log(self, line):
        pass

plain = AudioVQVAE.loss

def overheard(self, batch):
    with torch.random.fork_rng(), open(f"{folder}-noise-{os.environ.get('RANK', 0)}", "a") as file:
        print(float(torch.rand(())), file=file)
    return plain(self, batch)

AudioVQVAE.loss = overheard
train(config, AudioShards(Path(shards)), Path(folder), device="cpu", observer=Killer())
"""


class Listener:
    """An observer that keeps what it hears and sends this process ``signals[step]``."""

    def __init__(self, signals: dict[int, signal.Signals] | None = None) -> None:
        self.steps: list[int] = []
        self.lines: list[dict[str, Any]] = []
        self.signals = signals or {}

    def on_step(self, state: RunState, phase: PhaseConfig) -> None:
        self.steps.append(state.step)
        if state.step in self.signals:
            os.kill(os.getpid(), self.signals[state.step])

    def on_log(self, line: dict[str, Any]) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for sums to be the same in every process
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> AudioShards:
    """Twelve tones of their own pitch, with a little noise."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "in").mkdir()
    random, time = np.random.default_rng(0), np.arange(RATE_HZ // 2) / RATE_HZ
    for number in range(12):
        wave = 0.2 * np.sin(2 * np.pi * 150 * 1.25**number * time) + 0.002 * random.standard_normal(len(time))
        soundfile.write(root / "in" / f"{number}.wav", wave, RATE_HZ)
    prepare(root / "in", root / "shards", RATE_HZ, validation_share=0.2)
    return AudioShards(root / "shards")


class Echo:
    """Stands in for a kernel, which would have to be compiled."""

    def push(self, features: np.ndarray, uniforms: np.ndarray, phases: np.ndarray | None = None) -> np.ndarray:
        assert features.shape == (len(uniforms) // HOP, 8)
        assert phases is None
        return (uniforms * 256).astype(np.int64)


@dataclasses.dataclass
class Done:
    folder: Path
    model: Path
    listener: Listener


@pytest.fixture(scope="module")
def unbroken(shards: AudioShards, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """A whole run, with previews."""
    folder, listener = tmp_path_factory.mktemp("unbroken") / "run", Listener()
    settings = dataclasses.replace(TRAIN, sound_seconds=0.02, checkpoint_minutes=1000.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample.Sampler, "stream", lambda *_: Echo())
        model = train(RunConfig(MODEL, settings), shards, folder, device="cpu", observer=listener)
    return Done(folder, model, listener)


def logged(folder: Path) -> list[dict[str, Any]]:
    """The log without what the clock says."""
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "samples_per_second"} for line in lines]


def child(folder: Path, config: RunConfig, shards: AudioShards, kill_at: int, *launcher: str) -> subprocess.Popen[str]:
    document = {"model": model_to_mapping(config.model), "train": to_mapping(config.train)}
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "child.py").write_text(CHILD, encoding="utf-8")
    environment = children.environment(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    arguments = [folder / "child.py", folder / "config.json", shards.folder, folder / "run", kill_at]
    return subprocess.Popen(
        [sys.executable, *launcher, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# --- The schedule -----------------------------------------------------------------------------------------------------


def test_the_learning_rate_rises_stays_and_falls() -> None:
    phase = dataclasses.replace(
        CODES_PHASE, steps=100, learning_rate=1.0, warmup_steps=10, decay_steps=20, final_share=0.1
    )
    rates = [learning_rate(phase, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:81] == pytest.approx([1.0] * 72)
    assert rates[90] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1 + 0.9 / 20)
    assert rates[:10] == sorted(rates[:10])
    assert rates[80:] == sorted(rates[80:], reverse=True)
    flat = dataclasses.replace(phase, warmup_steps=0, decay_steps=0)
    assert {learning_rate(flat, step) for step in range(100)} == {1.0}


# --- Killed, interrupted, resumed -------------------------------------------------------------------------------------


def test_a_killed_run_resumes_to_the_same_losses(shards: AudioShards, unbroken: Done, tmp_path: Path) -> None:
    config, folder = RunConfig(MODEL, TRAIN), tmp_path / "run"
    process = child(tmp_path, config, shards, 5)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, output
    checkpoints = sorted((folder / CHECKPOINTS).iterdir())
    assert [path.name for path in checkpoints] == ["000000003", "000000004"]
    shutil.rmtree(checkpoints[-1])  # as if the clock had not yet asked for it: step 4 is gone through again
    with open(folder / LOG_FILE, "a", encoding="utf-8") as file:
        file.write('{"step": 5, "los')  # a line that was being written

    # on to the second phase, where it is asked to stop, and from there to the end
    with pytest.raises(KeyboardInterrupt):
        train(config, shards, folder, resume=True, device="cpu", observer=Listener({8: signal.SIGTERM}))
    listener = Listener()
    model = train(config, shards, folder, resume=True, device="cpu", observer=listener)
    assert listener.steps == [9, 10, 11, 12]

    assert logged(folder) == logged(unbroken.folder)
    first, second = (checkpoint.load_model(path).state_dict() for path in (unbroken.model, model))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(list((folder / CHECKPOINTS).iterdir())) == KEPT_CHECKPOINTS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(shards: AudioShards, tmp_path: Path, number: signal.Signals) -> None:
    config = RunConfig(MODEL, dataclasses.replace(TRAIN, checkpoint_minutes=1000.0))
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(config, shards, tmp_path, device="cpu", observer=Listener({2: number}))
    assert signal.getsignal(number) is before
    assert [path.name for path in (tmp_path / CHECKPOINTS).iterdir()] == ["000000002"]
    assert not (tmp_path / "model").exists()


def test_an_existing_run_is_not_overwritten(shards: AudioShards, unbroken: Done) -> None:
    before = logged(unbroken.folder)
    with pytest.raises(DataError, match=r"already holds a run; add --resume"):
        train(RunConfig(MODEL, TRAIN), shards, unbroken.folder, device="cpu")
    assert logged(unbroken.folder) == before


@pytest.fixture
def begun(unbroken: Done, tmp_path: Path) -> Path:
    shutil.copytree(unbroken.folder, tmp_path / "run")
    return tmp_path / "run"


def test_a_finished_run_has_nothing_left_to_do(shards: AudioShards, begun: Path) -> None:
    before, listener = logged(begun), Listener()
    train(RunConfig(MODEL, TRAIN), shards, begun, resume=True, device="cpu", observer=listener)
    assert not listener.steps
    assert logged(begun) == before


def test_a_finished_run_can_be_given_more(shards: AudioShards, begun: Path) -> None:
    more = dataclasses.replace(CODES_PHASE, name="all", steps=2, train=("decoder", "conditioning"))
    settings, listener = dataclasses.replace(TRAIN, phases=(*TRAIN.phases, more)), Listener()
    train(RunConfig(MODEL, settings), shards, begun, resume=True, device="cpu", observer=listener)
    assert listener.steps == [13, 14]


def test_another_model_is_not_resumed(shards: AudioShards, begun: Path) -> None:
    other = dataclasses.replace(MODEL, pre_emphasis=0.5)
    with pytest.raises(ConfigError, match="another model configuration"):
        train(RunConfig(other, TRAIN), shards, begun, resume=True, device="cpu")


def test_an_older_checkpoint_lacks_newer_settings(shards: AudioShards, begun: Path) -> None:
    (newest,) = (begun / CHECKPOINTS).iterdir()
    document = json.loads((newest / "config.json").read_text(encoding="utf-8"))
    del document["model"]["prior"]
    (newest / "config.json").write_text(json.dumps(document), encoding="utf-8")
    train(RunConfig(MODEL, TRAIN), shards, begun, resume=True, device="cpu")


@pytest.mark.parametrize("name", ["training.safetensors", "model.safetensors", "config.json"])
def test_a_damaged_checkpoint_is_named_in_one_line(shards: AudioShards, begun: Path, name: str) -> None:
    (newest,) = (begun / CHECKPOINTS).iterdir()
    path = newest / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match=rf"{name}.*delete .*{newest.name} to resume") as caught:
        train(RunConfig(MODEL, TRAIN), shards, begun, resume=True, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_its_state_is_refused(shards: AudioShards, begun: Path) -> None:
    (newest,) = (begun / CHECKPOINTS).iterdir()
    document = json.loads((newest / "config.json").read_text(encoding="utf-8"))
    del document["training"]["phase_step"]
    (newest / "config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError, match="is damaged"):
        train(RunConfig(MODEL, TRAIN), shards, begun, resume=True, device="cpu")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 3}, r"train\.seed = 3 is not the run's: resume with seed 0"),
        ({"phases": (dataclasses.replace(CODES_PHASE, name="other"),)}, r"has begun with codes: keep"),
        ({"phases": (dataclasses.replace(CODES_PHASE, batch_size=2),)}, r"codes\.batch_size = 2 is not what"),
    ],
)
def test_another_training_is_not_resumed(
    shards: AudioShards, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(RunConfig(MODEL, TRAIN), shards, tmp_path, device="cpu", observer=Listener({2: signal.SIGTERM}))
    with pytest.raises(ConfigError, match=said):
        train(RunConfig(MODEL, dataclasses.replace(TRAIN, **changes)), shards, tmp_path, resume=True, device="cpu")


def test_other_data_are_not_resumed_with(shards: AudioShards, begun: Path, tmp_path: Path) -> None:
    shutil.copytree(shards.folder, tmp_path / "others")
    index = json.loads((tmp_path / "others" / "index.json").read_text(encoding="utf-8"))
    index["shards"][0]["sha256"] = "0" * 64
    (tmp_path / "others" / "index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(DataError, match="learnt from other shards"):
        train(RunConfig(MODEL, TRAIN), AudioShards(tmp_path / "others"), begun, resume=True, device="cpu")


@pytest.mark.parametrize("wrong", [{"train": ("decodr",)}, {"objective": (("kl", 1.0),)}])
def test_a_later_phase_is_checked_before_the_first_begins(
    shards: AudioShards, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    later = dataclasses.replace(CODES_PHASE, name="later", **wrong)
    with pytest.raises(ConfigError):
        train(RunConfig(MODEL, dataclasses.replace(TRAIN, phases=(CODES_PHASE, later))), shards, tmp_path, device="cpu")
    assert not (tmp_path / CHECKPOINTS).exists()


def test_a_phase_may_not_change_its_parts_halfway(shards: AudioShards, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(RunConfig(MODEL, TRAIN), shards, tmp_path, device="cpu", observer=Listener({2: signal.SIGTERM}))
    fewer = dataclasses.replace(CODES_PHASE, train=("encoder",))
    config = RunConfig(MODEL, dataclasses.replace(TRAIN, phases=(fewer,)))
    with pytest.raises(ConfigError, match=r"codes\.train = .* is not what the phase began with"):
        train(config, shards, tmp_path, resume=True, device="cpu")


# --- Several processes ------------------------------------------------------------------------------------------------


def test_two_processes_are_as_one(shards: AudioShards, unbroken: Done, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}")
    settings = dataclasses.replace(TRAIN, checkpoint_minutes=1000.0)
    process = child(tmp_path, RunConfig(MODEL, settings), shards, -1, *launcher)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    theirs, ours = logged(tmp_path / "run"), logged(unbroken.folder)
    assert len(theirs) == len(ours)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine["step"], mine["part"]) == (other["step"], other["part"])
        for name in ("loss", "mel", "nll", "codebook", "bits_per_sample", "codes_used"):
            if name in mine and mine["part"] != "warning":
                assert other[name] == pytest.approx(mine[name], rel=1e-5), (mine["step"], name)
    first, second = (checkpoint.load_model(path).quantizer for path in (unbroken.model, tmp_path / "run" / "model"))
    torch.testing.assert_close(first.codebook, second.codebook, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.ema_count, second.ema_count, rtol=1e-4, atol=1e-5)
    noise = [(tmp_path / f"run-noise-{rank}").read_text().split() for rank in (0, 1)]
    assert len(noise[0]) == len(noise[1]) == sum(phase.steps for phase in TRAIN.phases)
    assert len({*noise[0], *noise[1]}) == 2 * len(noise[0])  # no number twice, in any step of any process


def test_processes_get_batches_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one process Fabric leaves them alone; with several it would round them to bfloat16."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    batch = {"wave": torch.tensor([0.123456789])}
    kept = make_fabric("cpu", "bf16-mixed")._precision.convert_input(batch)
    assert kept["wave"].dtype == torch.float32


# --- Phases -----------------------------------------------------------------------------------------------------------


def test_phases_freeze_parts_and_switch_the_objective(shards: AudioShards, unbroken: Done, tmp_path: Path) -> None:
    torch.manual_seed(TRAIN.seed)
    fresh = AudioVQVAE(MODEL).state_dict()
    settings = dataclasses.replace(TRAIN, phases=(CODES_PHASE,), checkpoint_minutes=1000.0)
    halfway = checkpoint.load_model(train(RunConfig(MODEL, settings), shards, tmp_path, device="cpu")).state_dict()
    finished = checkpoint.load_model(unbroken.model).state_dict()
    for name in fresh:
        moved_first = not torch.equal(fresh[name], halfway[name])
        moved_then = not torch.equal(halfway[name], finished[name])
        assert (moved_first, moved_then) == ((False, True) if name.startswith("decoder.") else (True, False)), name
    terms = {line["phase"]: set(line) for line in unbroken.listener.lines if line["part"] == "train"}
    assert {"mel", "codebook"} <= terms["codes"]
    assert "nll" not in terms["codes"]
    assert {"nll", "bits_per_sample"} <= terms["decoder"]
    assert "mel" not in terms["decoder"]


def test_a_run_can_start_from_a_model(shards: AudioShards, unbroken: Done, tmp_path: Path) -> None:
    only = dataclasses.replace(DECODER_PHASE, steps=1)
    settings = dataclasses.replace(TRAIN, phases=(only,), start_from=str(unbroken.model))
    started = checkpoint.load_model(train(RunConfig(MODEL, settings), shards, tmp_path, device="cpu")).state_dict()
    for name, tensor in checkpoint.load_model(unbroken.model).state_dict().items():
        assert name.startswith("decoder.") or torch.equal(tensor, started[name]), name


@pytest.mark.parametrize(
    ("model", "phase", "said"),
    [
        ({"sample_rate_hz": 16000}, {}, r"model\.sample_rate_hz = 16000 is not the data's 8000"),
        ({"speakers": ("ann",)}, {}, r"model\.speakers are not the data's"),
        ({}, {"crop_samples": 100}, r"codes\.crop_samples = 100 is not valid: give a multiple of 8"),
        ({}, {"train": ("encodr",)}, r"codes\.train: there is no part 'encodr': use .*encoder"),
        ({}, {"objective": (("kl", 1.0),)}, r"objective\.kl is not known"),
    ],
)
def test_what_does_not_fit_is_refused(
    shards: AudioShards, tmp_path: Path, model: dict[str, Any], phase: dict[str, Any], said: str
) -> None:
    settings = dataclasses.replace(TRAIN, phases=(dataclasses.replace(CODES_PHASE, **phase),))
    with pytest.raises(ConfigError, match=said):
        train(RunConfig(dataclasses.replace(MODEL, **model), settings), shards, tmp_path, device="cpu")
    assert not (tmp_path / CHECKPOINTS).exists()


# --- What is written down ---------------------------------------------------------------------------------------------


def test_the_log_counts_codes_and_shuffles_them(unbroken: Done) -> None:
    lines = logged(unbroken.folder)
    assert [line["step"] for line in lines if line["part"] == "train"] == list(range(1, 13))
    validations = [line for line in lines if line["part"] == "validation"]
    assert [line["step"] for line in validations] == [4, 6, 8, 12]
    for line in validations:
        assert 1 <= line["codes_used"] <= CODES
        assert 0 <= line["code_entropy_bits"] <= 4
    assert "bits_per_sample" not in validations[0]
    assert validations[-1]["bits_per_sample"] < 8.5
    assert validations[-1]["bits_per_sample_shuffled"] > 0
    heard = [{k: v for k, v in line.items() if k != "samples_per_second"} for line in unbroken.listener.lines]
    assert heard == lines
    assert unbroken.listener.steps == list(range(1, 13))


def test_tensorboard_has_the_tags(unbroken: Done) -> None:
    events = EventAccumulator(str(unbroken.folder), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()
    wanted = {"train/loss", "train/nll", "train/mel", "train/perplexity", "train/learning_rate", "train/gradient_norm"}
    assert wanted <= set(tags["scalars"])
    wanted = {"codes_used", "code_entropy_bits", "bits_per_sample", "bits_per_sample_shuffled", "mel"}
    assert {f"validation/{name}" for name in wanted} <= set(tags["scalars"])
    assert {"preview/original", "preview/decoded"} == set(tags["audio"]) == set(tags["images"])
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 13))
    assert [event.step for event in events.Audio("preview/decoded")] == [8, 12]


def test_a_finished_model_tells_of_its_training(shards: AudioShards, unbroken: Done) -> None:
    facts = checkpoint.read_document(unbroken.model)["training"]
    assert facts["step"] == 12
    assert facts["samples_seen"] == 12 * 4 * 32 * HOP
    assert facts["data_sha256"] == shards.checksum
    assert facts["train"]["phases"][0]["name"] == "codes"
    assert not (unbroken.model / checkpoint.TRAINING_FILE).exists()
    assert read_sources(unbroken.model) == frozenset(shards.sources)
    assert len(shards.sources) > 0


def test_a_preview_is_the_first_crop_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample.Sampler, "stream", lambda *_: Echo())
    model = AudioVQVAE(dataclasses.replace(MODEL, pre_emphasis=0.5)).eval()
    wave = 0.1 * torch.randn(2, 64 * HOP)
    shown = preview(model, {"wave": wave, "speaker": torch.zeros(2, dtype=torch.int64)}, 0.03)
    samples = int(0.03 * RATE_HZ) // HOP * HOP
    assert shown.sample_rate_hz == RATE_HZ
    np.testing.assert_array_equal(shown.sounds["original"], wave[0, :samples].numpy())
    drawn = torch.from_numpy((np.random.default_rng([0, 0]).random(samples) * 256).astype(np.int64))
    expected = emphasis.DeEmphasis(0.5)(mulaw.mu_law_decode(drawn).numpy()).clip(-1, 1)
    np.testing.assert_allclose(shown.sounds["decoded"], expected, atol=1e-6)
    for picture in shown.pictures.values():
        assert picture.shape == (80, samples // HOP)
        assert 0 <= picture.min() <= picture.max() <= 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"codes_used": 52.0}, []),
        ({"codes_used": 51.0}, ["the codebook has collapsed: 51 of 512 codes are used"]),
        ({"codes_used": 500.0, "bits_per_sample": 3.0, "bits_per_sample_shuffled": 3.5}, []),
        ({"codes_used": 500.0, "bits_per_sample": 3.0, "bits_per_sample_shuffled": 3.01}, ["ignores its codes"]),
        ({"codes_used": 1.0, "bits_per_sample": 3.0, "bits_per_sample_shuffled": 2.0}, ["collapsed", "ignores"]),
        ({"codes_used": 500.0, "bits_per_sample": float("nan"), "bits_per_sample_shuffled": 1.0}, ["ignores"]),
    ],
)
def test_the_two_ways_to_fail_are_warned_of(values: dict[str, float], said: list[str]) -> None:
    warnings = warnings_of(values, 512)
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))


def test_a_warning_is_a_line_of_the_journal(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    log = TrainingLog(tmp_path, 0, heard.append)
    log.warn(3, "decoder", "the decoder ignores its codes")
    log.close()
    expected = {"step": 3, "phase": "decoder", "part": "warning", "message": "the decoder ignores its codes"}
    assert logged(tmp_path) == heard == [expected]


# --- Learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_a_toy_corpus_is_learnt_with_most_codes(shards: AudioShards, tmp_path: Path, update: str) -> None:
    quantizer = QuantizerConfig(codebook_size=CODES, code_dim=8, update=update, ema_decay=0.9, restart_every=5)
    phase = dataclasses.replace(CODES_PHASE, steps=250, warmup_steps=20)
    settings = dataclasses.replace(
        TRAIN, phases=(phase,), log_every=25, validate_every=1000, average_decay=0.9, checkpoint_minutes=1000.0
    )
    train(RunConfig(dataclasses.replace(MODEL, quantizer=quantizer), settings), shards, tmp_path, device="cpu")
    losses = [line["loss"] for line in logged(tmp_path) if line["part"] == "train"]
    assert losses[-1] < 0.6 * losses[0]
    assert logged(tmp_path)[-1]["codes_used"] >= 10


@pytest.mark.parametrize("joint", [False, True], ids=["two-stage", "joint"])
def test_a_prior_is_learnt_after_the_codes_or_with_them(shards: AudioShards, tmp_path: Path, joint: bool) -> None:
    prior = WaveNetConfig(levels=CODES, residual=8, skip=8, hidden=8, dilations=(1, 2, 4), features=0, hop_length=1)
    quantizer = QuantizerConfig(codebook_size=CODES, code_dim=8, ema_decay=0.9)
    model = dataclasses.replace(MODEL, prior=prior, quantizer=quantizer)
    codes = dataclasses.replace(CODES_PHASE, steps=300, learning_rate=5e-3, decay_steps=250)
    objective = (("mel", 1.0), ("codebook", 1.0), ("prior", 1.0))
    together = dataclasses.replace(codes, train=(*codes.train, "prior"), objective=objective)
    after = dataclasses.replace(codes, name="prior", train=("prior",), objective=(("prior", 1.0),))
    phases = (together,) if joint else (codes, after)
    settings = dataclasses.replace(TRAIN, phases=phases, validate_every=1000, checkpoint_minutes=1000.0)
    listener = Listener()
    train(RunConfig(model, settings), shards, tmp_path / "run", device="cpu", observer=listener)
    bits = [line["bits_per_token"] for line in listener.lines if line["part"] == "train" and "bits_per_token" in line]
    perplexity = [line["perplexity"] for line in listener.lines if line["part"] == "train"]
    assert bits[0] > 3.5  # of 4 for 16 codes: it begins knowing nothing
    if joint:  # while the codes still move, they are harder to know
        assert np.mean(bits[-10:]) < 0.9 * bits[0]
    else:
        assert np.mean(bits[-10:]) < 0.7 * np.log2(np.mean(perplexity[-10:]))  # more than their shares


@pytest.mark.parametrize(("supported", "used"), [(True, "bf16-mixed"), (False, "32-true")])
def test_sixteen_bits_are_not_imitated(monkeypatch: pytest.MonkeyPatch, supported: bool, used: str) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert usable_precision("bf16-mixed", "cpu") == used
    assert usable_precision("32-true", "cpu") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert usable_precision("bf16-mixed", "auto") == "bf16-mixed"
    assert usable_precision("bf16-mixed", "cpu") == used
