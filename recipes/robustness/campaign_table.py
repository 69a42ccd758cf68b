"""The campaigns' results as a table: tried, refused, survived, lost.

python recipes/robustness/campaign_table.py     # writes results/campaign.md from results/*.json
"""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TARGETS = {
    "header": "headers of streams",
    "stream": "streams, both coders",
    "packets": "packets",
    "entropy": "payloads of the entropy coders",
    "layout": "layouts of sound files",
    "sound": "sound files",
    "picture": "picture files",
    "config": "configurations of models",
    "model": "models whose configuration is another's",
    "weights": "safetensors files",
    "voice": "voice files",
    "run_config": "configurations of training",
    "table": "tables of tokens",
    "corpus": "tars, tables and manifests",
}


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def summed(pattern: str) -> dict[str, dict[str, Any]]:
    """What several runs of a campaign counted, together: numbers and lists are added up."""
    whole: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob(pattern)):
        for name, tally in results(path.name).items():
            for key, value in tally.items():
                old = whole.setdefault(name, {}).get(key)
                added = isinstance(value, int | float | list) and key != "seed" and old is not None
                whole[name][key] = old + value if added else value
    return whole


def rows() -> list[tuple[str, int, int, int, int]]:
    """What was done, how often, how often it was refused, survived, lost."""
    found, fuzzed = [], summed("fuzz*.json")
    for name, label in TARGETS.items():
        if tally := fuzzed.get(name):
            found.append((label, tally["tried"], tally["refused"], tally["accepted"], len(tally["lost"])))
    for verb, tally in summed("kills*.json").items():
        label = f"kill -9 of {verb}, {tally['in_time']} before its end"
        found.append((label, tally["kills"], 0, tally["resumed_exactly"], len(tally["lost"])))
    return [*found, *_of_disks(), *_of_signals()]


def _of_disks() -> list[tuple[str, int, int, int, int]]:
    """A row a fault, of all verbs together."""
    verbs = results("disks.json")
    found = []
    for fault in next(iter(verbs.values())):
        tallies = [of[fault] for of in verbs.values() if of[fault]["tried"]]
        counts = [sum(tally[key] for tally in tallies) for key in ("tried", "refused", "survived")]
        found.append((f"{fault}, {len(tallies)} verbs", *counts, sum(len(tally["lost"]) for tally in tallies)))
    return found  # type: ignore[return-value]


def _of_signals() -> list[tuple[str, int, int, int, int]]:
    found = []
    for verb, tally in summed("signals*.json").items():
        counts = (tally["tried"], tally["refused"], tally["survived"], len(tally["lost"]))
        found.append((f"signals at any stage of {verb}", *counts))
    return found


def page() -> str:
    lines = ["# Campaign", "", "| | tried | refused | survived | lost |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join([label, *(f'{count:,}' for count in counts)])} |" for label, *counts in rows()]
    soak = results("soak.json")
    lines += ["", "| soak | at first | at last |", "| --- | --- | --- |"]
    lines.append(f"| files coded | {soak['first']['files']} | {soak['last']['files']} |")
    for key, label in (("memory_mb", "memory, MB"), ("descriptors", "open files"), ("threads", "threads")):
        lines.append(f"| {label} | {soak['first'][key]:.0f} | {soak['last'][key]:.0f} |")
    lines.append(f"| temporary files | {soak['first']['temporary']} | {soak['last']['temporary']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (RESULTS / "campaign.md").write_text(page(), encoding="utf-8")
