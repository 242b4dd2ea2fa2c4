"""Words of any script, and the markers that are made of them."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

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


# English words that say that what follows is not so; a behaviour's file may give others
NEGATORS = (
    *("not", "no", "never", "without", "nothing", "nobody", "none", "neither", "nor", "cannot"),
    *("hardly", "barely", "scarcely", "no-one"),
)
# what ends in this is one as well, where these are the negators
_CONTRACTED = "n't"
# how many words a negator reaches
REACH = 4
# before one of these a negator says nothing of what follows: "not only hopeful", "no doubt it is",
# "never fails to hope"
_SPENT = {"only", "just", "merely", "doubt", "wonder", "question", "matter", "fail", "fails"}
# nor do these words of one: "couldn't be more hopeful"
_MOST = ("be", "more")
# nor where it asks: "Aren't you hopeful?", unlike "Don't you worry"
_ASKED = {"i", "you", "he", "she", "it", "we", "they", "this", "that", "there"}
_ORDERS = {"don't"}
# a new clause begins behind these marks, and at these words
_MARKS = re.compile(r"[.,;:!?…\n()\u2013\u2014]|\s-+\s")
_TURNS = {"but", "yet", "however", "although", "though"}


def normal(text: str) -> str:
    """A text as words are compared in it: lower case, letters composed, apostrophes straight."""
    return unicodedata.normalize("NFC", text.lower()).replace("\u2019", "'")


# of one text all markers are looked for
@lru_cache(maxsize=1)
def words_of(text: str) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """The words of a text, the number of each one's clause, and whether the text ends in a word."""
    found = list(_WORD.finditer(_shape(text)))
    words = tuple(text[word.start() : word.end()] for word in found)
    clauses, clause, end = [], 0, 0
    for word, said in zip(found, words, strict=True):
        if said in _TURNS or _MARKS.search(text, end, word.start()):
            clause += 1
        clauses.append(clause)
        end = word.end()
    return words, tuple(clauses), bool(found) and found[-1].end() == len(text)


def marker_of(written: str) -> tuple[str, ...]:
    """The words that a marker is made of, as they are looked for; none if it is no words."""
    words = tuple(normal(written).split())
    return words if all(_WORD.fullmatch(_shape(word)) for word in words) else ()


def count_unnegated(
    marker: Sequence[str], text: str, finished: bool, negators: Sequence[str] = NEGATORS
) -> int:
    """How often a marker stands in a text, not counting where a negator before it takes it back.

    A negator reaches the next few words of its clause. What it takes back counts for nothing:
    "not hopeless" is no hope yet, and "don't worry" says that somebody does. Markers in scripts
    without spaces between words are looked for as they are.

    Args:
        text: normal (see `normal`).
        finished: a word at the text's very end is whole; else it does not count.
        negators: words; without any, nothing is taken back.
    """
    if any(unicodedata.name(char, "").startswith(_UNSPACED) for word in marker for char in word):
        return text.count(" ".join(marker))
    words, clauses, ends_in_word = words_of(text)
    if ends_in_word and not finished:
        words = words[:-1]
    wanted, length = tuple(marker), len(marker)
    total = 0
    for at in range(len(words) - length + 1):
        if words[at : at + length] == wanted:
            clause = clauses.index(clauses[at])
            first = max(at - REACH, clause)
            before = [*words[first:at], wanted[0]]
            total += not _negated(before, negators, begins=first == clause)
    return total


def _negated(words: Sequence[str], negators: Sequence[str], begins: bool) -> bool:
    """Whether the last of these words is taken back by one before it.

    Args:
        begins: the first of the words begins a clause.
    """
    contracted = "not" in negators
    for place, word in enumerate(words[:-1]):
        short = contracted and word.endswith(_CONTRACTED)
        if short or word in negators:
            asks = begins and place == 0 and short and word not in _ORDERS
            if not _spent(words[place + 1 : -1], asks):
                return True
    return False


def _spent(behind: Sequence[str], asks: bool) -> bool:
    """Whether a negator takes nothing back, by the words between it and the marker.

    Args:
        asks: the negator begins a clause as questions do.
    """
    words = _SPENT | _ASKED if asks else _SPENT
    return tuple(behind[:2]) == _MOST or not words.isdisjoint(behind[:1])


class _Shapes(dict[int, int]):
    """What a character is in a word's shape, both by their numbers."""

    def __missing__(self, code: int) -> int:
        self[code] = ord("a") if unicodedata.category(chr(code))[0] in "LM" else code
        return self[code]


_SHAPES = _Shapes()


def _shape(text: str) -> str:
    return text.translate(_SHAPES)
