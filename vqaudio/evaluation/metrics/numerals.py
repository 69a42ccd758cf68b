"""English numbers as they are spoken: ``1,250`` becomes ``one thousand two hundred fifty``."""

import re

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_UNITS = {"$": "dollar", "£": "pound", "€": "euro"}
_YEARS = range(1100, 2000)  # four digits that are read in pairs
_MOST_DIGITS = 12  # longer ones are read digit by digit

_NUMERAL = re.compile(
    r"(?<![^\W_])(?P<money>[$£€])?(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?"
    r"(?P<ending>st|nd|rd|th|s)?(?![^\W_])"
)


def cardinal(number: int) -> list[str]:
    """The words of ``number``, 0 to 10^12, without "and"."""
    if number < len(ONES):
        return [ONES[number]]
    if number < 100:
        return [_TENS[number // 10 - 2], *(cardinal(number % 10) if number % 10 else [])]
    name, scale = max((pair for pair in SCALES.items() if pair[1] <= number), key=lambda pair: pair[1])
    return [*cardinal(number // scale), name, *(cardinal(number % scale) if number % scale else [])]


def ordinal(word: str) -> str:
    """``fifth`` of ``five``; of a number of several words, its last."""
    return _IRREGULAR_ORDINALS.get(word) or (f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th")


def spell_numerals(text: str) -> str:
    """``text`` with its numerals in words: cardinals, ordinals (``3rd``), decades (``1920s``), years, sums of money."""
    return _NUMERAL.sub(lambda match: f" {' '.join(_spoken(match))} ", text)


def _spoken(match: "re.Match[str]") -> list[str]:
    digits, decimals, ending = match["digits"].replace(",", ""), match["decimals"], match["ending"]
    if len(digits) > _MOST_DIGITS:
        return [ONES[int(digit)] for digit in digits]
    value = int(digits)
    is_year = len(match["digits"]) == 4 and value in _YEARS and not match["money"] and not decimals
    words = _year(value) if is_year else cardinal(value)
    if decimals:
        words = [*words, "point", *(ONES[int(digit)] for digit in decimals)]
    if ending == "s":
        words = [*words[:-1], f"{words[-1][:-1]}ies" if words[-1].endswith("y") else f"{words[-1]}s"]
    elif ending:
        words = [*words[:-1], ordinal(words[-1])]
    if match["money"]:
        words = [*words, _UNITS[match["money"]] + ("" if value == 1 and not decimals else "s")]
    return words


def _year(number: int) -> list[str]:
    century, rest = divmod(number, 100)
    if not rest:
        return [*cardinal(century), "hundred"]
    return [*cardinal(century), *(["o"] if rest < 10 else []), *cardinal(rest)]
