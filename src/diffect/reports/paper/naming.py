"""Names of LaTeX commands, which may hold letters only, from any text."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_ONES = (
    *("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
    *("Thirteen", "Fourteen", "Fifteen", "Sixteen", "Seventeen", "Eighteen", "Nineteen"),
)
_TENS = ("Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety")
_TOKEN = re.compile(r"[a-zA-Z]+|\d+|\.(?=\d)|(?<![a-zA-Z\d])-(?=\.?\d)|[+%<>=]")
_SIGNS = {".": "Point", "-": "Minus", "+": "Plus", "%": "Percent", "<": "Less", ">": "More", "=": "Is"}


def names(keys: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each of the keys, no two alike: their parts as words, the first in small letters.

    What letters cannot say is left out, and keys that would then be named alike get four letters of their hash
    each, so that a name never depends on the order or the number of the others.
    """
    plain = ["".join(map(words, key)) for key in keys]
    plain = [name[:1].lower() + name[1:] for name in plain]
    often = Counter(plain)
    return [name if often[name] == 1 else name + _letters(key) for name, key in zip(plain, keys, strict=True)]


def words(text: str) -> str:
    """The letters of `text`, each word with a capital, numbers in words: "lr_0.5" is LrZeroPointFive."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return "".join(_word(token) for token in _TOKEN.findall(plain))


def _word(token: str) -> str:
    if token.isdigit():
        return _spelled(token)
    return _SIGNS.get(token) or token[0].upper() + token[1:]


def _spelled(digits: str) -> str:
    value = int(digits)
    if digits != str(value) or value > 99:
        return "".join(_ONES[int(digit)] for digit in digits)
    if value < 20:
        return _ONES[value]
    return _TENS[value // 10 - 2] + (_ONES[value % 10] if value % 10 else "")


def _letters(key: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(key).encode()).digest()
    return "".join(chr(ord("A") + byte % 26) for byte in digest[:4])
