"""Numbers by name: every cell of a table that report/numbers.yaml declares, as a text prints it.

A name is flat: the table, the keys of the row, the column (steerability.optimism.answers.slope).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from steerpaper.paper.words import effect, side, small, summary
from steerpaper.workflow.captions import NONE, estimate, number, p_value, percent

Row = Mapping[str, Any]
ALL, LOWEST, HIGHEST = "all", "lowest", "highest"


@dataclass(frozen=True)
class Number:
    """A number, or a word, as it is and as it is printed."""

    value: float | str | None
    text: str


@dataclass(frozen=True)
class Declared:
    """What report/numbers.yaml says of a table; see there."""

    keys: Sequence[str]
    shares: Sequence[str] = ()
    p: Sequence[str] = ()
    estimates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tests: Mapping[str, str] = field(default_factory=dict)
    ends: str = ""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    only: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    over: Sequence[str] = ()

    def names(self, row: Row) -> bool:
        """Whether a row's numbers have names."""
        return all(row[column] in values for column, values in self.only.items())

    def speaks_of(self, row: Row) -> bool:
        """Whether something is said of a row."""
        return all(row[column] in values for column, values in self.where.items())


@dataclass(frozen=True)
class Reading:
    """How tables are read: the study's measures, the first leading, and the p that is small."""

    measures: Sequence[str]
    alpha: float
    phrases: Mapping[str, Mapping[str, str]]


def reading(params: Mapping[str, Any]) -> tuple[dict[str, Declared], Reading]:
    """What report/numbers.yaml declares of tables, and how they are read.

    Args:
        params: declared (the file's content), measures and alpha.
    """
    declared = {name: Declared(**row) for name, row in params["declared"]["tables"].items()}
    return declared, Reading(params["measures"], params["alpha"], params["declared"]["phrases"])


def key_text(value: Any) -> str:
    """A key's value in a name, without spaces."""
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace(" ", "_")


def named_rows(
    rows: Sequence[Row], declared: Declared, reading: Reading
) -> Iterator[tuple[tuple[str, ...], Row]]:
    """Every row with its keys as texts, and again as lowest or highest where it is."""
    rows = [row for row in rows if declared.names(row)]
    ends = _ends(rows, declared)
    for row in rows:
        keys = [key_text(row[key]) for key in declared.keys]
        measure = row.get("measure")
        if "measure" not in declared.keys and measure not in (None, reading.measures[0]):
            keys.append(str(measure))
        yield tuple(keys), row
        if declared.ends and row[declared.ends] is not None:
            place = list(declared.keys).index(declared.ends)
            for name, end in zip((LOWEST, HIGHEST), ends[_others(row, declared)], strict=True):
                if row[declared.ends] == end:
                    yield (*keys[:place], name, *keys[place + 1 :]), row


def _others(row: Row, declared: Declared) -> tuple[Any, ...]:
    """A row's keys but the one whose ends are looked for."""
    return tuple(row.get(key) for key in (*declared.keys, "measure") if key != declared.ends)


def _ends(rows: Sequence[Row], declared: Declared) -> dict[tuple[Any, ...], tuple[Any, Any]]:
    """The lowest and the highest value of the key `ends` among rows that are else alike."""
    values: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows if declared.ends else ():
        if row[declared.ends] is not None:
            values.setdefault(_others(row, declared), []).append(row[declared.ends])
    return {others: (min(found), max(found)) for others, found in values.items()}


def of_table(
    name: str, rows: Sequence[Row], declared: Declared, reading: Reading
) -> dict[str, Number]:
    """The numbers of a table.

    Raises:
        ValueError: two rows have the same keys.
    """
    found: dict[str, Number] = {}
    groups: dict[str, list[tuple[str, Row]]] = {}
    for keys, row in named_rows(rows, declared, reading):
        start = ".".join([name, *keys])
        for column, cell in _cells(row, declared, reading):
            if f"{start}.{column}" in found:
                raise ValueError(f"two rows of {name} are called {start}")
            found[f"{start}.{column}"] = cell
        if declared.over and declared.speaks_of(row):
            over = [declared.keys.index(key) for key in declared.over]
            rest = [key for place, key in enumerate(keys) if place not in over]
            # a behaviour, and the block where there may be several
            what = " at block ".join(keys[place] for place in over)
            groups.setdefault(".".join([name, ALL, *rest]), []).append((what, row))
    for start, group in groups.items():
        found |= _summed_up(start, group, declared, reading)
    return found


