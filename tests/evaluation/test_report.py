"""The page of an evaluation: whole, safe from what files are called, and heard in a real browser."""

import io
import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import chromium
from matplotlib import image
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from vqaudio.cli import main as cli
from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.codecs.speech import Codec
from vqaudio.errors import ConfigError, DataError
from vqaudio.evaluation.metrics import Mean
from vqaudio.evaluation.phones import PhoneMap
from vqaudio.evaluation.report import Gallery, Rival, figure_of, read_rivals, render
from vqaudio.evaluation.report.pictures import phone_png, pitch_svg
from vqaudio.evaluation.speech import EvaluationOptions, evaluate

RATE = 16000
HOSTILE = '"><img src=x onerror=alert(1)>'
SPOKEN = "</blockquote></script><script>alert(2)</script> {{ 7 * 7 }} & $x$"
RIVALS = [Rival("Codec 2 <b>", {"bits_per_second": Mean(1300, 1290, 1310, 3), "stoi": Mean(0.8, 0.7, 0.9, 3)})]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of half a second with names and words that try to become part of the page."""
    root = tmp_path_factory.mktemp("corpus")
    wave, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    lines = ["path\tspeaker\tgroup\ttranscript"]
    for index, name in enumerate(("1.wav", f"{HOSTILE}.wav", "3.wav")):
        soundfile.write(root / name, wave[(index + 1) * RATE :][: RATE // 2], RATE)
        lines.append(f"{name}\t<i>ann</i>\t{'ab'[index > 1]}<u>\t{SPOKEN}")
    (root / "manifest.tsv").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def page(talking_codec: Codec, corpus: Path) -> str:
    gallery = Gallery(2)
    result = evaluate(talking_codec, corpus, EvaluationOptions(metrics=("stoi", "mel")), watch=gallery.watch)
    return render(f"model {HOSTILE}", result, gallery, RIVALS)


class Elements(HTMLParser):
    """The elements of a page, each with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    elements = Elements(page).found
    sources = [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "srcset")]
    assert len(sources) == 3 * (2 + 2 + 1)
    assert all(source and source.startswith("data:") for source in sources)
    links = [attributes["href"] for tag, attributes in elements if tag in ("a", "link")]
    assert links == ["data:,", "#listen", "abx.html", "mushra.html"]  # beside it
    assert "default-src 'none'" in page


def test_what_files_are_called_stays_text(page: str) -> None:
    elements = Elements(page).found
    assert sum(tag == "script" for tag, _ in elements) == 1
    assert not [tag for tag, attributes in elements if any(name.startswith("on") for name in attributes)]
    assert sum(tag == "i" for tag, _ in elements) == 6  # the lines that follow the sound
    assert not [tag for tag, _ in elements if tag in ("u", "b")]
    assert "{{ 7 * 7 }} &amp; $x$" in page


def test_the_page_shows_what_was_measured(page: str, corpus: Path) -> None:
    text = re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL))
    for word in ("STOI", "log-mel distance, dB", "3 utterances", "of 100 codes used", "tokens, a colour a code"):
        assert word in text
    assert page.count("<article") == 3  # two of one group, one of the other
    assert page.count("<svg") == 1 + 6  # codecs, and a contour of each sound


def test_without_other_codecs_there_is_no_plot(talking_codec: Codec, corpus: Path) -> None:
    result = evaluate(talking_codec, corpus, EvaluationOptions(metrics=(), limit=1))
    assert "<svg" not in render("m", result, Gallery(0))


