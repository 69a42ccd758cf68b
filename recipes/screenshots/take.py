"""Pictures of the studio and of the documentation, as a desktop and as a phone show them. ``make screenshots`` runs it.

Needs Chromium and its driver, the extras ``studio`` and ``docs``, and ``tests/`` on the path.
"""

import argparse
import base64
import functools
import http.server
import io
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import chromium
from PIL import Image
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from vqaudio.cli.studio import served
from vqaudio.cli.studio_work import Limits, Models

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"desktop": (1200, 800), "phone": (390, 844)}  # CSS pixels
SOUND = ROOT / "data" / "samples" / "kettle.flac"
SPEAKER = "460"
MOST_BYTES = 200_000
COLOURS = 128  # of a picture's palette
PATIENCE_S = 1800


class Photographer:
    """A browser whose pages are taken in each of :data:`SIZES`."""

    def __init__(self, browser: Chrome, folder: Path) -> None:
        self.browser, self._folder = browser, folder

    def open(self, address: str, css: str) -> None:
        """Opens a page as a desktop does, and waits for ``css``. Nothing on it moves."""
        self._resize("desktop")
        self.browser.get(address)
        self.wait(css)
        still = "const it = document.createElement('style'); it.textContent = arguments[0]; document.head.append(it)"
        self.browser.execute_script(still, "* { animation: none !important; transition: none !important }")

    def _resize(self, size: str) -> None:
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def wait(self, css: str) -> None:
        """Waits until something fits ``css``."""
        self._until(lambda: self.browser.find_elements(By.CSS_SELECTOR, css))

    def click(self, css: str) -> None:
        """Clicks, wherever on the page it is."""
        self.browser.execute_script("document.querySelector(arguments[0]).click()", css)

    def choose(self, css: str, option: str) -> None:
        """Types ``option`` into a list, and takes what it then offers first."""
        field = self.browser.find_element(By.CSS_SELECTOR, css)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(option, Keys.ENTER)
        self._until(lambda: field.get_property("value") == option)

    def take(self, name: str, whole: bool) -> None:
        """Writes the page, all of it or what a screen shows, as NAME-SIZE.png in each size.

        Raises:
            SystemExit: the page is wider than the screen, or a file larger than a repository should hold.
        """
        for size, (width, height) in SIZES.items():
            self._resize(size)
            self._settle()
            script = "const it = document.documentElement; return [it.scrollWidth, it.scrollHeight]"
            wide, high = self.browser.execute_script(script)
            if wide > width:
                raise SystemExit(f"{name}: is {wide} pixels wide on a {size} of {width}")
            clip = {"x": 0, "y": 0, "width": width, "height": high if whole else height, "scale": 1}
            asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
            data = base64.b64decode(self.browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
            self._write(data, self._folder / f"{name}-{size}.png")

    def _settle(self) -> None:
        """Waits until every sound's length is known and every picture is there."""
        script = """
            const sounds = [...document.querySelectorAll('audio[controls][src]')].every(it => it.readyState > 0)
            return sounds && [...document.images].every(it => it.complete)"""
        self._until(lambda: self.browser.execute_script(script))

    def _until(self, condition: Callable[[], Any]) -> None:
        WebDriverWait(self.browser, PATIENCE_S, 1.0).until(lambda _: condition())

    def _write(self, png: bytes, target: Path) -> None:
        picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(target, optimize=True)
        size = target.stat().st_size
        if size > MOST_BYTES:
            raise SystemExit(f"{target}: has {size} bytes, more than {MOST_BYTES}")
        print(f"{target}: {picture.width} x {picture.height}, {size} bytes")


def studio_pictures(page: Photographer, address: str) -> None:
    """A sound, decoded and converted."""
    page.open(address, "#sound input[type=file]")
    page.browser.find_element(By.CSS_SELECTOR, "#sound input[type=file]").send_keys(str(SOUND))
    page.wait("#sound #waveform")
    page.choose("#voice input", SPEAKER)
    page.click("#code")
    page.wait("#heard :is(#converted, .vq-failure)")
    if failed := page.browser.find_elements(By.CSS_SELECTOR, "#heard .vq-failure"):
        raise SystemExit(failed[0].text)
    page.take("studio", whole=True)


@contextmanager
def site() -> Iterator[str]:
    """The documentation, built and served; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder]
        subprocess.run(command, cwd=ROOT, check=True)
        handler = functools.partial(_Silent, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *values: object) -> None: ...


def docs_pictures(page: Photographer, address: str) -> None:
    """The first page."""
    page.open(address, "article audio")
    page.take("docs", whole=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=("studio", "docs"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile), "--hide-scrollbars") as browser:
        page = Photographer(browser, arguments.output)
        if arguments.only != "docs":
            with served(Models(), "cpu", Limits(work_s=PATIENCE_S), None) as address:
                studio_pictures(page, address)
        if arguments.only != "studio":
            with site() as address:
                docs_pictures(page, address)


if __name__ == "__main__":
    main()
