"""Models on the Hugging Face hub, tried on a stand-in server: no test reaches the network."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import children
import hub_server
import pytest

from vqaudio.codecs.hub import SUMS_FILE
from vqaudio.models import checkpoint

LOAD = """
import sys, vqaudio
try:
    print(vqaudio.load(sys.argv[1], "cpu").fingerprint.hex())
except vqaudio.VqaudioError as error:
    print(error)
"""


class Client:
    """Runs programs for which the stand-in is the hub: huggingface_hub reads its address when it is imported."""

    def __init__(self, address: str, home: Path) -> None:
        self._home, self._address = home, address

    def _run(self, *words: object, token: str = "hf_right") -> subprocess.CompletedProcess[str]:
        variables = {"HF_ENDPOINT": self._address, "HF_HOME": str(self._home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        variables |= {"HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(
            command, env=children.environment(**variables), capture_output=True, text=True, cwd=self._home, check=False
        )

    def push(self, *words: object, token: str = "hf_right") -> subprocess.CompletedProcess[str]:
        return self._run("-m", "vqaudio", "push", *words, token=token)

    def load(self, address: str) -> str:
        done = self._run("-c", LOAD, address)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        return done.stdout.strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, hub_server.Hub]]:
    with hub_server.running() as (address, hub):
        yield Client(address, tmp_path_factory.mktemp("home")), hub


def test_a_model_goes_there_and_comes_back(
    served: tuple[Client, hub_server.Hub], tiny_model: Path, other_model: Path
) -> None:
    client, hub = served
    first = client.push(tiny_model, "ann/tiny", "--message", "the first")
    assert first.returncode == 0, first.stderr
    pinned = first.stdout.strip()
    assert pinned == f"hf://ann/tiny@{hub.branches['ann/tiny']['main']}"
    assert client.push(other_model, "hf://ann/tiny").returncode == 0
    names = [checkpoint.fingerprint(folder).hex() for folder in (tiny_model, other_model)]
    assert client.load("hf://ann/tiny") == names[1]
    assert client.load(pinned) == names[0]


def test_what_is_wrong_is_one_line(served: tuple[Client, hub_server.Hub], tiny_model: Path) -> None:
    client, hub = served
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    hub.commit("ann/unsigned", files)
    assert f"has no {SUMS_FILE}" in client.load("hf://ann/unsigned")
    assert client.push(tiny_model, "ann/changed").returncode == 0
    whole = hub.commits["ann/changed"][hub.branches["ann/changed"]["main"]]
    hub.commit("ann/changed", {**whole, checkpoint.WEIGHTS_FILE: whole[checkpoint.WEIGHTS_FILE][:-1] + b"x"})
    assert "the checksum of model.safetensors is wrong" in client.load("hf://ann/changed")
    assert "cannot be fetched" in client.load("hf://ann/nothing")
    assert "cannot be fetched" in client.load("hf://ann/changed@no-such-tag")
    assert "is no address on the hub" in client.load("hf://ann")
    refused = client.push(tiny_model, "ann/tiny", token="hf_wrong")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "is refused" in refused.stderr
