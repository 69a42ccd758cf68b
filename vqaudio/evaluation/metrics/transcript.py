"""The words of a transcript in one form, and how many of them a recogniser got wrong."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from vqaudio.evaluation.metrics.numerals import ONES, SCALES, ordinal, spell_numerals

_SPOKEN = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miss",
    "dr": "doctor",
    "st": "saint",
    "mt": "mount",
    "prof": "professor",
    "capt": "captain",
    "col": "colonel",
    "gen": "general",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "rev": "reverend",
    "hon": "honorable",
    "jr": "junior",
    "sr": "senior",
    "vs": "versus",
    "etc": "et cetera",
    "ok": "okay",
    "&": "and",
    "%": "percent",
}
_SPELLINGS = {
    "grey": "gray",
    "centre": "center",
    "theatre": "theater",
    "metre": "meter",
    "fibre": "fiber",
    "sombre": "somber",
    "plough": "plow",
    "defence": "defense",
    "offence": "offense",
    "gaol": "jail",
}
_BRITISH = (
    (re.compile(r"(?<=[a-z]{3})our(?=(?:s|ed|ing|ite|ites|able|er|ers|less|ful|y|ing)?$)"), "or"),
    (re.compile(r"(?<=[a-z]{3})is(?=(?:e|ed|es|er|ers|ing|ation|ations)$)"), "iz"),
)
_NOISES = re.compile(r"\[[^]]*\]|\([^)]*\)")  # what a recogniser says of them
_CLOCK = re.compile(r"(?<=\d):(?=\d\d\b)")
_NUMBER_SIGN = re.compile(r"\bno\.\s*(?=\d)|#(?=\d)")
_AFTER_AND = {*ONES, *(ordinal(word) for word in ONES)}


@dataclass(frozen=True)
class WordErrors:
    """Words wrong, missing or too many, and how many words there should be: to be summed, then divided."""

    errors: int
    words: int


def spoken_words(text: str) -> list[str]:
    """The words of ``text`` as they are spoken: small, without punctuation, parts of a hyphened word apart, numbers and
    titles (``Mr.``) spelt out. What stands in brackets is left out."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = _NUMBER_SIGN.sub(" number ", _CLOCK.sub(" ", _NOISES.sub(" ", text)))
    parts = [part.strip("'_") for part in re.findall(r"[^\W_][\w']*|[&%]", spell_numerals(text))]
    return [word for part in parts for word in _SPOKEN.get(part, part).split()]


def normalised_words(text: str) -> list[str]:
    """Like :func:`spoken_words`, in American spelling, and ``two hundred and five`` is ``two hundred five``."""
    return [_american(word) for word in _without_and(spoken_words(text))]


def _without_and(words: list[str]) -> list[str]:
    neighbours = zip(["", *words], words, [*words[1:], ""], strict=False)
    return [
        word
        for before, word, after in neighbours
        if not (word == "and" and before in SCALES and (after in _AFTER_AND or after.endswith("ty")))
    ]


def _american(word: str) -> str:
    for pattern, replacement in _BRITISH:
        word = pattern.sub(replacement, word)
    return _SPELLINGS.get(word, word)


def word_errors(reference: str, heard: str) -> WordErrors:
    """The smallest number of substitutions, omissions and insertions that turn ``reference`` into ``heard``.

    Words that are only divided otherwise (``any one``, ``anyone``) are right.
    """
    wanted, got = normalised_words(reference), normalised_words(heard)
    return WordErrors(_edit_distance(wanted, got), len(wanted))


def _edit_distance(wanted: Sequence[str], got: Sequence[str]) -> int:
    rows = [list(range(len(got) + 1))]
    for i, word in enumerate(wanted, start=1):
        row = [i]
        for j, other in enumerate(got, start=1):
            best = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (word != other))
            if i > 1 and wanted[i - 2] + word == other:
                best = min(best, rows[i - 2][j - 1])
            if j > 1 and got[j - 2] + other == word:
                best = min(best, rows[i - 1][j - 2])
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
