"""How fast a corpus becomes tokens: one process and several, Ray where it is installed, and where the time goes.

    python recipes/benchmark/corpora.py CORPUS -o corpora.json

Each row is one run of ``vqaudio tokenize`` into a fresh folder, less a run of the same kind on two utterances, which
is what the start takes. Wall-clock time means little on a machine that has other work; the processor's time is there
beside it. All runs must give the same bytes.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARD_ROWS = 100  # few enough that a small corpus has tasks for all of Ray's actors


def digest_of(folder: Path) -> str:
    """A checksum of all files below ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def run(corpus: Path, output: Path, *options: str) -> dict[str, Any]:
    """Figures of one run of ``vqaudio tokenize``."""
    command = [sys.executable, "-m", "vqaudio", "tokenize", corpus, "-o", output, "--json", "--quiet"]
    command += ["--shard-rows", str(SHARD_ROWS), *options]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if not done.stdout.startswith("{"):
        raise SystemExit(done.stderr)
    (facts,) = json.loads(done.stdout)["files"]
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "audio_s": facts["duration_s"],
        "wall_s": wall_s,
        "processor_s": processor_s,  # Ray's processes are no children: not of its runs
        "sha256": digest_of(output),
    }


def two_utterances(corpus: Path, manifest: Path) -> Path:
    """A manifest of the first two utterances."""
    from vqaudio.io.places import WholeFile
    from vqaudio.io.sources import entries

    places = [entry.place for entry, _ in zip(entries(corpus), range(2), strict=False)]
    lines = [place.file for place in places if isinstance(place, WholeFile)]
    manifest.write_text("path\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return manifest


def profile(corpus: Path, count: int) -> dict[str, float]:
    """Seconds of each part of the work on the first ``count`` utterances, in one thread."""
    import torch

    import vqaudio
    from vqaudio.codecs import encoding, tokenizing
    from vqaudio.io.sources import entries
    from vqaudio.io.token_tables import table_bytes

    torch.set_num_threads(1)
    codec, spent = vqaudio.load("speech", "cpu"), dict.fromkeys(("read", "network", "all", "table"), 0.0)
    network = encoding._encode_window

    def timed(*arguments: object) -> object:
        began = time.perf_counter()
        codes = network(*arguments)
        spent["network"] += time.perf_counter() - began
        return codes

    encoding._encode_window = timed
    rows = []
    chosen = [entry for entry, _ in zip(entries(corpus), range(count + 1), strict=False)]
    tokenizing.tokenize(codec, chosen.pop())  # the first is slow
    spent["network"] = 0.0
    for entry in chosen:
        began = time.perf_counter()
        tokenizing._read(entry)
        spent["read"] += time.perf_counter() - began
        began = time.perf_counter()
        rows.append(tokenizing.tokenize(codec, entry))
        spent["all"] += time.perf_counter() - began
    began = time.perf_counter()
    table_bytes(rows, "parquet")
    spent["table"] = time.perf_counter() - began
    seconds = sum(row.duration for row in rows)
    window = encoding._WINDOW_TOKENS * codec.model.samples_per_token / codec.sample_rate
    windows = sum(-(-row.duration // window) for row in rows)
    return {**spent, "audio_s": seconds, "share_of_windows_filled": seconds / (windows * window)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--profile", type=int, default=40, help="utterances that are profiled")
    options = parser.parse_args()
    kinds = {"1 process": ("--workers", "1"), "2 processes": ("--workers", "2")}
    if importlib.util.find_spec("ray"):
        kinds["Ray, 2 actors"] = ("--workers", "2", "--ray", "local")
    results: dict[str, object] = {"load before": os.getloadavg(), "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: run(options.corpus, Path(folder) / name, *words) for name, words in kinds.items()}
        few = two_utterances(options.corpus, Path(folder) / "two.tsv")
        for name, words in kinds.items():
            start = run(few, Path(folder) / f"{name}, start", *words)
            runs[name] |= {f"start_{unit}": start[unit] for unit in ("wall_s", "processor_s")}
            runs[name]["times_real_time"] = (runs[name]["audio_s"] - start["audio_s"]) / (
                runs[name]["wall_s"] - start["wall_s"]
            )
    if len({of["sha256"] for of in runs.values()}) > 1:
        raise SystemExit("the runs do not give the same bytes")
    results |= {"runs": runs, "profile": profile(options.corpus, options.profile), "load after": os.getloadavg()}
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, of in runs.items():
        busy = of["processor_s"] - of["start_processor_s"]
        print(f"{name}: {of['times_real_time']:.1f} times real time, {busy:.1f} s of the processor")


if __name__ == "__main__":
    main()
