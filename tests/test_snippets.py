"""The documentation's commands and Python, run in the order of each page, with small models for the bundled ones."""

import ast
import dataclasses
import os
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pictures
import pytest
import snippets
import soundfile
import torch
from conftest import VOCODED, Run
from PIL import Image
from sounds import talk

import vqaudio
from vqaudio.codecs import bundled
from vqaudio.codecs.voice_file import save_table
from vqaudio.models import checkpoint
from vqaudio.models.checksums import write_sums
from vqaudio.models.config import SpeakerEncoderConfig

SPEAKERS = ("460", "4640", "1970")
VOICES = dataclasses.replace(VOCODED, speakers=SPEAKERS, speaker_encoder=SpeakerEncoderConfig(12, (1, 2)))
SOUNDS = ("talk.wav", "someone.wav", "first.wav", "second.wav", "song.wav")
SAID = "Put the kettle on, please."  # in data/samples/kettle.flac
LIGHTER = {"tokenize": ["--workers", "1"], "evaluate": ["--metrics", "mel"]}  # given where a page leaves them out


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the package's own does: speech, voices and images, of random weights."""
    folder = tmp_path_factory.mktemp("pretrained")
    for name, config in (("speech", VOCODED), ("voices", VOICES)):
        torch.manual_seed(len(name))
        checkpoint.save_model(folder / name, config, checkpoint.build(config).state_dict(), {"step": 1})
    pictures.save_model(folder / "images")
    bands = VOCODED.vocoder.bands
    voice = np.concatenate([np.zeros(bands), np.ones(bands), [np.log(150), 0.2]])
    save_table(folder / "speech", dict.fromkeys(SPEAKERS, voice))
    for name in ("speech", "voices", "images"):
        write_sums(folder / name)
    return folder


def corpus(folder: Path) -> None:
    """Two utterances and their words."""
    (folder / "103").mkdir(parents=True)
    wave, rate_hz = soundfile.read(snippets.ROOT / "data" / "samples" / "kettle.flac")
    rows = ["path\tgroup\tspeaker\ttranscript"]
    for number, gain in enumerate((1.0, 0.5)):
        path = f"103/103-1240-000{number}.flac"
        soundfile.write(folder / path, gain * wave, rate_hz)
        rows.append(f"{path}\tall\t103\t{SAID}")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture
def place(run: Run, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory that the pages suppose."""
    monkeypatch.setattr(bundled, "PRETRAINED", models)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    for number, name in enumerate(SOUNDS):
        soundfile.write(tmp_path / name, talk(110.0 + 20 * number, 3.2), 16000)
    for name in ("one.flac", "deep/two.flac"):
        (tmp_path / "recordings" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "recordings" / name, talk(150.0, 0.6), 16000)
    corpus(tmp_path / "CORPUS")
    (tmp_path / "PICTURES").mkdir()
    for name in ("photo.jpg", "PICTURES/a.png", "PICTURES/b.png"):
        Image.fromarray(pictures.gradient(24, 24)).save(tmp_path / name)
    shutil.copytree(models / "voices", tmp_path / "MODEL")
    shutil.copytree(models / "speech", tmp_path / "runs" / "speech" / "model")
    return tmp_path


def walks() -> list[object]:
    """The commands of each page's blocks, one after the other; and each command inside a sentence by itself."""
    found = []
    for page in snippets.PAGES:
        walked = [snippet for snippet in snippets.snippets(page) if snippets.is_walked(snippet)]
        if blocks := [snippet.text for snippet in walked if not snippet.inline]:
            found.append(pytest.param(blocks, id=page.name))
        found += [pytest.param([one.text], id=f"{page.name}: {one.text}") for one in walked if one.inline]
    return found


@pytest.mark.parametrize("commands", walks())
def test_commands_of_a_page_work_in_their_order(commands: list[str], run: Run, place: Path) -> None:
    for command in commands:
        for part in command.split("&&"):
            verb, *words = shlex.split(os.path.expandvars(part))[1:]
            more = [] if "images" in words else LIGHTER.get(verb, [])
            done = run(verb, *words, *([] if set(more) & set(words) else more))
            assert done.code == 0, f"{part}: {done.err}"


def python_of(page: str) -> str:
    (found,) = (one.text for one in snippets.snippets(snippets.ROOT / "docs" / page) if one.python)
    return found


def test_the_python_of_live_sound_runs(place: Path) -> None:
    known = {"vqaudio": vqaudio, "block": talk(120.0, 1.0, 48000)}
    exec(python_of("live.md"), known)
    assert known["codes"].shape[0] == 8
    assert known["wave"].ndim == 1


def test_the_python_of_packets_runs(run: Run, place: Path) -> None:
    assert run("encode", "talk.wav", "--coder", "packed").code == 0
    sent: list[bytes] = []
    exec(python_of("packets.md"), {"vqaudio": vqaudio, "socket": SimpleNamespace(send=sent.append)})
    assert len(sent[0]) == 60
    assert len(sent) > 10


# ------------------------------------------------------------------------------------------------------ the list itself


def test_every_snippet_is_run_or_has_a_reason() -> None:
    left = [f"{one.page}: {one.shown}" for one in snippets.everything() if not snippets.runner(one) and not _why(one)]
    assert left == []


def _why(snippet: snippets.Snippet) -> str:
    rule = snippets.elsewhere(snippet)
    return rule.why if rule else ""


def test_reasons_are_few_and_needed() -> None:
    shown = snippets.everything()
    idle = [rule.begins for rule in snippets.ELSEWHERE if not any(one.text.startswith(rule.begins) for one in shown)]
    assert idle == []
    assert sum(bool(rule.why) for rule in snippets.ELSEWHERE) <= 16


def test_a_snippet_that_nobody_runs_is_seen() -> None:
    for one in (snippets.Snippet("new.md", "import vqaudio", python=True), snippets.Snippet("new.md", "curl there")):
        assert not snippets.runner(one)
        assert not _why(one)


@pytest.mark.parametrize("test", sorted({snippets.runner(one) for one in snippets.everything()} - {""}))
def test_the_tests_named_exist(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((snippets.ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_drawings_and_names_are_no_snippets(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "A verb: `vqaudio encode`, `vqaudio VERB --help`; a command: `vqaudio --help`.\n\n"
        "    vqaudio encode          vqaudio decode\n    file                    file\n\n"
        "    vqaudio encode a.wav       # one\n\n```python\nprint(1)\n```\n\n    codec = vqaudio.load()\n"
    )
    found = [(one.text, one.python, one.inline) for one in snippets.snippets(page)]
    assert found == [
        ("print(1)", True, False),
        ("vqaudio encode a.wav", False, False),
        ("codec = vqaudio.load()", True, False),
        ("vqaudio --help", False, True),
    ]


def test_the_list_in_the_docs_is_up_to_date() -> None:
    written = snippets.LIST.read_text(encoding="utf-8")
    assert written == snippets.page_of_the_list(), "run: python tests/snippets.py"
    assert re.search(r"^# ", written, re.MULTILINE)
