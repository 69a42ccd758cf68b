"""Every command and piece of Python that the documentation shows, and who runs it. Run, it writes docs/tested.md."""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "docs" / "tested.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(set((ROOT / "docs").glob("*.md")) - {LIST})]
WALK = "tests/test_snippets.py::test_commands_of_a_page_work_in_their_order"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"(?:^ {4}.*\n|^\n(?= {4}))+", re.MULTILINE)
_INLINE = re.compile(r"`((?:vqaudio|make|python|pip|pytest|torchrun) [^`\n]+)`")
_WORDS = {"vqaudio", "make", "pip", "python", "pytest", "torchrun", "docker", "tensorboard", "rec", "arecord", "source"}


@dataclass(frozen=True)
class Snippet:
    """What a page shows to be run: a line for a shell, or a piece of Python; ``inline`` is one inside a sentence."""

    page: str
    text: str
    python: bool = False
    inline: bool = False

    @property
    def shown(self) -> str:
        """In a line."""
        first, *more = self.text.splitlines()
        return f"{first} … {len(more)} more lines of Python" if more else first


@dataclass(frozen=True)
class Elsewhere:
    """Snippets that begin with ``begins``: the test that runs them, or why none does."""

    begins: str
    test: str = ""
    why: str = ""


_INSTALLS = "installs or makes an environment; make test, which CI runs, does so by the same words"
ELSEWHERE = (
    # what other tests run
    Elsewhere("vqaudio --install-completion", "tests/cli/test_manners.py::test_completion"),
    Elsewhere("vqaudio push", "tests/codecs/test_hub.py::test_a_model_goes_there_and_comes_back"),
    Elsewhere(
        "vqaudio tokenize CORPUS -o tokens --model hf:",
        "tests/codecs/test_hub.py::test_a_model_goes_there_and_comes_back",
    ),
    Elsewhere("vqaudio record", "tests/cli/test_live.py::test_what_is_recorded_is_played"),
    Elsewhere("vqaudio play", "tests/cli/test_live.py::test_what_is_recorded_is_played"),
    Elsewhere("vqaudio decode --live", "tests/cli/test_live.py::test_sound_goes_into_packets_and_back"),
    Elsewhere("rec ", "tests/cli/test_live.py::test_sound_goes_into_packets_and_back"),
    Elsewhere("arecord ", "tests/cli/test_live.py::test_sound_goes_into_packets_and_back"),
    Elsewhere("vqaudio serve", "tests/cli/test_serve.py::test_a_signal_ends_it_with_a_line"),
    Elsewhere("vqaudio studio", "tests/heavy/test_studio.py::test_upload_and_listen"),
    Elsewhere("vqaudio train recipes", "tests/test_recipes.py::test_training_in_pieces_goes_on_from_its_parts"),
    Elsewhere("vqaudio train CONFIG", "tests/training/test_loop.py::test_a_run_can_start_from_a_model"),
    Elsewhere("vqaudio train --resume", "tests/test_robustness_recipes.py::test_kills_lose_nothing"),
    Elsewhere("torchrun", "tests/training/test_loop.py::test_two_processes_are_as_one"),
    Elsewhere("python tests/fuzz/campaign.py", "tests/fuzz/test_fuzz.py::test_nothing_is_lost"),
    Elsewhere("make fuzz", "tests/fuzz/test_fuzz.py::test_nothing_is_lost"),
    Elsewhere("python recipes/robustness/kills.py", "tests/test_robustness_recipes.py::test_kills_lose_nothing"),
    Elsewhere(
        "python recipes/robustness/soak.py",
        "tests/test_robustness_recipes.py::test_a_short_soak_is_flat_in_files_threads_and_descriptors",
    ),
    Elsewhere(
        "python recipes/robustness/disks.py",
        "tests/test_robustness_recipes.py::test_disks_folders_and_clocks_lose_nothing",
    ),
    Elsewhere(
        "python recipes/robustness/signals.py",
        "tests/test_robustness_recipes.py::test_signals_at_any_stage_leave_what_was_there",
    ),
    Elsewhere("python recipes/benchmark/tables.py", "tests/test_figures.py::test_no_figure_is_stale"),
    Elsewhere("make docs", "tests/test_docs.py::test_the_site_is_built_without_a_warning"),
    Elsewhere("make tested", "tests/test_snippets.py::test_the_list_in_the_docs_is_up_to_date"),
    Elsewhere("make man", "tests/cli/test_manners.py::test_the_manual_names_everything"),
    Elsewhere("docker", why="needs a container's engine; tests/test_container.py holds its recipe"),
    # what none runs
    Elsewhere("make demo", why=_INSTALLS + ", and tests/cli/test_main.py::test_demo runs its verb"),
    Elsewhere("make dev", why=_INSTALLS),
    Elsewhere("source ", why=_INSTALLS),
    Elsewhere("pip install", why=_INSTALLS),
    Elsewhere("make test", why="is what runs the tests"),
    Elsewhere("make check", why="make test does the same first"),
    Elsewhere("pytest", why="a part of make test"),
    Elsewhere("make screenshots", why="looks at the pages that tests/heavy/test_studio.py uses; takes minutes"),
    Elsewhere("make audit", why="asks PyPI, which a test must not"),
    Elsewhere("make lock", why="asks PyPI for all files of each package, which a test must not"),
    Elsewhere("make sbom", why="installs its tool from PyPI"),
    Elsewhere("tensorboard", why="another project's program; tests/training/test_loop.py reads what it would show"),
    Elsewhere("python recipes/benchmark/corpora.py", why="measures for minutes; nothing is built on it"),
    Elsewhere(
        "python recipes/benchmark/run.py", why="calls quality.py, which tests/test_benchmark.py runs, and speed.py"
    ),
    Elsewhere("vqaudio tokenize CORPUS -o tokens --part i/64", why="i stands for a number; the line for Slurm is run"),
)
PYTHON_OF = {
    "compress.md": "tests/test_docs.py::test_the_python_of_the_docs_runs",
    "corpora.md": "tests/test_corpora_docs.py::test_the_page_runs",
    "live.md": "tests/test_snippets.py::test_the_python_of_live_sound_runs",
    "packets.md": "tests/test_snippets.py::test_the_python_of_packets_runs",
}


