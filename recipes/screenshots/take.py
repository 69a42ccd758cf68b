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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import chromium
from PIL import Image
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from vqaudio.cli.studio import served
from vqaudio.cli.studio_work import Limits, Models

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"desktop": (1200, 800), "phone": (390, 844)}  # CSS pixels
SPEAKER = "460"
MOST_BYTES = 200_000
COLOURS = 128  # of a picture's palette
PATIENCE_S = 1800


class Photographer:
    """A browser of one size."""

    def __init__(self, browser: Chrome, size: str, folder: Path) -> None:
        self.browser, self._size, self._folder = browser, size, folder
        self._width, self._height = SIZES[size]
        phone = size == "phone"
        metrics = {"width": self._width, "height": self._height, "deviceScaleFactor": 1, "mobile": phone}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})

    def wait(self, css: str) -> None:
        """Waits until something fits ``css``."""
        WebDriverWait(self.browser, PATIENCE_S).until(lambda _: self.browser.find_elements(By.CSS_SELECTOR, css))

    def click(self, css: str) -> None:
        """Clicks, wherever on the page it is."""
        self.browser.execute_script("document.querySelector(arguments[0]).click()", css)

    def choose(self, css: str, option: str) -> None:
        """Types ``option`` into a list, and takes what it then offers first."""
        field = self.browser.find_element(By.CSS_SELECTOR, css)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(option, Keys.ENTER)
        WebDriverWait(self.browser, PATIENCE_S).until(lambda _: field.get_property("value") == option)

    def take(self, name: str, most_height: int | None = None) -> None:
        """Writes the page, all of it or its upper ``most_height`` pixels, as NAME-SIZE.png.

        Raises:
            SystemExit: the page is wider than the screen, or the file larger than a repository should hold.
        """
        wide, high = self.browser.execute_script(
            "const it = document.documentElement; return [it.scrollWidth, it.scrollHeight]"
        )
        if wide > self._width:
            raise SystemExit(f"{name}: is {wide} pixels wide on a {self._size} of {self._width}")
        clip = {"x": 0, "y": 0, "width": self._width, "height": min(high, most_height or high), "scale": 1}
        asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        data = base64.b64decode(self.browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
        target = self._folder / f"{name}-{self._size}.png"
        Image.open(io.BytesIO(data)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
            target, optimize=True
        )
        if target.stat().st_size > MOST_BYTES:
            raise SystemExit(f"{target}: has {target.stat().st_size} bytes, more than {MOST_BYTES}")
        print(f"{target}: {clip['width']} x {clip['height']}, {target.stat().st_size} bytes")


def studio_pictures(browser: Chrome, size: str, folder: Path, address: str) -> None:
    """A conversion, and new speech."""
    page = Photographer(browser, size, folder)
    browser.get(address)
    page.wait("#sound input[type=file]")
    browser.find_element(By.CSS_SELECTOR, "#sound input[type=file]").send_keys(
        str(ROOT / "data" / "samples" / "kettle.flac")
    )
    page.wait("#sound #waveform")
    page.choose("#voice input", SPEAKER)
    page.click("#code")
    page.wait("#heard #converted")
    settled(browser)
    page.take("studio")


def settled(browser: Chrome) -> None:
    """Waits until every sound's length is known and every picture is drawn."""
    script = """
        const sounds = [...document.querySelectorAll('audio[controls]')].every(it => it.readyState > 0)
        const pictures = [...document.images].every(it => it.complete)
        return sounds && pictures"""
    WebDriverWait(browser, PATIENCE_S).until(lambda _: browser.execute_script(script))


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


def docs_pictures(browser: Chrome, size: str, folder: Path, address: str) -> None:
    """The first page."""
    page = Photographer(browser, size, folder)
    browser.get(address)
    page.wait("article audio")
    settled(browser)
    page.take("docs", SIZES[size][1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=("studio", "docs"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile), "--hide-scrollbars") as browser:
        if arguments.only != "docs":
            with served(Models(), "cpu", Limits(), None) as address:
                for size in SIZES:
                    studio_pictures(browser, size, arguments.output, address)
        if arguments.only != "studio":
            with site() as address:
                for size in SIZES:
                    docs_pictures(browser, size, arguments.output, address)


if __name__ == "__main__":
    main()
