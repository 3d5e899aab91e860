"""Any text so that pdflatex sets it literally: special characters, ligatures, accents, Greek.

What Computer Modern has no glyph for, as Chinese, shows as its code point.
"""

import re
import unicodedata

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"$\mathdollar$",  # that of text comes from a bitmap font
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": "{`}",
    '"': r"{\textquotedblright}",  # the straight one is not in the default encoding
    # At the beginning of a row these two would be read as an option of the \\ before it.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "·": r"$\cdot$",
    "°": r"$^{\circ}$",
    "²": r"$^{2}$",
    "³": r"$^{3}$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "−": r"$-$",
    "µ": r"$\mu$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "§": r"$^{\S}$",
    "•": r"$^{\bullet}$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = {
    "\u0300": r"\`",
    "\u0301": r"\'",
    "\u0302": r"\^",
    "\u0303": r"\~",
    "\u0304": r"\=",
    "\u0306": r"\u",
    "\u0307": r"\.",
    "\u0308": r"\"",
    "\u030a": r"\r",
    "\u030b": r"\H",
    "\u030c": r"\v",
    "\u0327": r"\c",
}
_GREEK_NAMES = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi chi"
    " psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
_GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", _GREEK_NAMES.split(), strict=True))
_PIECE = 16  # letters and digits that stay together in a narrow column


def escape(text: str) -> str:
    """`text` so that LaTeX sets it literally, on one line; needs no package."""
    flat = unicodedata.normalize("NFC", " ".join(text.split()))
    return re.sub(r"([-,'])(?=\1)", r"\1{}", "".join(map(_character, flat)))


def breakable(text: str) -> str:
    """The same, and a long word may be broken: after each sign, and after so many letters."""
    words = []
    for word in text.split():
        pieces = re.findall(rf"[^\W_]{{1,{_PIECE}}}[\W_]?|[\W_]", word) if len(word) > _PIECE else [word]
        words.append(r"\allowbreak{}".join(map(escape, pieces)))
    return " ".join(words)


def _character(one: str) -> str:
    if one in _ESCAPES:
        return _ESCAPES[one]
    if one.isascii():
        return one if one.isprintable() else _code(one)
    if one in _GREEK:
        return rf"$\{_GREEK[one]}$"
    apart = unicodedata.normalize("NFD", one)
    if len(apart) == 2 and apart[0].isascii() and apart[0].isalpha() and apart[1] in _ACCENTS:
        return rf"{_ACCENTS[apart[1]]}{{{apart[0]}}}"
    return _code(one)


def _code(one: str) -> str:
    return f"{{[}}U+{ord(one):04X}]"
