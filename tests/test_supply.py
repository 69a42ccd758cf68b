"""requirements.txt: the basic install by hashes, in the versions that the tests ran with."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKED = re.compile(r"^(\S+)==(\S+?)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def locked() -> dict[str, str]:
    """The version of each package, by its name."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    rest = LOCKED.sub("", text)
    assert all(line.startswith("#") for line in rest.splitlines()), "a package without a hash, or not by its version"
    return {canonicalize_name(name): version for name, version, _ in LOCKED.findall(text)}


def test_what_is_locked_is_what_was_tested() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {Requirement(line) for line in lines if line and not line.startswith("#")}
    versions = {canonicalize_name(found.name): str(found.specifier).removeprefix("==") for found in tested}
    assert {name: versions.get(name) for name in locked()} == locked()


def test_all_that_the_basic_install_needs_is_locked_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert needed <= set(locked())
    assert not {"torch", "pytest", "hypothesis"} & set(locked())
