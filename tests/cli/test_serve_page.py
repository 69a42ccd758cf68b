"""The page of ``vqaudio serve`` in a real browser, with a microphone that hears a file."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import chromium
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from serving import Served, coded, eventually, serving
from sounds import noise

from vqaudio.bitstream.packets import PacketReader
from vqaudio.cli.web.limits import Limits
from vqaudio.cli.web.session import Session
from vqaudio.codecs.speech import Codec, load

PATIENCE_S = 120


@pytest.fixture(scope="module")
def codec(vocoded_model: Path) -> Codec:
    return load(vocoded_model, "cpu")


@pytest.fixture(scope="module")
def served(codec: Codec) -> Iterator[Served]:
    with serving({"first": codec, "second": codec}, Limits(clients=1)) as running:
        yield running


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    folder = tmp_path_factory.mktemp("browser")
    soundfile.write(folder / "heard.wav", noise(1, 48000, amplitude=0.2)[0], 48000, subtype="PCM_16")
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium(folder / "profile", *fake, f"--use-file-for-fake-audio-capture={folder / 'heard.wav'}") as browser:
        yield browser


@pytest.fixture
def page(session: Chrome, served: Served) -> Iterator[Chrome]:
    """The page, loaded, and its models there."""
    session.get(served.url)
    until(session, "!element('begin').disabled")
    yield session
    session.get("about:blank")
    assert served.emptied()


def until(session: Chrome, condition: str) -> None:
    WebDriverWait(session, PATIENCE_S, 0.05).until(lambda _: session.execute_script(f"return {condition}"))


def press(session: Chrome, name: str) -> None:
    session.find_element(By.ID, name).click()


def text_of(session: Chrome, name: str) -> str:
    return session.find_element(By.ID, name).text


def pcm(session: Chrome, name: str) -> bytes:
    """All samples of the page's ``original`` or ``decoded`` sound."""
    found = session.execute_script(f"return Array.from(live.{name}.data.subarray(0, live.{name}.length))")
    return np.array(found, "<i2").tobytes()


def speak(session: Chrome, seconds: float = 1.0) -> None:
    """Begins, and waits until so much has come back."""
    press(session, "begin")
    until(session, f"live.state === 'live' && live.decoded.length > {seconds} * live.rateHz")


def finish(session: Chrome) -> None:
    press(session, "end")
    until(session, "live.state === 'over'")


def test_what_the_page_has_is_what_coding_gives(page: Chrome, codec: Codec) -> None:
    assert [one.text for one in Select(page.find_element(By.ID, "model")).options] == ["first", "second"]
    Select(page.find_element(By.ID, "model")).select_by_visible_text("second")
    speak(page)
    finish(page)
    assert text_of(page, "error") == ""
    rate_hz = page.execute_script("return live.rateHz")
    original = pcm(page, "original")
    codes, sound = coded(codec, original, rate_hz)
    assert len(original) >= 2 * rate_hz
    assert np.abs(np.frombuffer(original, "<i2")).max() > 1000  # the microphone heard the file
    assert pcm(page, "decoded") == sound
    packets = page.execute_script("return live.packets.flatMap(packet => Array.from(new Uint8Array(packet)))")
    reader = PacketReader()
    assert np.array_equal(np.concatenate([one.codes for one in reader.push(bytes(packets))], axis=1), codes)
    assert reader.ended


def test_it_shows_bit_rate_delay_and_spectrograms_while_one_speaks(page: Chrome, codec: Codec) -> None:
    assert text_of(page, "rate") == "–"
    speak(page, 0.5)
    until(page, "parseFloat(element('rate').textContent) > 0 && parseFloat(element('delay').textContent) > 0")
    rate_hz = page.execute_script("return live.rateHz")
    promised_s = codec.stream_encoder(rate_hz, gain=None).delay_s + codec.stream_decoder(sample_rate_hz=rate_hz).delay_s
    assert text_of(page, "promised") == f"{1000 * promised_s:.0f} ms"
    finish(page)
    packets, seconds = page.execute_script("return [new Blob(live.packets).size, live.original.length / live.rateHz]")
    until(page, f"element('mean').textContent === '{8 * packets / seconds / 1000:.2f} kb/s'")
    for name in ("original", "decoded"):
        colours = page.execute_script(
            f"const canvas = element('{name}');"
            "const data = new Uint32Array(canvas.getContext('2d').getImageData(560, 0, 80, 160).data.buffer);"
            "return new Set(data).size"
        )
        assert colours > 100
    assert page.get_log("browser") == []


