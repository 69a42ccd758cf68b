"""The C decoder as WebAssembly: in node the same codes and sound, in a browser a page that plays what is dropped."""

import functools
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import browser
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from sounds import noise

import vqaudio

PAGE = Path(__file__).resolve().parents[2] / "recipes" / "c-decoder" / "page"


@pytest.fixture(scope="module")
def built(vocoded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, with a tiny model."""
    if shutil.which("clang") is None or shutil.which("wasm-ld") is None:
        pytest.skip("needs clang and wasm-ld: apt-get install clang lld wasi-libc libclang-rt-dev-wasm32")
    empty = tmp_path_factory.mktemp("wasm") / "empty.c"
    empty.write_text("#include <stdlib.h>\nint main(void) { return 0; }\n")
    words = ["clang", "--target=wasm32-wasi", str(empty), "-o", str(empty.with_suffix(".wasm"))]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs a C library for WebAssembly: apt-get install wasi-libc libclang-rt-dev-wasm32")
    target = tmp_path_factory.mktemp("page")
    done = subprocess.run([PAGE / "build.sh", target, vocoded_model], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return target


def in_node(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("node") is None:
        pytest.skip("needs node on the path: apt-get install nodejs")
    command = ["env", *(f"{name}={value}" for name, value in environment.items()), "node", str(PAGE / "decode.mjs")]
    return subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("coder", "channels"), [("packed", 2), ("prior", 1)])
def test_in_node(built: Path, vocoded_model: Path, tmp_path: Path, coder: str, channels: int) -> None:
    codec, path, output = vqaudio.load(vocoded_model, "cpu"), tmp_path / "a.vqa", tmp_path / "out"
    stream = codec.encode(noise(channels, 40_000), 22_050, coder=coder)
    stream.save(path)
    done = in_node(built, path, output, SEED="5")
    assert (done.returncode, done.stderr) == (0, "")
    found = np.fromfile(output, np.float32).reshape(-1, channels).T
    reference = codec.decode(stream, seed=5)
    assert found.shape == reference.shape
    assert np.square(found - reference).sum() < 1e-6 * np.square(reference).sum()
    assert in_node(built, "--codes", path, output).returncode == 0
    assert np.array_equal(np.fromfile(output, np.uint16).reshape(channels, -1), stream.tokens)


def test_node_says_what_is_wrong(built: Path, tmp_path: Path) -> None:
    (tmp_path / "a.vqa").write_text("no stream at all\n")
    done = in_node(built, tmp_path / "a.vqa", tmp_path / "out")
    assert done.returncode == 1
    assert "is no .vqa stream" in done.stderr
    assert not (tmp_path / "out").exists()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


def _seconds(session: webdriver.Chrome, wait: WebDriverWait) -> float:
    """The length of what the page plays, as soon as it knows."""
    return float(wait.until(lambda _: session.execute_script("return document.getElementById('sound').duration")))


def test_in_a_browser(built: Path, vocoded_model: Path, tmp_path: Path) -> None:
    stream = vqaudio.load(vocoded_model, "cpu").encode(noise(1, 32_000), 16_000)
    stream.save(tmp_path / "talk.vqa")
    (tmp_path / "text.vqa").write_text("no stream at all\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with browser.chromium(tmp_path / "profile") as session:
            session.get(f"http://127.0.0.1:{server.server_port}/index.html")
            wait = WebDriverWait(session, 60)
            said = session.find_element("id", "said")
            wait.until(lambda _: said.text == "Ready.")
            for name, words in (("talk.vqa", "2.00 s of sound"), ("text.vqa", "is no .vqa stream")):
                session.find_element("id", "file").send_keys(str(tmp_path / name))
                wait.until(lambda _, name=name: said.text.startswith(name))
                assert words in said.text
                if name == "talk.vqa":
                    assert _seconds(session, wait) == pytest.approx(2.0, abs=0.01)
    finally:
        server.shutdown()
        server.server_close()
