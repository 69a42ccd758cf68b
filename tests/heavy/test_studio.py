"""The studio's page in a real browser: upload, listen, convert, draw, bad files, and two people at once."""

import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pictures
import pytest
import soundfile
from browser import chromium
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from sounds import tone

import vqaudio
from vqaudio.cli.studio import served
from vqaudio.cli.studio_work import Limits, Models
from vqaudio.errors import ConfigError
from vqaudio.io.image import write_picture

pytestmark = pytest.mark.heavy
pytest.importorskip("gradio")

SPEECH = Path(__file__).resolve().parents[2] / "data" / "samples" / "kettle.flac"
ANSWER = "audio, img, .vq-failure"
PHONE = 390  # CSS pixels


@pytest.fixture(scope="module")
def models(talking_model: Path, voiced_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    images = pictures.save_model(tmp_path_factory.mktemp("models") / "pictures")
    return Models(str(talking_model), str(voiced_model), str(images))


@pytest.fixture(scope="module")
def address(models: Models) -> Iterator[str]:
    with served(models, "cpu", Limits(sound_s=5.0, file_bytes=300_000), None) as found:
        yield found


@dataclass
class Visitor:
    """Someone with a browser; ``address`` is that of the studio."""

    browser: Chrome
    address: str

    def come(self) -> None:
        self.browser.get(self.address)
        self.see("#sound input[type=file]")

    def see(self, css: str) -> None:
        WebDriverWait(self.browser, 60, 0.05).until(lambda _: self.browser.find_elements(By.CSS_SELECTOR, css))

    def drop(self, place: str, path: Path) -> None:
        self.browser.find_element(By.CSS_SELECTOR, f"#{place} input[type=file]").send_keys(str(path))
        gone = f"#{place} input[type=file]"  # an upload that has come takes its place
        WebDriverWait(self.browser, 60, 0.05).until(lambda _: not self.browser.find_elements(By.CSS_SELECTOR, gone))

    def click(self, button: str) -> None:
        self.browser.find_element(By.ID, button).click()

    def ask(self, button: str, output: str) -> str:
        """Clicks, waits for the answer in ``output``, and gives its text."""
        before = self.html(output)
        self.click(button)
        self.answered(output, before)
        return self.browser.find_element(By.ID, output).text

    def answered(self, output: str, before: str) -> None:
        found = f"#{output} :is({ANSWER})"
        wait = WebDriverWait(self.browser, 120, 0.05)
        wait.until(lambda _: self.browser.find_elements(By.CSS_SELECTOR, found) and self.html(output) != before)

    def html(self, output: str) -> str:
        """What of the answer changes with it."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.src || e.innerText).join(' ')"
        return str(self.browser.execute_script(script, f"#{output} :is({ANSWER})"))

    def open_tab(self, name: str) -> None:
        script = "return [...document.querySelectorAll('[role=tab]')].find(e => e.innerText.trim() === arguments[0])"
        self.browser.execute_script(script, name).click()

    def source(self, identifier: str) -> str:
        return str(self.browser.find_element(By.ID, identifier).get_property("src"))

    def hear(self, identifier: str) -> float:
        """Plays a sound and gives its length in seconds, once some of it was heard."""
        play = "const it = document.getElementById(arguments[0]); it.muted = true; it.play(); return it"
        player = self.browser.execute_script(play, identifier)
        WebDriverWait(self.browser, 20, 0.05).until(lambda _: float(player.get_property("currentTime")) > 0.05)
        return float(player.get_property("duration"))


@pytest.fixture(scope="module")
def opened(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield Visitor(browser, address)


@pytest.fixture
def visitor(opened: Visitor) -> Visitor:
    opened.come()
    return opened


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return tone(tmp_path / "talk.wav", 0.8, 22050)


def fetched(url: str, path: Path) -> Path:
    path.write_bytes(urllib.request.urlopen(url).read())
    return path


def test_upload_and_listen(visitor: Visitor, talk: Path, models: Models, tmp_path: Path) -> None:
    visitor.drop("sound", talk)
    text = visitor.ask("code", "heard")
    for role in ("original", "decoded"):
        assert visitor.hear(role) == pytest.approx(0.8, abs=0.01)
    link = visitor.browser.find_element(By.CSS_SELECTOR, "#heard .vq-download")
    assert link.get_property("download") == "talk.vqa"
    stream = fetched(str(link.get_property("href")), tmp_path / "talk.vqa")
    size = stream.stat().st_size
    assert f"{size:,}" in text
    assert f"{8 * size / 0.8 / 1000:.2f} kb/s" in text
    codec = vqaudio.load(models.speech, "cpu")
    wave, rate_hz = soundfile.read(talk, dtype="float32")
    expected = codec.encode(wave, rate_hz)  # type: ignore[arg-type]
    assert np.array_equal(vqaudio.Stream.load(stream, codec.block_coder(expected.header.coder)).codes, expected.codes)
    decoded = soundfile.read(fetched(visitor.source("decoded"), tmp_path / "decoded.wav"))[0]
    assert len(decoded) == len(wave)
    kinds = ("figure img", ".vq-codes img", "svg.pitch path")
    assert all(visitor.browser.find_elements(By.CSS_SELECTOR, f"#heard {kind}") for kind in kinds)


def test_another_seed_is_another_sound(visitor: Visitor, talk: Path, tmp_path: Path) -> None:
    visitor.drop("sound", talk)
    visitor.ask("code", "heard")
    first = fetched(visitor.source("decoded"), tmp_path / "1.wav").read_bytes()
    seed = visitor.browser.find_element(By.CSS_SELECTOR, "input[aria-label='Seed']")
    seed.send_keys(Keys.CONTROL, "a")
    seed.send_keys("5", Keys.TAB)
    visitor.ask("code", "heard")
    assert fetched(visitor.source("decoded"), tmp_path / "2.wav").read_bytes() != first


def test_convert(visitor: Visitor, talk: Path) -> None:
    visitor.drop("sound", talk)
    visitor.browser.find_element(By.CSS_SELECTOR, "#voice input").click()
    visitor.see("[role=option]")
    options = visitor.browser.find_elements(By.CSS_SELECTOR, "[role=option]")
    assert [option.text.replace("✓", "").strip() for option in options][2:] == ["ann", "anna", "bob"]
    options[-1].click()
    visitor.ask("code", "heard")
    assert visitor.hear("converted") == pytest.approx(0.8, abs=0.01)
    assert visitor.source("converted").endswith("talk-bob.wav")


def test_convert_to_an_own_voice(visitor: Visitor, talk: Path) -> None:
    visitor.drop("sound", talk)
    visitor.drop("reference", SPEECH)
    field = visitor.browser.find_element(By.CSS_SELECTOR, "#voice input")
    wanted = "the recording below"
    WebDriverWait(visitor.browser, 20, 0.05).until(lambda _: field.get_property("value") == wanted)
    visitor.ask("code", "heard")
    assert visitor.source("converted").endswith("talk-kettle-reference.wav")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"this is no sound" * 100, r"^noise\.wav: [^/]+$"),
        (b"", r"^noise\.wav: is empty \(0 bytes\); record or copy it again$"),
    ],
)
def test_a_bad_file_is_one_line(visitor: Visitor, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "noise.wav"
    path.write_bytes(content)
    visitor.drop("sound", path)
    text = visitor.ask("code", "heard")
    assert re.match(said, text), text
    assert "\n" not in text
    assert visitor.browser.find_element(By.CSS_SELECTOR, "#heard [role=alert]").text == text


def test_limits_are_one_line(visitor: Visitor, tmp_path: Path) -> None:
    visitor.drop("sound", tone(tmp_path / "long.wav", 5.5, 8000))
    assert visitor.ask("code", "heard").startswith("long.wav: is longer than the studio's 5 s")


def test_nothing_to_code(visitor: Visitor) -> None:
    assert visitor.ask("code", "heard") == "there is no sound yet: drop one above"


def test_a_file_too_large_is_refused(visitor: Visitor, tmp_path: Path) -> None:
    path = tone(tmp_path / "large.wav", 4.0, 96000)
    visitor.browser.find_element(By.CSS_SELECTOR, "#sound input[type=file]").send_keys(str(path))
    wait = WebDriverWait(visitor.browser, 20, 0.05)
    wait.until(lambda _: "exceed" in visitor.browser.find_element(By.TAG_NAME, "body").text)


def test_speaks_on_from_a_prompt(visitor: Visitor, talk: Path) -> None:
    visitor.open_tab("New speech")
    visitor.drop("prompt", talk)
    visitor.ask("speak", "spoken")
    assert visitor.hear("sample") == pytest.approx(5.8, abs=0.02)
    link = visitor.browser.find_element(By.CSS_SELECTOR, "#spoken .vq-download")
    assert link.get_property("download") == "sample.vqa"


def test_pictures(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open_tab("Pictures")
    path = tmp_path / "view.png"
    with path.open("wb") as file:
        write_picture(file, pictures.gradient(20, 30), ".png")
    visitor.drop("picture", path)
    text = visitor.ask("code-picture", "seen")
    assert "30 x 20 pixels" in text
    for role in ("picture-original", "picture-decoded"):
        image = visitor.browser.find_element(By.ID, role)
        WebDriverWait(visitor.browser, 20, 0.05).until(lambda _, image=image: image.get_property("naturalWidth") == 30)
    visitor.ask("draw", "drawn")
    assert visitor.source("pictures").endswith("pictures.png")


def test_two_people_at_once(visitor: Visitor, models: Models, tmp_path: Path) -> None:
    """Each of two pages has its own sound of the same name, and both ask at once: each hears and loads its own."""
    codec = vqaudio.load(models.speech, "cpu")
    lengths = {}
    for seconds in (0.5, 2.0):
        if lengths:
            visitor.browser.switch_to.new_window("tab")
            visitor.come()
        visitor.drop("sound", tone(tmp_path / f"{seconds}" / "talk.wav", seconds, 8000))
        lengths[visitor.browser.current_window_handle] = seconds
    for handle in lengths:
        visitor.browser.switch_to.window(handle)
        visitor.click("code")
    seen = set()
    for handle, seconds in lengths.items():
        visitor.browser.switch_to.window(handle)
        visitor.answered("heard", "")
        assert visitor.hear("decoded") == pytest.approx(seconds, abs=0.01)
        seen.add(visitor.source("decoded"))
        link = visitor.browser.find_element(By.CSS_SELECTOR, "#heard .vq-download").get_property("href")
        with fetched(str(link), tmp_path / f"{seconds}.vqa").open("rb") as file:
            assert codec.read(file).duration_s == pytest.approx(seconds, abs=0.01)  # type: ignore[union-attr]
    assert len(seen) == 2
    visitor.browser.close()
    visitor.browser.switch_to.window(next(iter(lengths)))


def test_a_phone_shows_it_all(visitor: Visitor, talk: Path) -> None:
    """On a screen of 390 pixels nothing is wider than the screen, and players and buttons can be hit with a finger."""
    metrics = {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    visitor.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        visitor.come()
        visitor.drop("sound", talk)
        visitor.ask("code", "heard")
        for player in visitor.browser.find_elements(By.CSS_SELECTOR, "#heard audio"):
            assert player.size["width"] >= 0.7 * PHONE
            assert player.size["height"] >= 40
        for tab in ("Sound", "New speech", "Pictures"):
            visitor.open_tab(tab)
            assert visitor.browser.execute_script("return document.documentElement.scrollWidth") <= PHONE, tab
            shown = [one for one in visitor.browser.find_elements(By.CSS_SELECTOR, "button.lg") if one.is_displayed()]
            assert shown
            assert all(button.size["height"] >= 40 for button in shown), tab
    finally:
        visitor.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_comes_from_elsewhere(visitor: Visitor) -> None:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    loaded = visitor.browser.execute_script(script)
    assert loaded
    assert [name for name in loaded if not name.startswith((visitor.address, "data:", "blob:"))] == []


def test_only_this_machine_reaches_it(address: str) -> None:
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
        socket.create_connection(("127.0.0.2", port), 5)


def test_a_taken_port_is_one_line(models: Models) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be had"), served(models, "cpu", Limits(), port):
            pass


def test_nothing_stays_behind(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with served(models, "cpu", Limits(), None) as address:
        assert urllib.request.urlopen(address).status == 200
        assert len(list(tmp_path.glob("vqaudio-studio-*"))) == 1
    assert list(tmp_path.glob("vqaudio-studio-*")) == []
