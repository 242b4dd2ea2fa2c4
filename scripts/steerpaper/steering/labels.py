"""Which side a completion is on: by its letter, or by the behaviour's markers."""

import re
from collections.abc import Mapping, Sequence

from steerpaper.steering.words import count, marker_of, normal, words_of

MATCHING, OTHER, NEITHER = LABELS = ("matching", "other", "neither")

# the letter at the very beginning (the prompt ends with an opening bracket), or later in brackets
# or before a bracket, full stop or colon: the article in "A good day" is none
_LETTER = re.compile(r"^\s*([AB])\b|\(([AB])\)|\b([AB])[).:]")


def label_by_letter(text: str, matching: str) -> str:
    """Label a completion by the first letter A or B that it answers with.

    Args:
        text: the completion's first tokens as text.
        matching: the letter of the matching choice.
    """
    found = _LETTER.search(text)
    if not found:
        return NEITHER
    letter = next(group for group in found.groups() if group)
    return MATCHING if letter == matching else OTHER


def label_by_markers(text: str, markers: Mapping[str, Sequence[str]], *, finished: bool) -> str:
    """Label a completion by which side's markers it holds more of; neither where they are equal.

    Args:
        markers: words, or several words, under `matching` and `other`; each counts as often as it
            occurs.
        finished: the completion ended by itself; otherwise a word at its very end may be cut off
            ("hope" of "hopeless") and does not count.
    """
    text = normal(text)
    said, ends_in_word = words_of(text)
    if ends_in_word and not finished:
        said.pop()
    counts = {
        side: sum(
            count(marker, said, text) for marker in set(map(marker_of, markers.get(side, ())))
        )
        for side in (MATCHING, OTHER)
    }
    if counts[MATCHING] == counts[OTHER]:
        return NEITHER
    return max(counts, key=lambda side: counts[side])
