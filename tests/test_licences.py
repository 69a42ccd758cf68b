"""Everything bundled that is no code has its row in docs/licences.md."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_all_that_is_bundled_has_a_licence() -> None:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    patterns = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    listed = subprocess.run(["git", "ls-files", "vqaudio"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name.removeprefix("vqaudio/") for name in listed.stdout.splitlines() if not name.endswith(".py")]
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in names)] == []
