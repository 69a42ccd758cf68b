"""Where results come from: the machine and the versions of what was used."""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine() -> str:
    """The processor, as /proc tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores"


def versions(packages: Iterable[str], debian: Iterable[str]) -> dict[str, str]:
    """Of Python, of installed ``packages``, and of packages of Debian."""
    found = {"Python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    for package in debian:
        with suppress(OSError, subprocess.CalledProcessError):
            asked = ["dpkg-query", "-W", "-f", "${Version}", package]
            found[package] = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return found
