"""Transcripts in one form: pairs made by hand of what a corpus writes and what a recogniser writes."""

import pytest

from vqaudio.evaluation.metrics.numerals import cardinal, spell_numerals
from vqaudio.evaluation.metrics.transcript import WordErrors, normalised_words, spoken_words, word_errors

SAME = [
    ("MISTER SMITH WENT TO SAINT IVES", "Mr. Smith went to St. Ives."),
    ("DOCTOR AND MISSUS JONES", "Dr. and Mrs. Jones"),
    ("IN EIGHTEEN TWELVE", "in 1812,"),
    ("NINETEEN HUNDRED", "1900"),
    ("NINETEEN O FIVE", "1905"),
    ("THE NINETEEN TWENTIES", "the 1920s"),
    ("TWO THOUSAND AND ONE", "2001"),
    ("TWO HUNDRED AND FIVE MEN", "205 men"),
    ("ONE HUNDRED AND TWENTY", "120"),
    ("THREE MILLION TWO THOUSAND AND ELEVEN", "3,002,011"),
    ("THE TWENTY FIRST", "the 21st"),
    ("THE ONE HUNDREDTH", "the 100th"),
    ("FIVE DOLLARS", "$5"),
    ("ONE POUND", "£1"),
    ("ONE POINT FIVE", "1.5"),
    ("TEN PERCENT", "10%"),
    ("NUMBER FIVE", "No. 5"),
    ("FIVE THIRTY", "5:30"),
    ("CHAPTER TWO", "Chapter 2."),
    ("ANY ONE", "anyone"),
    ("TO DAY", "today"),
    ("GROWN UP", "grown-up"),
    ("BREAD AND BUTTER", "bread & butter"),
    ("THE COLOUR OF HONOUR REALISED", "the color of honor realized"),
    ("THE GREY THEATRE", "The gray theater"),
    ("DON'T STOP", "Don\N{RIGHT SINGLE QUOTATION MARK}t stop!"),
    ("SHE SAID", "[laughs] She said (softly)"),
    ("QUOTED WORDS", "'quoted' _words_"),
    ("", "..."),
]


@pytest.mark.parametrize(("corpus", "heard"), SAME)
def test_what_is_spoken_alike_is_no_error(corpus: str, heard: str) -> None:
    assert word_errors(corpus, heard).errors == word_errors(heard, corpus).errors == 0


@pytest.mark.parametrize(
    ("reference", "heard", "errors", "words"),
    [
        ("", "a b", 2, 0),
        ("one two three", "", 3, 3),
        ("one two three", "one three", 1, 3),
        ("one two three", "one two or three", 1, 3),
        ("one two three", "one too three", 1, 3),
        ("a b c d", "b c d e", 2, 4),
        ("our hour", "or hour", 1, 2),
        ("forty and two", "42", 1, 3),
        ("no one knew", "none knew", 2, 3),
        ("he was not there", "he was there", 1, 4),
        ("to days", "today", 2, 2),
    ],
)
def test_other_words_are_errors(reference: str, heard: str, errors: int, words: int) -> None:
    assert word_errors(reference, heard) == WordErrors(errors, words)


@pytest.mark.parametrize("text", [pair[0] for pair in SAME] + [pair[1] for pair in SAME])
def test_the_form_is_one_that_stays(text: str) -> None:
    once = normalised_words(text)
    assert normalised_words(" ".join(once)) == once
    assert all(word.isalpha() or "'" in word for word in once)


def test_what_is_spoken_keeps_its_spelling() -> None:
    """A dictionary of sounds knows ``promise``, and no ``promize``."""
    assert spoken_words("Dr. Grey's PROMISE, 2 colours") == ["doctor", "grey's", "promise", "two", "colours"]


def test_numbers_are_spoken() -> None:
    assert [" ".join(cardinal(n)) for n in (0, 13, 20, 21, 100, 110)] == [
        "zero",
        "thirteen",
        "twenty",
        "twenty one",
        "one hundred",
        "one hundred ten",
    ]
    assert spell_numerals("x12y").split() == ["x12y"]
    assert spell_numerals("1234567890123").split() == [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "zero",
        "one",
        "two",
        "three",
    ]
    assert all(cardinal(n) != cardinal(n + 1) for n in range(2000))
