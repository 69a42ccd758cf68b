"""The pages of listening tests, gone through in a real browser from disk and from a web server."""

import csv
import functools
import json
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import chromium
from scipy import stats
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from vqaudio.evaluation.report.listening import ANCHOR, ListeningCase, anchor_of, listening_files

RATE = 16000
HOSTILE = "</script><script>alert(1)</script> {{ 7 * 7 }}"
SYSTEMS = ("original", "decoded", "other, <b>codec</b>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of three utterances by three systems."""
    root, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    waves = [(rng.standard_normal(RATE) * 0.1).astype(np.float32) for _ in range(3)]
    cases = [
        ListeningCase(f"{HOSTILE} {number}", RATE, {name: wave * (index + 1) for index, name in enumerate(SYSTEMS)})
        for number, wave in enumerate(waves)
    ]
    (root / "sounds").mkdir()
    for path, data in listening_files(HOSTILE, cases):
        (root / path).write_bytes(data)
    return root


@pytest.fixture(scope="module", params=["file", "http"])
def opened(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    downloads = tmp_path_factory.mktemp("downloads")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with chromium(downloads / "profile") as session:
        session.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        session.base = folder.as_uri() if request.param == "file" else f"http://127.0.0.1:{server.server_port}"
        session.downloads = downloads
        yield session
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def until(session: Chrome, condition: str, *arguments: object) -> None:
    WebDriverWait(session, 20, 0.05).until(lambda _: session.execute_script(f"return {condition}", *arguments))


def press(session: Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(session).send_keys(key).perform()


def saved(session: Chrome, name: str) -> list[dict[str, str]]:
    path = Path(session.downloads) / name
    path.unlink(missing_ok=True)
    session.find_element(By.ID, "csv").click()
    WebDriverWait(session, 20, 0.05).until(lambda _: path.exists() and path.stat().st_size > 0)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hidden_x(session: Chrome) -> str:
    """ "a" or "b", which nobody who listens can see."""
    sources = session.execute_script("return deck.players.map(player => player.src)")
    return "ab"[sources[:2].index(sources[2])]


def test_abx_by_keyboard_tallies_what_was_answered(opened: Chrome) -> None:
    opened.get(f"{opened.base}/abx.html")
    count = opened.find_element(By.ID, "count")
    count.clear()
    count.send_keys("12")
    opened.find_element(By.ID, "begin").click()
    truth, answers = [], "abababababaa"
    for number, answer in enumerate(answers, start=1):
        assert opened.find_element(By.ID, "number").text == f"Trial {number} of 12"
        press(opened, "3")
        until(opened, "deck.playing && deck.players[2].currentTime > 0")
        press(opened, "1")
        until(opened, "deck.current === 0 && deck.playing && deck.players[2].paused")
        truth.append(hidden_x(opened))
        press(opened, answer)
    hits = sum(map(str.__eq__, truth, answers))
    interval = stats.binomtest(hits, 12).proportion_ci(0.95, "exact")
    verdict = opened.find_element(By.ID, "verdict").text
    assert f"{hits} of 12 right" in verdict
    assert f"95 % interval {100 * interval.low:.0f} % to {100 * interval.high:.0f} %" in verdict
    guess = stats.binomtest(hits, 12, 0.5, "greater").pvalue
    assert float(re.search(r"probability of (\S+)\.", verdict)[1]) == pytest.approx(guess, rel=0.05)
    rows = saved(opened, "abx.csv")
    assert [row["x"].lower() for row in rows] == truth
    assert [row["answer"].lower() for row in rows] == list(answers)
    assert sum(int(row["right"]) for row in rows) == hits
    assert {(row["a"], row["b"]) for row in rows} == {SYSTEMS[:2]}
    assert {row["utterance"] for row in rows} == {f"{HOSTILE} {number}" for number in range(3)}


def test_abx_takes_turns_at_random(opened: Chrome) -> None:
    opened.get(f"{opened.base}/abx.html")
    drawn = opened.execute_script("return Array.from({ length: 4000 }, () => randomBelow(2))")
    assert stats.binomtest(sum(drawn), len(drawn)).pvalue > 1e-6
    orders = opened.execute_script("return Array.from({ length: 600 }, () => shuffled([0, 1, 2]).join(''))")
    assert stats.chisquare([orders.count(order) for order in set(orders)]).pvalue > 1e-6
    assert len(set(orders)) == 6


def test_abx_wants_two_systems(opened: Chrome) -> None:
    opened.get(f"{opened.base}/abx.html")
    Select(opened.find_element(By.ID, "system-b")).select_by_visible_text("original")
    opened.find_element(By.ID, "begin").click()
    assert opened.find_element(By.ID, "same").is_displayed()
    Select(opened.find_element(By.ID, "system-b")).select_by_visible_text(SYSTEMS[2])
    opened.find_element(By.ID, "begin").click()
    assert opened.find_element(By.ID, "trial").is_displayed()


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (9, 16), (1, 200), (137, 200)])
def test_the_interval_is_that_of_clopper_and_pearson(opened: Chrome, hits: int, count: int) -> None:
    opened.get(f"{opened.base}/abx.html")
    found = opened.execute_script("return exactInterval(...arguments)", hits, count)
    assert found == pytest.approx(list(stats.binomtest(hits, count).proportion_ci(0.95, "exact")), abs=1e-6)


def rate(session: Chrome, ratings: dict[str, int]) -> None:
    """Sets each system's slider on the page in hand."""
    order = session.execute_script("return state.pages[state.ratings.length].order")
    for slider, system in zip(session.find_elements(By.CSS_SELECTOR, "#ratings input"), order, strict=True):
        session.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, ratings[system]
        )