def test_rivals_are_read_and_what_was_not_measured_left_out(tmp_path: Path) -> None:
    figures = {
        "stoi": {"value": 0.8, "low": 0.7, "high": 0.9, "count": 3},
        "pesq_nb": {"value": None, "low": None, "high": None, "count": 0},
    }
    (tmp_path / "quality.json").write_text(json.dumps({"codecs": {"Codec 2": {"ours": False, "figures": figures}}}))
    assert read_rivals(tmp_path / "quality.json") == [Rival("Codec 2", {"stoi": Mean(0.8, 0.7, 0.9, 3)})]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"codecs": 3}',
        '{"codecs": {"a": {}}}',
        '{"codecs": {"a": {"ours": 1, "figures": {"x": {"y": 1}}}}}',
    ],
)
def test_another_file_is_no_benchmark(tmp_path: Path, text: str) -> None:
    (tmp_path / "quality.json").write_text(text)
    with pytest.raises(DataError, match="is no benchmark"):
        read_rivals(tmp_path / "quality.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_rivals(tmp_path / "none.json")


def test_figures_are_printed_with_their_digits() -> None:
    assert figure_of("stoi").format(0.71234) == "0.712"
    assert figure_of("bits_per_second").format_mean(Mean(2350, 2300, 2400, 5)) == "2.35 [2.30, 2.40]"
    assert figure_of("stoi").format(math.nan) == figure_of("stoi").format(None) == "–"
    assert figure_of("new_figure").label == "new figure"


def test_a_contour_is_drawn_where_there_is_a_voice() -> None:
    track = np.array([math.nan, 60, 500, math.nan, 173.2, 60])
    assert '<path d="M1 100.0 L2 0.0 M4 50.0 L5 100.0"/>' in pitch_svg(track)
    assert '<path d=""/>' in pitch_svg(np.full(3, math.nan))


def test_phones_are_shown_beside_chance(talking_codec: Codec, corpus: Path) -> None:
    counts = np.zeros((40, 100), np.int64)
    counts[[0, 3, 5], [7, 9, 9]] = 4, 3, 1
    found = PhoneMap(0.5, 0.25, 0.375, 0.125, 20, 3, 800, counts)
    result = evaluate(talking_codec, corpus, EvaluationOptions(metrics=(), limit=1))
    page = render("m", result, Gallery(0), (), found)
    for words in ("50.0 % of 800 frames", "without silence 25.0 %", "MFCC: 37.5 %", "12.5 %", "3 more could not"):
        assert words in page
    picture = image.imread(io.BytesIO(phone_png(counts)))
    assert picture.shape[:2] == (40, 2)  # two codes occur
    assert picture[0, 0, 1] > picture[3, 1, 1] > picture[5, 1, 1] > picture[0, 1, 1]  # the greener, the more


def test_without_the_template_engine_the_report_is_refused(
    talking_codec: Codec, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = evaluate(talking_codec, corpus, EvaluationOptions(metrics=(), limit=1))
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ConfigError, match="jinja2 is not installed"):
        render("m", result, Gallery(0))


def test_the_verb_writes_a_page(talking_model: Path, corpus: Path, tmp_path: Path) -> None:
    command = ["evaluate", str(talking_model), "--data", str(corpus), "--metrics", "stoi", "--listen", "1"]
    command += ["--report", str(tmp_path / "page"), "--json", str(tmp_path / "all.json"), "--limit", "1"]
    assert cli.main(command) == 0
    assert (tmp_path / "page" / "index.html").read_text(encoding="utf-8").count("<article") == 2
    names = {path.name for path in (tmp_path / "page").iterdir()}
    assert names == {"index.html", "abx.html", "mushra.html", "sounds"}
    assert len(list((tmp_path / "page" / "sounds").iterdir())) == 2 * 3  # original, decoded, anchor
    assert cli.main(command) == 1  # both exist
    assert cli.main([*command, "--force"]) == 0


def test_a_model_with_speakers_is_heard_in_other_voices(voiced_model: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "bob").mkdir(parents=True)
    wave, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    soundfile.write(tmp_path / "corpus" / "bob" / "1.wav", wave[RATE : 2 * RATE], RATE)
    command = ["evaluate", str(voiced_model), "--data", str(tmp_path / "corpus"), "--metrics", "mel", "--force"]
    for speakers, names in (((), ("ann", "anna")), (("bob",), ("bob",))):
        words = [word for speaker in speakers for word in ("--speaker", speaker)]
        assert cli.main([*command, "--report", str(tmp_path / "page"), *words]) == 0
        page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
        captions = re.findall("<figcaption>([^<]*)</figcaption>", page)[:-1]
        assert captions == ["original", "decoded", *(f"converted to {name}" for name in names)]
    assert cli.main([*command, "--report", str(tmp_path / "page"), "--speaker", "zed"]) == 1


# ----------------------------------------------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def opened(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "index.html").write_text(page, encoding="utf-8")
    with chromium(folder / "profile") as session:
        session.get((folder / "index.html").as_uri())
        yield session


def until(session: Chrome, condition: str, *arguments: object) -> None:
    """Waits for a JavaScript ``condition``."""
    WebDriverWait(session, 20, 0.05).until(lambda _: session.execute_script(f"return {condition}", *arguments))


PLAYS = "!arguments[0].paused && arguments[0].currentTime > 0"


def test_every_player_loads_its_sound(opened: Chrome) -> None:
    players = opened.find_elements(By.TAG_NAME, "audio")
    assert len(players) == 6
    for player in players:
        until(opened, "arguments[0].readyState >= 1", player)
        assert opened.execute_script("return arguments[0].duration", player) == pytest.approx(0.5, abs=0.001)
    for picture in opened.find_elements(By.TAG_NAME, "img"):
        assert opened.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", picture)


def test_a_click_plays_one_sound_and_stops_the_other(opened: Chrome) -> None:
    opened.execute_script("for (const a of document.querySelectorAll('audio')) a.loop = true")  # they are short
    first, second = opened.find_elements(By.TAG_NAME, "audio")[:2]
    left = -first.size["width"] // 2 + 24  # where the browser draws its own button
    ActionChains(opened).scroll_to_element(first).move_to_element_with_offset(first, left, 0).click().perform()
    until(opened, PLAYS, first)
    opened.find_elements(By.CLASS_NAME, "view")[1].click()
    until(opened, PLAYS, second)
    until(opened, "arguments[0].paused", first)  # told by an event, a moment after
    opened.find_element(By.CLASS_NAME, "switch").click()
    until(opened, PLAYS, first)
    until(opened, "arguments[0].paused", second)
    opened.execute_script("arguments[0].pause()", first)


def test_the_keyboard_reaches_and_plays(opened: Chrome) -> None:
    view, player = opened.find_elements(By.CLASS_NAME, "view")[2], opened.find_elements(By.TAG_NAME, "audio")[2]
    opened.execute_script("arguments[0].focus()", view)
    ActionChains(opened).send_keys(Keys.ENTER).perform()
    until(opened, PLAYS, player)
    ActionChains(opened).send_keys(Keys.ENTER).perform()
    until(opened, "arguments[0].paused", player)
    ActionChains(opened).send_keys(Keys.TAB).perform()
    assert opened.execute_script("return document.activeElement.tagName") == "AUDIO"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_light_and_dark(opened: Chrome, scheme: str) -> None:
    opened.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert opened.execute_script("return document.documentElement.scrollWidth") == 360
    colours = [
        sum(map(int, re.findall(r"\d+", opened.execute_script(f"return getComputedStyle(document.body).{name}"))[:3]))
        for name in ("backgroundColor", "color")
    ]
    assert (colours[0] > colours[1]) == (scheme == "light")
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_console_stays_empty(opened: Chrome) -> None:
    """After all of the above."""
    assert opened.get_log("browser") == []
    assert opened.title == f"model {HOSTILE}: evaluation"
