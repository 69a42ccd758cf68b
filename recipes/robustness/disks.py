"""Full disks, read-only and vanishing folders, clocks that go backwards: what each verb that writes makes of them.

python recipes/robustness/disks.py --tries 20 --json recipes/robustness/results/disks.json

Each attempt begins with an old result in its place and runs the verb, in a process of its own, under one fault. It is
refused where it ends in exit status 1 and one line, with the old result whole and no temporary file; it survives where
it ends well with the bytes that it always gives. With the fault lifted, the same command must come to these bytes.
Mounting needs root; what cannot be mounted is not tried, and counted as such.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import kills
import soundfile
import torch
from faults import FAULTS, PLACE, SETTLED, Ended, Fault, Impossible, Scene, Verb, attempt
from kills import MODEL, content, is_temporary

from vqaudio.cli.main import main as vqaudio
from vqaudio.models import checkpoint
from vqaudio.models.config import (
    AugmentConfig,
    ConditioningConfig,
    EncoderConfig,
    MelConfig,
    QuantizerConfig,
    SpeakerEncoderConfig,
    VocoderConfig,
    VocoderVQVAEConfig,
)

DEMO = Path(__file__).resolve().parents[2] / "vqaudio" / "pretrained" / "demo.flac"
_WITH = ("--model", str(MODEL), "--quiet")
_VOICED = ("--model", "voiced", "--quiet")
_EVALUATE = ("evaluate", str(MODEL), "--data", "few", "--metrics", "mel", "--quiet")
VERBS = (
    Verb("encode", ("encode", "talk.wav", "-o", "place/x.vqa", *_WITH), "x.vqa"),
    Verb("decode", ("decode", "talk.vqa", "-o", "place/x.wav", *_WITH), "x.wav"),
    Verb("convert", ("convert", "talk.wav", "--speaker", "ann", "-o", "place/x.flac", *_VOICED), "x.flac"),
    Verb("voices save", ("voices", "save", "place/x.voice", "demo.wav", *_VOICED), "x.voice"),
    Verb("evaluate --json", (*_EVALUATE, "--json", "place/x.json"), "x.json"),
    Verb("evaluate --report", (*_EVALUATE, "--report", "place/page", "--listen", "1"), "page"),
    Verb("prepare", ("prepare", "corpus", "-o", "place/shards", "--no-analysis", "--quiet"), "shards"),
    Verb("tokenize", ("tokenize", "corpus", "-o", "place/tokens", "--shard-rows", "2", "--workers", "1", *_WITH),
         "tokens", (), True),
    Verb("train", ("train", "run.toml", "--data", "shards", "-o", "place/run", "--device", "cpu", "--quiet"),
         "run", ("--resume",), True),
)  # fmt: skip


@dataclass
class Tally:
    """What came of a verb under one fault. ``lost`` names each attempt that ended in anything else."""

    tried: int = 0
    refused: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)


def judged(scene: Scene, ended: Ended) -> str:
    """ "refused", "survived", or what is wrong."""
    found = content(PLACE / scene.verb.output)
    left = [str(path) for path in PLACE.rglob("*") if is_temporary(path)]
    if left:
        return f"left {left}"
    if ended.code == 0:
        return "survived" if found == scene.new else "exit 0, and the result is another"
    if ended.code != 1 or len(ended.said.splitlines()) != 1 or "internal error" in ended.said:
        return f"exit {ended.code}: {ended.said[-300:]!r}"
    whole = scene.verb.goes_on or found == scene.old
    return "refused" if whole else f"the old result is no more: {sorted(found)} for {sorted(scene.old)}"


def once(scene: Scene, fault: Fault, tally: Tally) -> None:
    """One attempt under a fault, and one without it behind."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    with fault(scene) as run:
        ended = run()
        came = judged(scene, ended)
        again = attempt(scene.command) if came != "survived" else Ended(0, "")
        if content(PLACE / scene.verb.output) != scene.new:
            came = f"{came}; then, without the fault, exit {again.code}: {again.said[-300:]!r}, or other bytes"
    tally.tried += 1
    tally.refused += came == "refused"
    tally.survived += came == "survived"
    if came not in ("refused", "survived"):
        tally.lost.append(came)


def scene_of(verb: Verb, rng: random.Random) -> Scene:
    """The verb's own result, of a run without faults; and an old one of the same kind."""
    for run in range(2):  # here, so that all modules are loaded, and then in a process of its own, as the others
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir()
        started = time.monotonic()
        code = attempt(verb.words).code if run else vqaudio(list(verb.words))
        assert code == 0, f"{verb.name} fails"
        seconds = time.monotonic() - started
    new = content(PLACE / verb.output)
    if verb.goes_on:
        return Scene(verb, seconds, new, {}, rng)
    return Scene(verb, seconds, new, dict.fromkeys(new, b"old"), rng)


def make_voiced_model() -> None:
    """A small model of speech parameters with two speakers, whose weights are random."""
    config = VocoderVQVAEConfig(
        quantizer=QuantizerConfig(codebook_size=16, code_dim=8),
        encoder=EncoderConfig(
            channels=(8,), strides=(8,), spectrum=MelConfig(400, 20), spectrum_hop=64, residual_dilations=(1,)
        ),
        conditioning=ConditioningConfig(
            channels=8, residual_dilations=(1,), features=8, frames_per_vector=8, frame_dilations=(1,), voice_dim=6
        ),
        vocoder=VocoderConfig(bands=20),
        speakers=("ann", "bob"),
        speaker_encoder=SpeakerEncoderConfig(channels=8, dilations=(1,)),
        augment=AugmentConfig(),
    )
    torch.manual_seed(0)
    checkpoint.save_model(Path("voiced"), config, checkpoint.build(config).state_dict(), {})


def make_inputs() -> None:
    make_voiced_model()
    kills.make_inputs(Path())
    wave, rate = soundfile.read(DEMO)
    soundfile.write("demo.wav", wave[: 2 * rate], rate)
    soundfile.write("talk.wav", soundfile.read("talk.wav")[0][:8000], kills.RATE_HZ)
    assert vqaudio(["encode", "talk.wav", "-o", "talk.vqa", "--force", *_WITH]) == 0
    shutil.copytree("corpus/a", "few/a")
    for path in (Path(), *Path().rglob("*")):  # nobody may read it all
        path.chmod(0o755 if path.is_dir() else 0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tries", type=int, default=20, help="of each verb under each fault that has to do with chance"
    )
    parser.add_argument("--verb", action="append", help="one of the verbs; repeatable; all by default")
    parser.add_argument("--fault", action="append", help="one of the faults; repeatable; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the counts go")
    chosen = parser.parse_args()
    target = chosen.json.resolve() if chosen.json else None
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="disks-") as folder:
        os.chdir(folder)
        torch.set_num_threads(1)  # forked processes then need no others of the kind
        make_inputs()
        for verb in VERBS:
            if chosen.verb and verb.name not in chosen.verb:
                continue
            scene = scene_of(verb, random.Random(chosen.seed))
            for name, fault in FAULTS.items():
                if chosen.fault and name not in chosen.fault:
                    continue
                tally = Tally()
                with suppress(Impossible):
                    for _ in range(1 if name in SETTLED else chosen.tries):
                        once(scene, fault, tally)
                results.setdefault(verb.name, {})[name] = asdict(tally)
                print(f"{verb.name}, {name}: {json.dumps(asdict(tally))}", flush=True)
                if target:
                    target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        os.chdir("/")
    sys.exit(any(tally["lost"] for of in results.values() for tally in of.values()))  # type: ignore[index]


if __name__ == "__main__":
    main()
