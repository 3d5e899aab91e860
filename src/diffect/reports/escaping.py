"""Any text so that pdflatex sets it literally, without further packages: special characters, accents, Greek.

What Computer Modern has no glyph for, as Chinese, shows as its code point. (The tables of pylatexenc name commands that
the default encoding lacks, and these stop the compiler.)
"""

import re
import unicodedata

_ESCAPES = {
    **{sign: "\\" + sign for sign in "&%#_{}"},
    "\\": r"\textbackslash{}",
    "$": r"$\mathdollar$",  # that of text comes from a bitmap font
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
}
_SIGNS = "±×÷·°²³≤≥≠≈∞→−µ†‡§•αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"
_SIGN_COMMANDS = r"""
    \pm \times \div \cdot ^{\circ} ^{2} ^{3} \leq \geq \neq \approx \infty \rightarrow - \mu ^{\dagger} ^{\ddagger}
    ^{\S} ^{\bullet} \alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \pi \rho
    \sigma \tau \upsilon \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega
"""
_ESCAPES |= {sign: f"${command}$" for sign, command in zip(_SIGNS, _SIGN_COMMANDS.split(), strict=True)}
_LETTERS = "–—…‘’“”ßæÆœŒøØłŁı"  # which LaTeX itself knows in the default encoding
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True)
)
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
    if one in _LETTERS or (one.isascii() and one.isprintable()):
        return one
    parts = unicodedata.normalize("NFD", one)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"{{[}}U+{ord(one):04X}]"
