"""Words of any script, and the markers that are made of them."""

import re
import unicodedata
from collections.abc import Sequence

# the shape of a word, where "a" stands for a letter of any script or a mark on one
_WORD = re.compile(r"a+(?:['-]a+)*")
# scripts that write words without spaces between them, by how Unicode names their letters
_UNSPACED = (
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "BOPOMOFO",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
)


def normal(text: str) -> str:
    """A text as words are compared in it: lower case, letters composed."""
    return unicodedata.normalize("NFC", text.lower())


def words_of(text: str) -> tuple[list[str], bool]:
    """The words of a text, and whether it ends in one."""
    found = list(_WORD.finditer(_shape(text)))
    ends_in_word = bool(found) and found[-1].end() == len(text)
    return [text[word.start() : word.end()] for word in found], ends_in_word


def marker_of(written: str) -> tuple[str, ...]:
    """The words that a marker is made of, as they are looked for; none if it is no words."""
    words = tuple(normal(written).split())
    return words if all(_WORD.fullmatch(_shape(word)) for word in words) else ()


def count(marker: Sequence[str], words: Sequence[str], text: str) -> int:
    """How often a marker stands in a text: as words, or as it is where words have no spaces.

    Args:
        words: those of the text that count.
    """
    if any(unicodedata.name(char, "").startswith(_UNSPACED) for word in marker for char in word):
        return text.count(" ".join(marker))
    wanted, length = list(marker), len(marker)
    return sum(list(words[at : at + length]) == wanted for at in range(len(words) - length + 1))


def _shape(text: str) -> str:
    return "".join("a" if unicodedata.category(char)[0] in "LM" else char for char in text)
