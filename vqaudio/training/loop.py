"""One loop for every trainable: phases, averaged weights, checkpoints, exact resumption, one process or many.

The loop knows a model only as a :class:`~vqaudio.models.trainable.Trainable`. Batches are pure functions of the
step, and every step seeds its own random numbers, so a killed run that is resumed goes through the losses of an
unbroken one.
"""

import copy
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from vqaudio.errors import ConfigError, DataError, ModelError
from vqaudio.models import checkpoint
from vqaudio.models.config import PhaseConfig, RunConfig
from vqaudio.models.sources import write_sources
from vqaudio.models.strict import to_mapping
from vqaudio.models.trainable import Trainable
from vqaudio.models.wavenet import WaveNet
from vqaudio.training.dataset import Dataset
from vqaudio.training.log import TrainingLog, warnings_of
from vqaudio.training.state import Observer, RunState, deferred_signals, end_by, learning_rate

KEPT_CHECKPOINTS = 2
CHECKPOINTS, FINISHED_MODEL = "checkpoints", "model"


class _InputsAsTheyAre(MixedPrecision):
    """Mixed precision that leaves batches alone: where Fabric wraps a model for several processes, and only there, it
    would round waves and pitches to 16 bits."""

    def convert_input(self, data: Any) -> Any:
        """Returns ``data``."""
        return data


def usable_precision(precision: str, device: str) -> str:
    """``precision``, or "32-true" where this processor would only imitate 16 bits, thirty times slower."""
    on_processor = device == "cpu" or not torch.cuda.is_available()
    return "32-true" if on_processor and not torch.ops.mkldnn._is_mkldnn_bf16_supported() else precision


def make_fabric(device: str, precision: str) -> Fabric:
    """A Fabric for this process; under torchrun, one of as many processes as it started."""
    precision = usable_precision(precision, device)
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = 'cuda' is not valid: this machine has no CUDA device that torch can use")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # terms that an objective leaves out take no part in the backward pass, which DDP must be told
    strategy = DDPStrategy(find_unused_parameters=True) if processes > 1 else "auto"
    nodes = processes // local
    if processes == 1 or precision == "32-true":
        kind = cast(Any, precision)
        return Fabric(accelerator=device, devices=local, num_nodes=nodes, strategy=strategy, precision=kind)
    computes_on = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    plugin = _InputsAsTheyAre(cast(Any, precision), computes_on)
    return Fabric(accelerator=device, devices=local, num_nodes=nodes, strategy=strategy, plugins=plugin)


def train(
    config: RunConfig,
    shards: Dataset,
    folder: Path,
    resume: bool = False,
    device: str = "auto",
    observer: Observer | None = None,
) -> Path:
    """Trains ``config.model`` on ``shards`` in the run folder ``folder`` and returns the folder of the finished model.

    Args:
        config: the model and its training.
        shards: the data; its sample rate and, where the model has speakers, its speakers must be the model's (of
            pictures, its classes).
        folder: gets ``checkpoints/``, ``log.jsonl``, TensorBoard's events and, at the end, ``model/``.
        resume: goes on from the newest checkpoint; without it a folder with checkpoints is refused.
        device: "auto", "cpu" or "cuda".
        observer: hears of each step in the first process.

    Raises:
        ConfigError: when configuration and data do not fit.
        DataError: when the folder already holds a run and ``resume`` is not set.
        ModelError: when the newest checkpoint is damaged.
    """
    config = shards.fitted(config)
    newest = _newest_checkpoint(folder)
    if newest and not resume:
        raise DataError(f"{folder}: already holds a run; add --resume to go on with it, or give another folder")
    fabric = make_fabric(device, config.train.precision)
    fabric.launch()
    return _Run(config, shards, folder, fabric, observer).go(newest)


def step_seed(seed: int, step: int, rank: int) -> int:
    """What the random numbers of one step of one process begin with: each process has noise of its own."""
    return seed * 1_000_003 + step + rank * 0x9E3779B97F4A7C15 % 2**63


def _newest_checkpoint(folder: Path) -> Path | None:
    found = sorted(path for path in (folder / CHECKPOINTS).glob("[0-9]*") if path.is_dir())
    return found[-1] if found else None