def snippets(page: Path) -> list[Snippet]:
    """All of a page: blocks first, in order, then what stands inside sentences."""
    text, name = page.read_text(encoding="utf-8"), page.name
    found = [snippet for language, block in _FENCE.findall(text) for snippet in _of_block(name, block, language)]
    text = _FENCE.sub("\n", text)
    for block in _BLOCK.findall(text):
        found += _of_block(name, textwrap.dedent(block), "")
    inline = [Snippet(name, command, inline=True) for command in _INLINE.findall(_BLOCK.sub("\n", text))]
    return [*found, *(snippet for snippet in dict.fromkeys(inline) if not _is_a_name(snippet.text))]


def _of_block(page: str, block: str, language: str) -> Iterator[Snippet]:
    if language == "python" or (not language and _is_python(block)):
        yield Snippet(page, block.strip(), python=True)
        return
    for line in block.splitlines():
        command = re.split(r"\s+#\s", line)[0].strip()
        if command.split(" ")[0] in _WORDS and "   " not in command:  # a drawing has words far apart
            yield Snippet(page, command)


def _is_python(block: str) -> bool:
    try:
        ast.parse(block)
    except SyntaxError:
        return False
    return "vqaudio" in block


def _is_a_name(text: str) -> bool:
    """Whether a sentence only speaks of a verb: `vqaudio encode`, `vqaudio VERB --help`."""
    words = text.split()
    return words[0] == "vqaudio" and ("VERB" in words or (len(words) == 2 and not words[1].startswith("-")))


def everything() -> list[Snippet]:
    """All snippets of all pages."""
    return [snippet for page in PAGES for snippet in snippets(page)]


def elsewhere(snippet: Snippet) -> Elsewhere | None:
    """What runs it, or why nothing does, where that is not the walk through its page."""
    if snippet.python:
        test = PYTHON_OF.get(snippet.page)
        return Elsewhere("", test) if test else None
    return next((rule for rule in ELSEWHERE if snippet.text.startswith(rule.begins)), None)


def is_walked(snippet: Snippet) -> bool:
    """Whether the walk through its page runs it."""
    return not snippet.python and snippet.text.startswith("vqaudio ") and elsewhere(snippet) is None


def runner(snippet: Snippet) -> str:
    """The test that runs it; "" where none does."""
    rule = elsewhere(snippet)
    return WALK if is_walked(snippet) else rule.test if rule else ""


def page_of_the_list() -> str:
    """The text of docs/tested.md."""
    found = everything()
    run = [snippet for snippet in found if runner(snippet)]
    lines = [
        "# What of these pages is tested",
        "",
        f"These pages, the README and CONTRIBUTING.md show {len(found)} commands and pieces of Python. Tests run",
        f"{len(run)} of them, or do the same work with smaller numbers; where a model is loaded, it is mostly a small",
        "one of the same kind. `make tested` writes this list. `tests/test_snippets.py` fails where a page shows",
        "something that no test runs and that has no reason here, or where the list is not up to date.",
    ]
    for page in dict.fromkeys(snippet.page for snippet in run):
        lines += ["", f"## {page}", ""]
        own = [snippet for snippet in run if snippet.page == page]
        for test in dict.fromkeys(map(runner, own)):
            lines += [f"- {test}", ""]
            lines += [f"    - `{snippet.shown}`" for snippet in own if runner(snippet) == test]
            lines.append("")
        lines.pop()
    lines += ["", "## Run by no test", "", "| command | why |", "| --- | --- |"]
    for snippet in dict.fromkeys((one.shown, rule.why) for one in found if (rule := elsewhere(one)) and rule.why):
        lines.append(f"| `{snippet[0]}` | {snippet[1]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    LIST.write_text(page_of_the_list(), encoding="utf-8")
