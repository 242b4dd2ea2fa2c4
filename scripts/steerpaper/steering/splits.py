"""A behaviour's items in train, dev and test: dealt out of one file, or from a file for each."""

import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.steering.balance import balanced
from steerpaper.steering.items import Item, asked_by, plain, split_choices

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")
ALL = "all"  # of a file that is a split's own
LEAST = 2  # items that a split has: fewer have no spread

# how many items there are, or may be, by side; without balance all items have the side None
Sides = Counter[str | None]


def size_of(size: int | str, n: int, *, even: bool = False) -> int:
    """How many of n items a split asks for: a number, a share such as 40%, or `ALL`.

    Args:
        even: a share is of an even number.
    """
    if size == ALL:
        return n
    if isinstance(size, str):
        share = n * int(size.removesuffix("%")) // 100
        return share - share % 2 if even else share
    return size


def split_items(
    items: Sequence[Item],
    asked: Mapping[str, int | str],
    seed: int,
    behavior: str,
    *,
    balance: bool,
) -> dict[str, list[Item]]:
    """Deal items into disjoint train, dev and test sets by seed.

    Items with the same stem (one question with other choices) stand in one split: what is left of
    a split's size is filled with a part of such a group, and the group's other items are in none.

    Args:
        asked: a number of items a split, or a share of all.
        balance: of a file whose answers are Yes and No, every split holds as many items whose
            matching answer is Yes as No.

    Raises:
        UserError: fewer items than the three sizes add up to, in all or of one side; a size that
            is odd where it is balanced.
    """
    balance = balance and bool(items) and items[0].side is not None
    sizes = {name: size_of(asked[name], len(items), even=balance) for name in SPLITS}
    wanted = sum(sizes.values())
    if len(items) < wanted:
        raise UserError(
            f"behaviors.{behavior}.items: {len(items)} items, but steering.prompts.split asks for "
            f"{' + '.join(str(asked[name]) for name in SPLITS)} = {wanted}; "
            "add items or lower the sizes"
        )
    for name, size in sizes.items():
        if size < LEAST and asked[name] != 0:
            raise UserError(
                f"steering.prompts.split.{name}: {asked[name]} of {len(items)} items of "
                f"behaviors.{behavior}.items is {size}; at least {LEAST} are needed"
            )
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
        groups.setdefault(_stem(item), []).append(item)
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


def own_splits(
    files: Mapping[str, Sequence[Item]],
    sizes: Mapping[str, int | str],
    seed: int,
    behavior: str,
    *,
    balance: bool,
    bad_items: str,
) -> dict[str, list[Item]]:
    """The splits of a behaviour whose train, dev and test are files of their own: nothing is dealt.

    Each has the items of its file, in the file's order, and at most as many as its size says: out
    of more items that many are drawn by seed. A split without a file is empty.

    Args:
        sizes: as `size_of` takes them.
        balance: of a file whose answers are Yes and No, as many items whose matching answer is Yes
            as No.
        bad_items: what is done with a question that two files have: `stop` refuses it, `drop`
            leaves it out of the later file, `keep` logs it.

    Raises:
        UserError: a question in two files; fewer items of a split than `LEAST`.
    """
    files = without_shared(files, behavior, bad_items)
    parts = {}
    for name in SPLITS:
        items = [replace(item, split=name) for item in files.get(name, [])]
        size = sizes[name]
        most = min(size_of(size, len(items)), len(items))
        order = stream(seed, "split", behavior, name).permutation(len(items))
        places = list(order[:most])
        if balance and items and items[0].side is not None:
            places = _equal_sides([items[place].side for place in order], most)
            places = [order[place] for place in places]
        parts[name] = [items[place] for place in sorted(places)]
        if name in files and size != 0 and len(parts[name]) < LEAST:
            raise UserError(
                f"behaviors.{behavior}.splits.{name}: {len(parts[name])} item(s) are left of "
                f"{len(items)} in the file; at least {LEAST} are needed"
            )
        left_out = len(items) - len(parts[name])
        if left_out:
            log.info("%s: %d of %s's %d items are left out", behavior, left_out, name, len(items))
    return parts


def _equal_sides(sides: Sequence[str | None], most: int) -> list[int]:
    """Places of as many items of Yes as of No, the first in their order, and at most so many."""
    there = Counter(sides)
    return balanced(sides, 2 * min(most // 2, there["Yes"], there["No"]))


def without_shared(
    files: Mapping[str, Sequence[Item]], behavior: str, bad_items: str
) -> dict[str, list[Item]]:
    """The files' items, those whose question an earlier file has refused, dropped or kept.

    Questions that share their stem alone are said in the log.

    Raises:
        UserError: names both places of a question that two files have.
    """
    questions: dict[Hashable, Item] = {}
    stems: set[str] = set()
    found: dict[str, list[Item]] = {}
    for name in SPLITS:
        mine = files.get(name, [])
        kept, alike = [], 0
        for item in mine:
            first = questions.get(asked_by(item))
            if first:
                again = f"{item.source}: the question of {first.source} again"
                if bad_items == "stop":
                    raise UserError(
                        f"{again}: two of behaviors.{behavior}.splits share it; remove one of them,"
                        f" or set behaviors.{behavior}.bad_items to drop (it is left out of {name})"
                        " or to keep (as published files are)"
                    )
                log.warning("%s: %s", "dropped" if bad_items == "drop" else "kept", again)
                if bad_items == "drop":
                    continue
            alike += not first and _stem(item) in stems
            kept.append(item)
        if alike:
            log.warning(
                "%s: %d items of %s ask a question of an earlier file with other choices",
                *(behavior, alike, name),
            )
        questions |= {asked_by(item): item for item in mine if asked_by(item) not in questions}
        stems |= {_stem(item) for item in mine}
        if name in files:
            found[name] = kept
    return found


def _stem(item: Item) -> str:
    """A question without choices, as it is compared."""
    return plain(split_choices(item.question)[0], "NFKC")
