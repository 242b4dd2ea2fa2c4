"""Flags: what is doubtful about a number, said beside it in its table.

A table's column `flags` has their names, joined by "; ", empty where nothing is doubtful.
"""

from collections.abc import Hashable, Iterable, Mapping

import pandas as pd

from steerpaper.stats import BOOTSTRAP, LEAST

# what each name says, as the list of all flags has it
FLAGS = {
    "zero vector": "the vector's norm is 0 at the steered block, so that nothing is steered",
    "low mass": "the unsteered model gives A and B together less than half of the probability: "
    "it hardly answers by a letter",
    "low letter mass": "the unsteered model gives the choices' letters together less than half of "
    "the probability: it hardly answers by a letter",
    "unbalanced": "A and B are not equally often the matching letter: an answer by letter counts "
    "as the behaviour",
    "no block stands out": "on dev no block's vector does more than the controls: the chosen block "
    "is one of many",
    "no interval": f"fewer than {LEAST} items, prompts or units: too few for an interval",
    "few items": f"fewer than {BOOTSTRAP} items, prompts or units: the interval is Student's t",
    "unparsed": "more than one in ten of a judge's answers are no rating or label, and left out",
    "beyond context scaling": "texts are longer than what the model was trained on before its "
    "positions were rescaled",
}
LOW_MASS = 0.5
UNPARSED = 0.1
SEPARATOR = "; "


def joined(*names: str) -> str:
    """Flags as a table's text: each once, in the order of `FLAGS`.

    Raises:
        ValueError: a name that is none.
    """
    if unknown := set(names) - set(FLAGS):
        raise ValueError(f"no such flags: {', '.join(sorted(unknown))}")
    return SEPARATOR.join(name for name in FLAGS if name in names)


def few(clusters: int) -> list[str]:
    """Flags of a number that rests on so many items, prompts or pairs; none where it rests on none.

    Without any there is no number, and the table says n = 0.
    """
    if not 0 < clusters < BOOTSTRAP:
        return []
    return ["no interval" if clusters < LEAST else "few items"]


def zero(norm: float) -> list[str]:
    """Flags of a vector of this norm; not-a-number stands for no vector."""
    return ["zero vector"] if norm == 0 else []


def low_mass(mass: "pd.Series[float]") -> list[str]:
    """Flags of items by p(A) + p(B) unsteered; not-a-number where no letter is asked for."""
    return ["low mass"] if mass.mean() < LOW_MASS else []


def low_letters(mass: "pd.Series[float]") -> list[str]:
    """Like `low_mass`, of questions with any number of choices."""
    return ["low letter mass"] if mass.mean() < LOW_MASS else []


def unbalanced(letters: "pd.Series[str]") -> list[str]:
    """Flags of items by their matching letters, missing where no letter is asked for.

    Of an odd number one letter has one item more.
    """
    known = letters.dropna()
    more = int((known == "A").sum()) - int((known == "B").sum())
    return ["unbalanced"] if abs(more) > len(known) % 2 else []


def beyond_scaling(beyond: "pd.Series[bool]") -> list[str]:
    """Flags of texts, of which each is longer than the positions that were not rescaled, or not."""
    return ["beyond context scaling"] if beyond.any() else []


def unparsed(missing: int, asked: int) -> list[str]:
    """Flags of what rests on so many answers, of which some are no rating or label."""
    return ["unparsed"] if missing > UNPARSED * asked else []


def flags_table(tables: Mapping[Hashable, pd.DataFrame]) -> pd.DataFrame:
    """Every flag of some tables, once a behaviour and contrast.

    Args:
        tables: by name, each with a column `flags`.

    Returns:
        table, behavior, contrast (empty where a table has none), rows (how many have the flag), of
        (how many there are), what, sentence; in the order of `FLAGS`, then of the tables.
    """
    columns = ["table", "behavior", "contrast", "rows", "of", "what", "sentence"]
    found = [row for name, table in tables.items() for row in _flags_of(str(name), table)]
    found.sort(key=lambda row: list(FLAGS).index(str(row["what"])))
    return pd.DataFrame(found, columns=columns)


def _flags_of(name: str, table: pd.DataFrame) -> Iterable[dict[str, object]]:
    """The rows of one table, by behaviour and contrast in their order."""
    keys = ["behavior", "contrast"]
    rows = pd.DataFrame({key: table.get(key, "") for key in keys}, index=table.index).fillna("")
    rows["flags"] = table["flags"].fillna("").str.split(SEPARATOR)
    for (behavior, contrast), group in rows.groupby(keys, sort=False):
        for what, sentence in FLAGS.items():
            n = int(group["flags"].map(lambda names, what=what: what in names).sum())
            if n:
                row = {"table": name, "behavior": behavior, "contrast": contrast}
                yield row | {"rows": n, "of": len(group), "what": what, "sentence": sentence}
