"""Dealing a behaviour's items into train, dev and test."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.steering.items import Item, plain, split_choices

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")

# how many items there are, or may be, by side; without balance all items have the side None
Sides = Counter[str | None]


def split_items(
    items: Sequence[Item], sizes: Mapping[str, int], seed: int, behavior: str, *, balance: bool
) -> dict[str, list[Item]]:
    """Deal items into disjoint train, dev and test sets by seed.

    Items with the same stem (one question with other choices) stand in one split: what is left of
    a split's size is filled with a part of such a group, and the group's other items are in none.

    Args:
        balance: of a file whose answers are Yes and No, every split holds as many items whose
            matching answer is Yes as No.

    Raises:
        UserError: fewer items than the three sizes add up to, in all or of one side; a size that
            is odd where it is balanced.
    """
    wanted = sum(sizes[name] for name in SPLITS)
    if len(items) < wanted:
        raise UserError(
            f"behaviors.{behavior}.items: {len(items)} items, but steering.prompts.split asks for "
            f"{' + '.join(str(sizes[name]) for name in SPLITS)} = {wanted}; "
            "add items or lower the sizes"
        )
    balance = balance and items[0].side is not None
    rooms = {name: Sides({None: sizes[name]}) for name in SPLITS}
    if balance:
        rooms = _halves(items, sizes, behavior)
    groups = same_stems(items)
    order = stream(seed, "split", behavior).permutation(len(groups))
    waiting = [groups[number] for number in order]
    parts = {}
    for name in SPLITS:
        parts[name], waiting = _fill(waiting, rooms[name], balance=balance)
        if len(parts[name]) < sizes[name]:
            raise UserError(
                f"behaviors.{behavior}.items: items that share a question stay in one split, and "
                f"of {len(items)} items {name} gets {len(parts[name])} of the {sizes[name]} that "
                "steering.prompts.split asks for; add items or lower the sizes"
            )
    cut = len(items) - sum(map(len, [*parts.values(), *waiting]))
    if cut:
        log.warning(
            "%s: %d items are in no split, since items that share a question stay in one",
            *(behavior, cut),
        )
    return parts


def same_stems(items: Sequence[Item]) -> list[list[Item]]:
    """Items in groups with the same stem, in the order of the first of each."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        stem, _ = split_choices(item.question)
        groups.setdefault(plain(stem, "NFKC"), []).append(item)
    return list(groups.values())


def _halves(items: Sequence[Item], sizes: Mapping[str, int], behavior: str) -> dict[str, Sides]:
    """Room for as many items of Yes as of No, per split."""
    for name in SPLITS:
        if sizes[name] % 2:
            raise UserError(
                f"steering.prompts.split.{name}: {sizes[name]} is odd, but with "
                f"steering.prompts.balance the items of {behavior} are half Yes and half No; "
                f"take {sizes[name] - 1} or {sizes[name] + 1}"
            )
    there = Counter(item.side for item in items)
    half = sum(sizes[name] for name in SPLITS) // 2
    counted = f"Yes in {there['Yes']} items and No in {there['No']}"
    if min(there["Yes"], there["No"]) < half:
        raise UserError(
            f"behaviors.{behavior}.items: the matching answer is {counted}, but "
            f"steering.prompts.balance with steering.prompts.split asks for {half} of each; add "
            "items, lower the sizes, or set balance to false"
        )
    log.info("%s: the matching answer is %s; %d of each are dealt", behavior, counted, half)
    return {name: Sides({"Yes": sizes[name] // 2, "No": sizes[name] // 2}) for name in SPLITS}


def _fill(
    waiting: Sequence[list[Item]], room: Sides, *, balance: bool
) -> tuple[list[Item], list[list[Item]]]:
    """Fill one split with groups, whole while they fit; and what waits for the next split."""
    taken: list[Item] = []
    left = []
    for group in waiting:
        sides = Sides(item.side if balance else None for item in group)
        if sides <= room:
            taken += group
            room = room - sides
        else:
            left.append(group)
    # no whole group fits: a part of the smallest
    for group in sorted(left, key=len):
        part = []
        for item in group:
            side = item.side if balance else None
            if room[side]:
                part.append(item)
                room = room - Sides([side])
        if part:
            taken += part
            left = [other for other in left if other is not group]
    return taken, left