@pytest.mark.parametrize(("hz", "row"), [(1000, 140), (4000, 80), (7000, 20)])
def test_a_tone_is_where_it_belongs_in_the_spectrogram(page: Chrome, hz: int, row: int) -> None:
    brightest = page.execute_script(
        "const canvas = document.createElement('canvas'); canvas.width = 40; canvas.height = 160;"
        "const picture = new Spectrogram(canvas, 48000);"
        f"picture.push(Float32Array.from({{ length: 48000 }}, (_, n) => Math.sin(2 * Math.PI * {hz} * n / 48000) / 4));"
        "const data = canvas.getContext('2d').getImageData(39, 0, 1, 160).data;"
        "const sums = Array.from({ length: 160 }, (_, y) => data[4 * y] + data[4 * y + 1] + data[4 * y + 2]);"
        "return sums.indexOf(Math.max(...sums))"
    )
    assert abs(brightest - row) <= 2


def test_one_chooses_what_is_heard_then_and_afterwards(page: Chrome) -> None:
    speak(page, 0.3)
    gains = "return live.mixer.gains.map(([, gain]) => gain.value)"
    assert page.execute_script(gains) == [0, 0]
    for name, expected in (("original", [1, 0]), ("decoded", [0, 1])):
        page.find_element(By.CSS_SELECTOR, f"input[value={name}]").click()
        assert page.execute_script(gains) == expected
    until(page, "live.waitingS > 0")
    assert "to the ear" in text_of(page, "delay")
    finish(page)
    assert page.find_element(By.ID, "save-sound").is_displayed()
    assert page.find_element(By.ID, "save-packets").get_attribute("href").startswith("blob:")
    press(page, "replay")
    assert page.find_element(By.ID, "replay").get_attribute("aria-pressed") == "true"
    page.find_element(By.CSS_SELECTOR, "input[value=original]").click()
    assert page.execute_script(gains) == [1, 0]
    until(page, "replaying === null")
    assert page.find_element(By.ID, "replay").get_attribute("aria-pressed") == "false"


def test_where_the_server_is_behind_sound_is_left_out_and_the_rest_goes_on(
    page: Chrome, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, push = threading.Event(), Session.push

    def wait(self: Session, data: bytes) -> list[bytes]:
        gate.wait(PATIENCE_S)
        return push(self, data)

    monkeypatch.setattr(Session, "push", wait)
    press(page, "begin")
    until(page, "live.dropped > 0")
    gate.set()
    before = page.execute_script("return live.original.length")
    until(page, f"live.original.length > {before}")
    finish(page)
    assert float(text_of(page, "dropped").split()[0]) > 0
    assert pcm(page, "decoded") == coded(codec, pcm(page, "original"), page.execute_script("return live.rateHz"))[1]


def test_what_goes_wrong_is_said_and_one_may_begin_again(page: Chrome, served: Served) -> None:
    with served.connect():
        assert eventually(lambda: served.service.clients == 1)
        press(page, "begin")
        until(page, "live && live.state === 'over'")
        assert text_of(page, "error") == "The server says: all 1 places are taken; come again later."
    assert served.emptied()
    page.execute_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined, configurable: true })")
    press(page, "begin")
    until(page, "live.state === 'over'")
    assert "pages of https and of this machine" in text_of(page, "error")
    page.execute_script("delete navigator.mediaDevices")
    speak(page, 0.2)
    assert text_of(page, "error") == ""
    finish(page)


def test_a_server_that_ends_is_told_and_what_came_is_kept(session: Chrome, codec: Codec) -> None:
    with serving({"only": codec}) as own:
        session.get(own.url)
        until(session, "!element('begin').disabled")
        speak(session, 0.3)
        own.stop()
        until(session, "live.state === 'over'")
    assert text_of(session, "error") == "The connection to the server is lost; what came by then is kept."
    assert session.find_element(By.ID, "replay").is_enabled()


def test_a_phone_shows_all_of_it(page: Chrome) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert page.execute_script("return document.documentElement.scrollWidth") == 360
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
