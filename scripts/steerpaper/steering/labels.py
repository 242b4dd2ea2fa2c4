"""Which side a completion is on: by its letter, or by the behaviour's markers."""

import re
from collections.abc import Mapping, Sequence
from functools import cache

from steerpaper.steering.words import NEGATORS, count_unnegated, marker_of, normal

MATCHING, OTHER, NEITHER = LABELS = ("matching", "other", "neither")

# a letter that stands as an answer: in brackets or bold, before a bracket, full stop or colon,
# alone on its line, or behind a word that announces it; the article in "A good day" is none
_ANSWERED = (
    r"\(([AB])\)|\*\*([AB])\*\*|\b([AB])[).:]|^\s*([AB])\s*(?:$|\n)"
    r"|(?i:\b(?:answer|option|choice|choose|pick|select|go(?:ing)? with)(?:\s+is)?:?)\s+([AB])\b"
)
# behind a bracket that was prefilled, the letter at the very beginning is one in any case
_PREFILLED = r"^\s*([AB])\b|" + _ANSWERED


@cache
def _pattern(pattern: str, letters: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("[AB]", f"[{letters}]"))


def answered_letter(text: str, letters: str = "AB", *, prefilled: bool) -> str | None:
    """The first of some letters that a completion answers with; None if there is none.

    Args:
        text: the completion's first tokens as text.
        letters: of the choices.
        prefilled: the prompt ends in an opening bracket.
    """
    found = _pattern(_PREFILLED if prefilled else _ANSWERED, letters).search(text)
    return next(group for group in found.groups() if group) if found else None


def label_by_letter(text: str, pair: Sequence[str], letters: str, *, prefilled: bool) -> str:
    """Label a completion by the letter that it answers with (see `answered_letter`).

    Args:
        pair: the letters of the matching choice and of the other; a third choice is neither.
        letters: of all choices.
    """
    letter = answered_letter(text, letters, prefilled=prefilled)
    return dict(zip(pair, (MATCHING, OTHER), strict=True)).get(letter or "", NEITHER)


def label_by_markers(
    text: str,
    markers: Mapping[str, Sequence[str]],
    *,
    finished: bool,
    negators: Sequence[str] | None = None,
) -> str:
    """Label a completion by which side's markers it holds more of; neither where they are equal.

    Args:
        markers: words, or several words, under `matching` and `other`; each counts as often as it
            occurs and is not negated (see `count_unnegated`).
        finished: the completion ended by itself; otherwise a word at its very end may be cut off
            ("hope" of "hopeless") and does not count.
        negators: words that take a marker back; None for the English ones.
    """
    text = normal(text)
    negators = NEGATORS if negators is None else list(map(normal, negators))
    counts = {
        side: sum(
            count_unnegated(marker, text, finished, negators)
            for marker in set(map(marker_of, markers.get(side, ())))
        )
        for side in (MATCHING, OTHER)
    }
    if counts[MATCHING] == counts[OTHER]:
        return NEITHER
    return max(counts, key=lambda side: counts[side])
