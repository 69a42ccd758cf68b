"""Models on the Hugging Face hub, tried on a stand-in server: no test reaches the network."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import children
import hub_server
import pytest

from vqaudio.codecs.hub import SUMS_FILE
from vqaudio.models import checkpoint

# huggingface_hub reads the hub's address when it is imported: a process of its own answers a line for each line
SERVANT = """
import contextlib, io, json, os, sys
import vqaudio
from vqaudio.cli.main import main
for line in sys.stdin:
    verb, token, *words = json.loads(line)
    os.environ["HF_TOKEN"] = token
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if verb == "load":
            try:
                print(vqaudio.load(words[0], "cpu").fingerprint.hex())
            except vqaudio.VqaudioError as error:
                print(error)
            code = 0
        else:
            code = main([verb, *words])
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Client:
    """Runs verbs for which the stand-in is the hub."""

    def __init__(self, address: str, home: Path) -> None:
        variables = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        variables |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        command = [sys.executable, "-c", SERVANT]
        self.process = subprocess.Popen(command, env=children.environment(**variables), cwd=home, **streams)

    def run(self, verb: str, *words: object, token: str = "hf_right") -> tuple[int, str, str]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([verb, token, *map(str, words)]) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        return code, out, err

    def load(self, address: str) -> str:
        _, out, _ = self.run("load", address)
        assert out.count("\n") == 1
        return out.strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, hub_server.Hub]]:
    with hub_server.running() as (address, hub):
        client = Client(address, tmp_path_factory.mktemp("home"))
        yield client, hub
        client.process.communicate()  # its input ends, and so does it


def test_a_model_goes_there_and_comes_back(
    served: tuple[Client, hub_server.Hub], tiny_model: Path, other_model: Path
) -> None:
    client, hub = served
    code, out, err = client.run("push", tiny_model, "ann/tiny", "--message", "the first")
    assert code == 0, err
    pinned = out.strip()
    assert pinned == f"hf://ann/tiny@{hub.branches['ann/tiny']['main']}"
    assert client.run("push", other_model, "hf://ann/tiny")[0] == 0
    names = [checkpoint.fingerprint(folder).hex() for folder in (tiny_model, other_model)]
    assert client.load("hf://ann/tiny") == names[1]
    assert client.load(pinned) == names[0]


def test_what_is_wrong_is_one_line(served: tuple[Client, hub_server.Hub], tiny_model: Path) -> None:
    client, hub = served
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.name != SUMS_FILE}
    hub.commit("ann/unsigned", files)
    assert f"has no {SUMS_FILE}" in client.load("hf://ann/unsigned")
    assert client.run("push", tiny_model, "ann/changed")[0] == 0
    whole = hub.commits["ann/changed"][hub.branches["ann/changed"]["main"]]
    hub.commit("ann/changed", {**whole, checkpoint.WEIGHTS_FILE: whole[checkpoint.WEIGHTS_FILE][:-1] + b"x"})
    assert "the checksum of model.safetensors is wrong" in client.load("hf://ann/changed")
    assert "cannot be fetched" in client.load("hf://ann/nothing")
    assert "cannot be fetched" in client.load("hf://ann/changed@no-such-tag")
    assert "is no address on the hub" in client.load("hf://ann")
    code, _, err = client.run("push", tiny_model, "ann/tiny", token="hf_wrong")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "is refused" in err