def _cells(row: Row, declared: Declared, reading: Reading) -> Iterator[tuple[str, Number]]:
    """A row's cells by column, and what is said of them."""
    for column, value in row.items():
        if column not in declared.keys or column == declared.ends:
            yield key_text(column), Number(value, _printed(column, value, declared))
    for column, about in declared.estimates.items():
        if column not in row:
            continue
        low, high = _bounds(column, about)
        printed = {key: row.get(key) for key in (column, low, high)}
        text = estimate(printed, column, low, high)
        if column in declared.shares:
            text = _share_estimate(*printed.values())
        yield f"{column}.estimate", Number(row[column], text)
        if "says" in about and declared.speaks_of(row):
            said = _side(row, column, about)
            yield f"{column}.word", Number(said, reading.phrases[about["says"]][said])
    for column, phrases in declared.tests.items():
        said = small(row.get(column), reading.alpha)
        yield f"{column}.word", Number(said, reading.phrases[phrases][said])


def _printed(column: str, value: Any, declared: Declared) -> str:
    if value is not None and isinstance(value, str):
        return value
    if column in declared.p:
        return p_value(value)
    return percent(value) if column in declared.shares else number(value)


def _share_estimate(share: Any, low: Any, high: Any) -> str:
    if share is None or low is None:
        return percent(share)
    return f"{percent(share)} ({percent(low)} to {percent(high)})"


def _bounds(column: str, about: Mapping[str, Any]) -> tuple[str, str]:
    return about.get("low", f"{column}_low"), about.get("high", f"{column}_high")


def _side(row: Row, column: str, about: Mapping[str, Any]) -> str:
    low, high = _bounds(column, about)
    at = about.get("at", 0)
    if isinstance(at, Mapping):
        at = at.get(row[at["column"]], 0)
    return side(row[column], row.get(low), row.get(high), at)


def _summed_up(
    start: str, rows: Sequence[tuple[str, Row]], declared: Declared, reading: Reading
) -> dict[str, Number]:
    """What is said of rows that differ in `over`, and between what their estimates lie."""
    found = {f"{start}.n": Number(len(rows), number(len(rows)))}
    for column, about in declared.estimates.items():
        values = [row[column] for _, row in rows if row.get(column) is not None]
        shown = percent if column in declared.shares else number
        ends = [shown(end(values)) for end in (min, max)] if values else [NONE]
        found[f"{start}.{column}.range"] = Number(None, " to ".join(dict.fromkeys(ends)))
        if "says" in about:
            said = {what: _side(row, column, about) for what, row in rows}
            text = summary(said, reading.phrases[about["says"]])
            found[f"{start}.{column}.words"] = Number(None, text)
    return found


def effects(tables: Mapping[str, Sequence[Row]], reading: Reading) -> dict[str, Number]:
    """What the vectors do, by behaviour and contrast, and in all behaviours of a contrast.

    Names: steerability.<behavior>.<contrast>.effect, steerability.all.<contrast>.effects.
    """
    random = {
        (row["behavior"], row["contrast"], row["measure"]): row["mean"]
        for row in tables.get("controls", [])
        if row["kind"] == "random"
    }
    phrases = reading.phrases["effect"]
    found: dict[str, Number] = {}
    by_contrast: dict[str, dict[str, str]] = {}
    for row in tables.get("steerability", []):
        if row["measure"] != reading.measures[0]:
            continue
        behavior, contrast = row["behavior"], row["contrast"]
        said = effect(
            row["slope"],
            row["low"],
            row["high"],
            row["p_holm"],
            reading.alpha,
            random.get((behavior, contrast, row["measure"])),
        )
        found[f"steerability.{behavior}.{contrast}.effect"] = Number(said, phrases[said])
        by_contrast.setdefault(contrast, {})[behavior] = said
    for contrast, of_contrast in by_contrast.items():
        text = summary(of_contrast, phrases)
        found[f"steerability.all.{contrast}.effects"] = Number(None, text)
    return found


def all_numbers(
    tables: Mapping[str, Sequence[Row]], declared: Mapping[str, Declared], reading: Reading
) -> dict[str, Number]:
    """The numbers of all tables that are declared, by name."""
    found: dict[str, Number] = {}
    for name, rows in tables.items():
        if name in declared:
            found |= of_table(name, rows, declared[name], reading)
    return found | effects(tables, reading)


def names_of_rows(
    tables: Mapping[str, Sequence[Row]], declared: Mapping[str, Declared], reading: Reading
) -> dict[str, list[dict[str, str]]]:
    """By table its rows: the keys as texts, and under `name` what their numbers' names begin with.

    Of several measures those of the first.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for table, rows in tables.items():
        if table not in declared:
            continue
        keys_of = declared[table].keys
        found[table] = [
            {**dict(zip(keys_of, keys, strict=True)), "name": ".".join([table, *keys])}
            for keys, _ in named_rows(rows, declared[table], reading)
            if len(keys) == len(keys_of)
        ]
    return found