def test_mushra_rates_every_system_with_a_hidden_reference_and_an_anchor(opened: Chrome) -> None:
    opened.get(f"{opened.base}/mushra.html")
    opened.find_element(By.ID, "begin").click()
    ratings = {SYSTEMS[0]: 100, SYSTEMS[1]: 80, SYSTEMS[2]: 60, ANCHOR: 20}
    for page in range(3):
        assert opened.find_element(By.ID, "number").text == f"Page {page + 1} of 3"
        assert not any(name in opened.find_element(By.ID, "trial").text for name in ratings)
        press(opened, "2")
        until(opened, "deck.playing && deck.current === 2 && deck.players[2].currentTime > 0")
        press(opened, "0")
        until(opened, "deck.playing && deck.current === 0 && deck.players[2].paused")
        opened.find_element(By.ID, "next").click()
        assert opened.find_element(By.ID, "hint").is_displayed()
        rate(opened, {**ratings, SYSTEMS[1]: 80 - page})
        opened.find_element(By.ID, "next").click()
    rows = opened.find_elements(By.CSS_SELECTOR, "#tally tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == list(ratings)
    cells = [cell.text for cell in rows[1].find_elements(By.TAG_NAME, "td")]
    low, high = stats.t.interval(0.95, 2, 79, stats.sem([80, 79, 78]))
    assert cells == ["79.0", f"{low:.1f} to {high:.1f}"]
    table = saved(opened, "mushra.csv")
    assert len(table) == 12
    assert {row["rating"] for row in table if row["system"] == ANCHOR} == {"20"}


def test_a_slider_moves_by_keyboard_and_plays_its_sound(opened: Chrome) -> None:
    opened.get(f"{opened.base}/mushra.html")
    opened.find_element(By.ID, "begin").click()
    opened.execute_script("document.querySelector('#ratings input').focus()")
    until(opened, "deck.playing && deck.current === 1")
    press(opened, Keys.ARROW_RIGHT, Keys.END)
    assert opened.find_element(By.CSS_SELECTOR, "#ratings output").text == "100"


@pytest.mark.parametrize("page", ["abx.html", "mushra.html"])
def test_a_phone_shows_all_of_it_and_nothing_is_complained_of(opened: Chrome, page: str) -> None:
    opened.get(f"{opened.base}/{page}")
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    opened.find_element(By.ID, "begin").click()
    assert opened.execute_script("return document.documentElement.scrollWidth") == 360
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert opened.get_log("browser") == []
    assert "{{ 7 * 7 }}" in opened.title


def test_file_names_say_nothing_and_sounds_are_those_of_the_systems(folder: Path) -> None:
    page = (folder / "abx.html").read_text(encoding="utf-8")
    material = json.loads(re.search(r'type="application/json">(.*?)</script>', page)[1])
    files = sorted(path.name for path in (folder / "sounds").iterdir())
    assert len(files) == 12
    assert all(re.fullmatch(r"[0-9a-f]{20}\.wav", name) for name in files)
    sounds = material["cases"][0]["sounds"]
    original, _ = soundfile.read(folder / sounds["original"])
    louder, _ = soundfile.read(folder / sounds["decoded"])
    assert np.allclose(louder, 2 * original, atol=1e-4)


def test_the_anchor_keeps_what_is_low_in_time() -> None:
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (1000, 5000))
    middle = slice(1000, -1000)
    assert np.allclose(anchor_of(low + high, RATE)[middle], low[middle], atol=0.01)
    assert np.array_equal(anchor_of(low, 6000), low)
