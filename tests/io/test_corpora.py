"""corpora.py: corpora as they are published, found and packed."""

from pathlib import Path

import pytest
from sounds import tone

from vqaudio.errors import DataError
from vqaudio.io.corpora import find_recordings
from vqaudio.training.packing import prepare
from vqaudio.training.shards import AudioShards


def speakers_of(root: Path) -> dict[str, str]:
    return {recording.path.relative_to(root).as_posix(): recording.speaker for recording in find_recordings(root)}


def said_in(root: Path) -> set[tuple[str, str]]:
    """Groups and transcripts."""
    return {(recording.group, recording.transcript) for recording in find_recordings(root)}


def test_any_folder_has_a_speaker_a_sub_folder(tmp_path: Path) -> None:
    for name in ("ann/1.wav", "ann/deep/2.flac", "bob/1.WAV", "loose.wav"):
        tone(tmp_path / "mine" / name)
    (tmp_path / "mine" / "ann" / "notes.txt").touch()
    expected = {"ann/1.wav": "ann", "ann/deep/2.flac": "ann", "bob/1.WAV": "bob", "loose.wav": "mine"}
    assert speakers_of(tmp_path / "mine") == expected
    assert said_in(tmp_path / "mine") == {("ann", ""), ("bob", ""), ("mine", "")}


def test_a_manifest_names_paths_and_speakers(tmp_path: Path) -> None:
    tone(tmp_path / "a" / "1.wav")
    tone(tmp_path / "a" / "2.wav")
    lines = ["speaker\tpath\ttranscript", "ann\ta/1.wav\tone\u2028two", "bob\ta/2.wav\tthree", ""]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines), encoding="utf-8")
    assert speakers_of(tmp_path) == {"a/1.wav": "ann", "a/2.wav": "bob"}
    assert said_in(tmp_path) == {("a", "one\u2028two"), ("a", "three")}
    (tmp_path / "manifest.tsv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert speakers_of(tmp_path) == {"a/1.wav": "ann", "a/2.wav": "bob"}


def test_genders_where_a_corpus_says_so(tmp_path: Path) -> None:
    text = "path\tspeaker\tgender\n1.wav\tann\tfemale\n2.wav\tbob\tM\n3.wav\tzoe\t?\n"
    (tmp_path / "manifest.tsv").write_text(text, encoding="utf-8")
    assert [recording.gender for recording in find_recordings(tmp_path)] == ["F", "M", ""]


def test_a_manifest_may_name_groups(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_text("path\tspeaker\tgroup\nx/1.wav\tann\tclean\nx/2.wav\tann\t\n", "utf-8")
    assert said_in(tmp_path) == {("clean", ""), ("x", "")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"line 1: the header has no column 'path'"),
        ("path\tlength\nx\t1\n", r"line 1: the header has no column 'speaker'"),
        ("path\tspeaker\nx\tann\ny\n", r"line 3: has 1 cells for 2 columns"),
        ("path\tspeaker\nx\tann\tmore\n", r"line 2: has 3 cells for 2 columns"),
        ("path\tspeaker\nx\tann\n\nx\tann\n", r"line 3: has 1 cells"),
        ("path\tspeaker\nx\t\n", r"line 2: has no speaker"),
        ("path\tspeaker\n", r"holds no recordings"),
    ],
)
def test_a_bad_manifest_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "manifest.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        find_recordings(tmp_path)


def test_a_manifest_must_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_bytes(b"path\tspeaker\nx\tJos\xe9\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        find_recordings(tmp_path)


def test_no_corpus_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        find_recordings(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no recordings"):
        find_recordings(tmp_path)


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchaudio's own loading needs a package that is not ours."""
    import torchaudio

    def never(*_: object, **__: object) -> None:
        raise AssertionError("torchaudio.load was called")

    monkeypatch.setattr(torchaudio, "load", never)


def librispeech(root: Path) -> Path:
    for subset, speaker, chapter in (
        ("dev-clean", 84, 121123),
        ("dev-clean", 174, 50561),
        ("train-clean-100", 19, 198),
    ):
        folder = root / subset / str(speaker) / str(chapter)
        lines = []
        for utterance in range(2):
            name = f"{speaker}-{chapter}-{utterance:04d}"
            tone(folder / f"{name}.flac")
            lines.append(f"{name} GO DO YOU HEAR\n")
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines), encoding="utf-8")
    (root / "SPEAKERS.TXT").touch()
    (root / "my-notes").mkdir()
    return root