class _Run:
    """One process's part in a training run."""

    def __init__(
        self, config: RunConfig, shards: Dataset, folder: Path, fabric: Fabric, observer: Observer | None
    ) -> None:
        self.config, self.shards, self.folder, self.fabric = config, shards, folder, fabric
        self.observer = observer if fabric.is_global_zero else None
        torch.manual_seed(config.train.seed)
        self.model = checkpoint.build(config.model).to(fabric.device)
        if config.train.start_from:
            checkpoint.load_parts(self.model, Path(config.train.start_from), config.train.start_parts)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        if config.train.compile:
            for network in (module for module in self.model.modules() if isinstance(module, WaveNet)):
                network.compile()
        self.state = RunState()
        self.optimizer: torch.optim.Optimizer | None = None
        self.saved_at = time.monotonic()
        self.stopping = False
        self.log: TrainingLog | None = None

    @property
    def trainable(self) -> Trainable:
        return self.model

    def go(self, newest: Path | None) -> Path:
        for phase in self.config.train.phases:  # what is wrong in the last is told before the first has begun
            self._check_phase(phase)
        optimizer_state = self._restore(newest) if newest else None
        if self.fabric.is_global_zero:
            self.log = TrainingLog(self.folder, self.state.step, self.observer.on_log if self.observer else None)
        try:
            with deferred_signals() as received:
                while self.state.phase < len(self.config.train.phases) and not self.stopping:
                    self._run_phase(optimizer_state, received)
                    optimizer_state = None
                self._save()
                self.fabric.barrier()
            if self.stopping:
                end_by(received())
            return self._finish()
        finally:
            if self.log:
                self.log.close()

    # ---------------------------------------------------------------------------------------------- the phases

    def _run_phase(self, optimizer_state: dict[str, Tensor] | None, received: Callable[[], int]) -> None:
        phase = self.config.train.phases[self.state.phase]
        parameters = self._choose_parts(phase)
        optimizer = torch.optim.AdamW(parameters, lr=phase.learning_rate, weight_decay=self.config.train.weight_decay)
        if optimizer_state:
            checkpoint.load_flat_state(optimizer, optimizer_state)
        wrapped, self.optimizer = self.fabric.setup(self.model, optimizer)
        wrapped.mark_forward_method("loss")
        while self.state.phase_step < phase.steps and not self._told_to_stop(received()):
            self._step(phase, wrapped)
        if self.state.phase_step >= phase.steps:
            self.model.load_state_dict(self.averaged.state_dict())  # later phases learn on what will be kept
            self.state.phase += 1
            self.state.phase_step = 0

    def _check_phase(self, phase: PhaseConfig) -> None:
        """Refuses a phase that would fail once its turn came."""
        processes = self.fabric.world_size
        if phase.batch_size % processes:
            raise ConfigError(
                f"{phase.name}.batch_size = {phase.batch_size} is not valid: give a multiple of {processes}"
            )
        parts = dict(self.model.named_children())
        if unknown := sorted(set(phase.train) - set(parts)):
            raise ConfigError(f"{phase.name}.train: there is no part {unknown[0]!r}: use {', '.join(sorted(parts))}")
        self.trainable.set_objective(dict(phase.objective))

    def _told_to_stop(self, signal: int) -> bool:
        """Whether any process has received a signal: all must end after the same step, or one would wait for others."""
        self.stopping = bool(signal)
        if self.fabric.world_size > 1:
            told = torch.tensor(float(self.stopping), device=self.fabric.device)
            self.stopping = bool(self.fabric.all_reduce(told, reduce_op="sum"))
        return self.stopping

    def _choose_parts(self, phase: PhaseConfig) -> list[nn.Parameter]:
        """Freezes all parts but the phase's own, batch statistics and codebook averages included."""
        parts = dict(self.model.named_children())
        self.model.eval().requires_grad_(False)
        for name in phase.train:
            parts[name].train().requires_grad_(True)
        self.model.training = True  # the whole trains; which parts follow is said above
        self.trainable.set_objective(dict(phase.objective))
        self.averaged.set_objective(dict(phase.objective))
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _step(self, phase: PhaseConfig, wrapped: Any) -> None:
        started = time.monotonic()
        train, state = self.config.train, self.state
        assert self.optimizer is not None
        torch.manual_seed(step_seed(train.seed, state.step, self.fabric.global_rank))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(phase, state.phase_step)
        with self.fabric.autocast():  # which Fabric sees to by itself only where it wraps the model for DDP
            loss = wrapped.loss(self._batch(phase))
        self.fabric.backward(loss.total)
        norm = self.fabric.clip_gradients(wrapped, self.optimizer, max_norm=train.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._average()
        metrics = {"loss": loss.total.detach(), **loss.metrics, "gradient_norm": cast(Tensor, norm)}
        for name, value in metrics.items():
            state.totals[name] = state.totals.get(name, 0.0) + float(value)
        state.interval += 1
        state.step += 1
        state.phase_step += 1
        state.samples_seen += phase.batch_size * self.shards.row_samples(phase.crop_samples)
        state.seconds += time.monotonic() - started
        self._after_step(phase)

    def _batch(self, phase: PhaseConfig) -> dict[str, Tensor]:
        share = phase.batch_size // self.fabric.world_size
        rows = slice(self.fabric.global_rank * share, (self.fabric.global_rank + 1) * share)
        batch = self.shards.batch(self.config.train.seed, self.state.step, rows, phase.batch_size, phase.crop_samples)
        return cast(dict[str, Tensor], self.fabric.to_device(batch))

    @torch.no_grad()
    def _average(self) -> None:
        """Moves the averaged weights; early steps weigh more, so that the average does not start from noise."""
        decay = min(self.config.train.average_decay, (1 + self.state.phase_step) / (10 + self.state.phase_step))
        for mine, theirs in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            if theirs.requires_grad:
                mine.lerp_(theirs, 1 - decay)
        for copied, buffer in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            if buffer.is_floating_point():  # the codebook: the averaged encoder's, not the last step's
                copied.lerp_(buffer, 1 - decay)
            else:
                copied.copy_(buffer)

    def _after_step(self, phase: PhaseConfig) -> None:
        train, state = self.config.train, self.state
        if self.observer:
            self.observer.on_step(state, phase)
        last = state.phase_step == phase.steps
        if state.step % train.log_every == 0 or last:
            self._log(phase)
        if state.step % train.validate_every == 0 or last:
            self._validate(phase)
        if time.monotonic() - self.saved_at > 60 * train.checkpoint_minutes:
            self._save()

    # --------------------------------------------------------------------------------------- logging, validation

    def _log(self, phase: PhaseConfig) -> None:
        state = self.state
        device = self.fabric.device
        means = self.fabric.all_reduce({name: torch.tensor(v, device=device) for name, v in state.totals.items()})
        values = {name: float(mean) / state.interval for name, mean in cast(dict[str, Tensor], means).items()}
        values["learning_rate"] = learning_rate(phase, state.phase_step - 1)
        values["samples_per_second"] = state.samples_seen / max(state.seconds, 1e-9)
        state.totals, state.interval = {}, 0
        if self.log:
            self.log.write(state.step, phase.name, "train", values)

    @torch.no_grad()
    def _validate(self, phase: PhaseConfig) -> None:
        """Figures of the averaged model over the whole validation pass, codes used among them."""
        if not self.log:
            return
        values: dict[str, float] = {}
        counts = torch.zeros(self.model.codebook_size)
        crops = self.config.train.validation_crops
        for number, rows in enumerate(self.shards.validation_batches(crops, phase.batch_size, phase.crop_samples)):
            batch = cast(dict[str, Tensor], self.fabric.to_device(rows))
            with self.fabric.autocast():
                probe = self.averaged.probe(batch)
            for name, value in probe.metrics.items():
                values[name] = values.get(name, 0.0) + float(value) * len(next(iter(rows.values()))) / crops
            if probe.codes is not None:
                counts += torch.bincount(probe.codes.flatten().cpu(), minlength=len(counts))
            if number == 0 and dict(phase.objective).get("nll"):
                seconds = self.config.train.sound_seconds
                self.shards.show(self.log, self.state.step, self.averaged, batch, seconds)
        if len(counts):
            share = counts / counts.sum()
            values["codes_used"] = float((counts > 0).sum())
            values["code_entropy_bits"] = float(-torch.xlogy(share, share).sum() / math.log(2))
        self.log.write(self.state.step, phase.name, "validation", values)
        for message in warnings_of(values, len(counts)):
            self.log.warn(self.state.step, phase.name, message)

    # ----------------------------------------------------------------------------------------------- checkpoints

    def _facts(self) -> dict[str, Any]:
        return {
            **asdict(self.state),
            **self.shards.facts(self.state.samples_seen, self.config.model),
            "data_sha256": self.shards.checksum,
            "train": to_mapping(self.config.train),
        }

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        training = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.optimizer is not None:
            training |= {f"optimizer.{name}": tensor for name, tensor in checkpoint.flat_state(self.optimizer).items()}
        folder = self.folder / CHECKPOINTS
        name = f"{self.state.step:09d}"
        checkpoint.save_model(folder / name, self.config.model, self.averaged.state_dict(), self._facts(), training)
        for old in sorted(folder.glob("[0-9]*"))[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def _restore(self, folder: Path) -> dict[str, Tensor]:
        """Puts the weights and the state of a checkpoint in place and returns the optimizer's tensors."""
        remedy = f"delete {folder} to resume from the checkpoint before it"
        try:
            document = checkpoint.read_document(folder)
            if checkpoint.read_config(folder) != self.config.model:  # what the file leaves out has its default
                raise ConfigError(
                    f"{folder}: is of another model configuration; resume with the TOML that began the run"
                )
            self._check_resumed(document["training"], folder)
            self.state = RunState(**{f.name: document["training"][f.name] for f in fields(RunState)})
            tensors = checkpoint.read_tensors(folder / checkpoint.TRAINING_FILE)
            self.model.load_state_dict(checkpoint.with_prefix(tensors, "model."))
            self.averaged.load_state_dict(checkpoint.read_tensors(folder / checkpoint.WEIGHTS_FILE))
        except ModelError as error:
            raise ModelError(f"{error}; or {remedy}") from None
        except (KeyError, TypeError, RuntimeError) as error:
            raise ModelError(f"{folder}: is damaged ({str(error).splitlines()[-1].strip()}); {remedy}") from None
        return checkpoint.with_prefix(tensors, "optimizer.") if self.state.phase_step else {}

    def _check_resumed(self, facts: dict[str, Any], folder: Path) -> None:
        """Refuses to go on with other data, another seed or other phases than those of the checkpoint ``folder``; how
        long the phases take, and how fast they learn, may change."""
        if facts["data_sha256"] != self.shards.checksum:
            raise DataError(f"{folder}: learnt from other shards; resume with --data that began the run")
        before, now = facts["train"], to_mapping(self.config.train)
        if before["seed"] != now["seed"]:
            raise ConfigError(f"train.seed = {now['seed']} is not the run's: resume with seed {before['seed']}")
        done = facts["phase"] + (facts["phase_step"] > 0)
        names = [[phase["name"] for phase in train["phases"]][:done] for train in (before, now)]
        if names[0] != names[1]:
            raise ConfigError(f"train.phases: the run has begun with {', '.join(names[0])}: keep these, in this order")
        if facts["phase_step"]:
            for key in ("train", "objective", "batch_size", "crop_samples"):
                old, new = (train["phases"][facts["phase"]].get(key) for train in (before, now))
                if old != new:
                    raise ConfigError(f"{names[0][-1]}.{key} = {new} is not what the phase began with: give {old}")

    def _finish(self) -> Path:
        finished = self.folder / FINISHED_MODEL
        if self.fabric.is_global_zero:
            checkpoint.save_model(finished, self.config.model, self.averaged.state_dict(), self._facts())
            if self.shards.sources:
                write_sources(finished, self.shards.sources)
        self.fabric.barrier()
        return finished
