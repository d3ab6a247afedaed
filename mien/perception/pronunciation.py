"""How an English word that no dictionary has may sound: compounds, endings, and letter-to-sound rules.

Good enough to place lips, not to speak: the forced alignment corrects the times, and a wrong vowel shows little.
"""

from __future__ import annotations

from collections.abc import Callable

Lookup = Callable[[str], str | None]
"""From a word to its phones, or ``None`` if the dictionary lacks it."""

_ENDINGS = {"s": "Z", "'s": "Z", "es": "IH Z", "ed": "D", "ing": "IH NG", "er": "ER", "ly": "L IY", "y": "IY"}

# Longest match first; after the usual spellings of General American (Venezky 1967, Elovitz et al. 1976, shortened).
_RULES = {
    "tion": "SH AH N", "sion": "ZH AH N", "ture": "CH ER", "ough": "OW", "augh": "AO", "eigh": "EY", "igh": "AY",
    "tch": "CH", "sch": "SH", "dge": "JH", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K",
    "ng": "NG", "qu": "K W", "kn": "N", "wr": "R", "gh": "G", "ee": "IY", "ea": "IY", "ie": "IY", "ei": "EY",
    "ai": "EY", "ay": "EY", "ey": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "oa": "OW", "oi": "OY", "oy": "OY",
    "au": "AO", "aw": "AO", "ew": "Y UW", "eu": "Y UW", "ue": "UW", "ui": "UW", "ar": "AA R", "er": "ER", "ir": "ER",
    "or": "AO R", "ur": "ER", "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH",
    "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S",
    "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z", "'": "",
}  # fmt: skip
_LONG = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW", "y": "AY"}


def pronounce(word: str, lookup: Lookup) -> str | None:
    """Phones of ``word`` in ARPAbet, separated by blanks, or ``None`` if it holds something that is not a letter.

    Args:
        word: lower case.
        lookup: the dictionary, asked for the word, its stem and its halves before spelling rules are used.
    """
    if known := lookup(word):
        return known
    for ending, sound in _ENDINGS.items():
        stem = lookup(word.removesuffix(ending)) if word.endswith(ending) and len(word) > len(ending) + 2 else None
        if stem:
            return f"{stem} {sound}"
    for cut in range(len(word) - 3, 2, -1):
        first, second = lookup(word[:cut]), lookup(word[cut:])
        if first and second:
            return f"{first} {second}"
    return _by_rules(word)


def _by_rules(word: str) -> str | None:
    sounds: list[str] = []
    at = 0
    while at < len(word):
        rest = word[at:]
        if len(rest) > 1 and word[at - 1 : at] == rest[0] and rest[0] not in _LONG:
            at += 1  # doubled consonant
            continue
        # Vowel, consonant, silent e at the end: "mate", "mien-line".
        if rest[0] in _LONG and len(rest) == 3 and rest[1] not in _LONG and rest[2] == "e":
            sounds += [_LONG[rest[0]], _RULES.get(rest[1], "")]
            break
        if len(rest) > 1 and rest[0] in "cg" and rest[1] in "eiy":  # soft, as in "cell" and "gem"
            sounds.append("S" if rest[0] == "c" else "JH")
            at += 1
            continue
        match = next((rest[:n] for n in (4, 3, 2, 1) if rest[:n] in _RULES), None)
        if match is None:
            return None
        if not (rest == "e" and len(sounds) > 1):
            sounds.append("Y" if at == 0 and match == "y" else _RULES[match])
        at += len(match)
    return " ".join(" ".join(sounds).split()) or None