@pytest.mark.usefixtures("no_decoder")
def test_librispeech_as_published(tmp_path: Path) -> None:
    root = librispeech(tmp_path / "LibriSpeech")
    found = speakers_of(root)
    assert len(found) == 6
    assert said_in(root) == {("dev-clean", "GO DO YOU HEAR"), ("train-clean-100", "GO DO YOU HEAR")}
    assert found["dev-clean/84/121123/84-121123-0001.flac"] == "84"
    assert found["train-clean-100/19/198/19-198-0000.flac"] == "19"
    done = prepare(root, tmp_path / "shards")
    assert done.utterances == 6
    assert not done.failed
    assert AudioShards(tmp_path / "shards").speakers == ("174", "19", "84")
    assert speakers_of(librispeech(tmp_path / "renamed")).keys() == found.keys()


def test_a_torn_librispeech_is_refused(tmp_path: Path) -> None:
    root = librispeech(tmp_path / "LibriSpeech")
    (root / "dev-clean" / "84" / "121123" / "84-121123.trans.txt").unlink()
    with pytest.raises(DataError, match=r"is not whole .*84-121123\.trans\.txt"):
        find_recordings(root)


def vctk(root: Path) -> Path:
    for speaker in ("p225", "s5"):
        for number in (1, 2):
            name = f"{speaker}_{number:03d}"
            for microphone in ("mic1", "mic2"):
                tone(root / "wav48_silence_trimmed" / speaker / f"{name}_{microphone}.flac", rate_hz=48000)
            (root / "txt" / speaker).mkdir(parents=True, exist_ok=True)
            (root / "txt" / speaker / f"{name}.txt").write_text("Please call Stella.\n", encoding="utf-8")
    tone(root / "wav48_silence_trimmed" / "p315" / "p315_001_mic1.flac")  # published without text
    tone(root / "wav48_silence_trimmed" / "p280" / "p280_001_mic1.flac")  # published without the second microphone
    (root / "txt" / "p280").mkdir()
    (root / "txt" / "p280" / "p280_001.txt").write_text("Please call Stella.\n", encoding="utf-8")
    (root / "speaker-info.txt").touch()
    return root


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("name", ["VCTK-Corpus-0.92", "vctk"])
def test_vctk_as_published(tmp_path: Path, name: str) -> None:
    root = vctk(tmp_path / name)
    folder = "wav48_silence_trimmed"
    assert speakers_of(root) == {
        f"{folder}/p225/p225_001_mic2.flac": "p225",
        f"{folder}/p225/p225_002_mic2.flac": "p225",
        f"{folder}/s5/s5_001_mic2.flac": "s5",
        f"{folder}/s5/s5_002_mic2.flac": "s5",
    }
    assert said_in(root) == {(folder, "Please call Stella.")}
    done = prepare(root, tmp_path / "shards")
    assert done.utterances == 4
    assert not done.failed


def ljspeech(root: Path) -> Path:
    names = ("LJ001-0001", "LJ001-0002")
    for name in names:
        tone(root / "wavs" / f"{name}.wav", rate_hz=22050)
    lines = [f'{name}|Printing, "in|Printing, "in the only sense\n' for name in names]
    (root / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return root


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("name", ["LJSpeech-1.1", "lj"])
def test_ljspeech_as_published(tmp_path: Path, name: str) -> None:
    root = ljspeech(tmp_path / name)
    assert speakers_of(root) == {"wavs/LJ001-0001.wav": "LJ", "wavs/LJ001-0002.wav": "LJ"}
    assert said_in(root) == {("wavs", 'Printing, "in the only sense')}
    done = prepare(root, tmp_path / "shards")
    assert (done.utterances, done.failed) == (2, ())


def test_a_corpus_is_found_from_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ljspeech(tmp_path / "LJSpeech-1.1")
    monkeypatch.chdir(root)
    assert [recording.path for recording in find_recordings(Path())] == sorted((root / "wavs").iterdir())
