"""Parts of the items in which both sides stand equally often: letters A and B, answers Yes and No.

A part in which one side stands more often measures the side with the behaviour.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

log = logging.getLogger(__name__)


def balanced(sides: Sequence[str | None], n: int) -> list[int]:
    """Places of n items, the first in their order of which both sides have equally many.

    With an odd n one side has one more. A larger n holds the places of a smaller one. Where one
    side has too few, the other fills up; items without sides are the first n.

    Args:
        sides: per item; None where an item has none.
    """
    return sorted(alternating(sides)[:n])


def alternating(sides: Sequence[str | None]) -> list[int]:
    """Places of all items: the first of each side, then the second of each side, and so on.

    Items without sides stay in their order.
    """
    if None in sides:
        return list(range(len(sides)))
    seen: Counter[str | None] = Counter()
    rank = []
    for side in sides:
        rank.append(seen[side])
        seen[side] += 1
    return sorted(range(len(sides)), key=lambda place: (rank[place], place))


def balanced_part(rows: Sequence[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """The first n prompts with equally many of each side (see `balanced`).

    Args:
        rows: of a prompt file.
    """
    part = [rows[place] for place in balanced([row["side"] for row in rows], n)]
    if part:
        name = f"{part[0]['behavior']} ({part[0]['contrast']})"
        say_unbalanced([row["side"] for row in part], name)
    return part


def say_unbalanced(sides: Sequence[str | None], name: str) -> None:
    """Say in the log which side a part has too many of, if it has.

    Args:
        name: whose part it is.
    """
    counts = Counter(side for side in sides if side)
    fewest = min(counts.values()) if len(counts) > 1 else 0
    if counts and max(counts.values()) - fewest > 1:
        log.warning(
            "%s: of %d prompts the matching answer is %s; no equal numbers can be had, and what "
            "they show is the side's as well as the behaviour's",
            *(name, len(sides)),
            " and ".join(f"{side} in {count}" for side, count in sorted(counts.items())),
        )
