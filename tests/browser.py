"""A real browser for the tests: Debian's Chromium without a window."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_LOCK = Path(tempfile.gettempdir()) / "vqaudio-tests-browser.lock"


def _programs() -> tuple[str, str] | None:
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def _installed() -> tuple[str, str]:
    """The browser and its driver; missing ones are installed, if that is asked for, or the test skips."""
    found = _programs()
    if found is None and os.environ.get("VQAUDIO_TEST_INSTALL") == "1" and shutil.which("apt-get"):
        with _LOCK.open("w") as lock:  # the tests may run in several processes
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = _programs()
            if found is None:
                environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
                for words in ("update", "install --yes --no-install-recommends chromium chromium-driver"):
                    subprocess.run(["apt-get", "-q", *words.split()], env=environment, capture_output=True, check=False)
                found = _programs()
    if found is None:
        pytest.skip("needs chromium and chromedriver on the path; VQAUDIO_TEST_INSTALL=1 lets apt-get install them")
    return found


@contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """A browser with a new profile in the folder ``profile`` that remembers what its console was told; ``flags`` are
    more words for it."""
    browser, driver = _installed()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield session
    finally:
        session.quit()
