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


def rows() -> list[tuple[str, int, int, int, int]]:
    """What was done, how often, how often it was refused, survived, lost."""
    found = []
    for name, label in TARGETS.items():
        tally = results("fuzz.json").get(name)
        if tally:
            found.append((label, tally["tried"], tally["refused"], tally["accepted"], len(tally["lost"])))
    for verb, tally in results("kills.json").items():
        tried = tally["kills"]
        label = f"kill -9 of {verb}, {tally['in_time']} before its end"
        found.append((label, tried, 0, tally["resumed_exactly"], len(tally["lost"])))
        told = [word == "told" for word in tally["cannot write"].values()]
        found.append((f"{verb} without room or folder", len(told), sum(told), 0, len(told) - sum(told)))
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
