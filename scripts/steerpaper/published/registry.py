"""Which quantities published numbers may be of, where ours are, and how a paper made its own.

report/published.yaml lists units and quantities; beside each paper's numbers lies a YAML file with
its models, its protocol as configuration keys, digests of its data, and quantities of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from steerpaper.errors import UserError
from steerpaper.published.numbers import Number, read_numbers
from steerpaper.reading import read_yaml, shown

WORKFLOW = Path(__file__).parents[3]
FOLDER = WORKFLOW / "data/published"
REGISTRY = WORKFLOW / "report/published.yaml"
SCHEMA = WORKFLOW / "report/published.schema.yaml"

# of the paper's files, by behaviour and configuration key
Digests = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Ours:
    """Where a quantity is among a study's tables; see report/published.yaml."""

    table: str
    value: str
    low: str = ""
    high: str = ""
    n: str = ""
    clusters: Sequence[str] = ()
    samples: Sequence[str] = ()
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantity:
    """What is known of a quantity; see report/published.yaml. Without `ours` no study has it."""

    unit: str
    error: str
    keys: Mapping[str, Mapping[str, Any]]
    ours: Ours | None = None


@dataclass(frozen=True)
class Registry:
    """Least and greatest values by unit, and quantities by name."""

    units: Mapping[str, Sequence[float | None]]
    quantities: Mapping[str, Quantity]


@dataclass(frozen=True)
class Model:
    """A paper's model: its names on the hub, its commit where the paper gives one."""

    id: Sequence[str]
    revision: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Paper:
    """What a paper printed and how it was made.

    Attributes:
        numbers: what it printed.
        models: by the name that the numbers' lines have.
        protocol: the paper's value of configuration keys, for all quantities; `protocols` for one.
        differs: by quantity, what else is not as here, whatever the configuration.
        data: by behaviour ("" for all) and configuration key, the SHA-256 of the paper's file, for
            all quantities; `datas` for one.
        registry: the workflow's, with the paper's own units and quantities.
    """

    numbers: Sequence[Number]
    models: Mapping[str, Model]
    protocol: Mapping[str, Any]
    protocols: Mapping[str, Mapping[str, Any]]
    differs: Mapping[str, str]
    data: Digests
    datas: Mapping[str, Digests]
    registry: Registry

    def protocol_of(self, number: Number, of_model: bool) -> dict[str, Any]:
        """What a number was made under, by configuration key.

        Args:
            of_model: with what holds for its model alone, like the block.
        """
        found = {**self.protocol, **self.protocols.get(number.quantity, {})}
        model = self.models.get(number.model)
        return found | dict(model.protocol) if of_model and model else found

    def data_of(self, number: Number) -> dict[str, str]:
        """The SHA-256 of the files that a number rests on, by configuration key."""
        found: dict[str, str] = {}
        for data in (self.data, self.datas.get(number.quantity, {})):
            for behavior in ("", number.setting.get("behavior", "")):
                found |= data.get(behavior, {})
        return found

    def quantity_of(self, number: Number) -> Quantity:
        """What is known of a number's quantity."""
        return self.registry.quantities[number.quantity]


def own_papers() -> dict[str, dict[str, str]]:
    """The papers that come with the workflow, by name: the files `numbers` and `about`."""
    return {
        path.stem: {"numbers": str(path), "about": str(path.with_suffix(".yaml"))}
        for path in sorted(FOLDER.glob("*.csv"))
    }


def papers_of(verdict: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The files of the papers that a study is compared with, by the papers' names.

    Args:
        verdict: the section of the configuration: papers, published.
    """
    known = own_papers() | dict(verdict["published"])
    chosen = known if verdict["papers"] is None else verdict["papers"]
    return {name: known[name] for name in chosen}


def read_registry(path: str | Path = REGISTRY) -> Registry:
    """Units and quantities.

    Raises:
        UserError: names the file and the key of what is not as the schema has it.
    """
    content = _checked(path, "registry")
    return _registry(content["units"], content["quantities"])


def read_paper(numbers: str | Path, about: str | Path, registry: Registry) -> Paper:
    """A paper: its numbers, checked, and what is said of it beside them.

    Raises:
        UserError: names the file, and the line or key of what is unknown, malformed or out of
            range.
    """
    content = _checked(about, "paper")
    of_quantities = content.get("quantities", {})
    own = _registry(
        content.get("units", {}),
        {
            name: {key: row[key] for key in ("unit", "error", "keys", "ours") if key in row}
            for name, row in of_quantities.items()
            if "unit" in row
        },
    )
    known = Registry({**registry.units, **own.units}, {**registry.quantities, **own.quantities})
    _check_names(about, of_quantities, own, registry, known)
    paper = Paper(
        numbers=read_numbers(numbers),
        models={name: Model(**row) for name, row in content["models"].items()},
        protocol=content.get("protocol", {}),
        protocols={name: row.get("protocol", {}) for name, row in of_quantities.items()},
        differs={name: row["differs"] for name, row in of_quantities.items() if "differs" in row},
        data=content.get("data", {}),
        datas={name: row.get("data", {}) for name, row in of_quantities.items()},
        registry=known,
    )
    for number in paper.numbers:
        check_number(number, known)
        ours = paper.quantity_of(number).ours
        if ours and number.model not in paper.models:
            raise UserError(
                f"{number.where}: model {shown(number.model)} is not among the models in {about}; "
                f"there: {', '.join(paper.models)}"
            )
    return paper


def check_number(number: Number, registry: Registry) -> None:
    """Does a published number fit its quantity?

    Raises:
        UserError: names file and line: quantity, unit or key of the setting is unknown, or the
            value lies outside what its unit allows.
    """
    quantity = registry.quantities.get(number.quantity)
    if quantity is None:
        raise UserError(
            f"{number.where}: quantity {shown(number.quantity)} is unknown; known: "
            f"{', '.join(registry.quantities)} (report/published.yaml; a paper's own quantities "
            "stand in the YAML file beside its numbers)"
        )
    if number.unit != quantity.unit:
        raise UserError(
            f"{number.where}: unit {shown(number.unit)}; {number.quantity} is in {quantity.unit}"
        )
    low, high = registry.units[quantity.unit]
    if (low is not None and number.value < low) or (high is not None and number.value > high):
        raise UserError(
            f"{number.where}: value {number.value:g} is none of unit {number.unit}, which goes "
            f"{_range(low, high)}"
        )
    if unknown := [key for key in number.setting if key not in quantity.keys]:
        raise UserError(
            f"{number.where}: setting: {number.quantity} has no key {unknown[0]}; it has "
            f"{', '.join(quantity.keys) or 'none'}"
        )


def _range(low: float | None, high: float | None) -> str:
    below, above = ("" if end is None else f"{end:g}" for end in (low, high))
    if below and above:
        return f"from {below} to {above}"
    return f"from {below} on" if below else f"up to {above}"


def protocol_keys(papers: Iterable[Paper]) -> list[str]:
    """Every configuration key that a paper's protocol names."""
    return sorted({key for paper in papers for protocol in _protocols(paper) for key in protocol})


def _protocols(paper: Paper) -> Iterator[Mapping[str, Any]]:
    yield paper.protocol
    yield from paper.protocols.values()
    yield from (model.protocol for model in paper.models.values())


def data_keys(papers: Iterable[Paper]) -> list[str]:
    """Every configuration key of raw data whose digest a paper gives."""
    found = (data for paper in papers for data in (paper.data, *paper.datas.values()))
    return sorted({key for data in found for files in data.values() for key in files})


def tables_wanted(papers: Iterable[Paper]) -> list[str]:
    """The tables in which a study would have what the papers printed."""
    quantities = (paper.quantity_of(number) for paper in papers for number in paper.numbers)
    return sorted({quantity.ours.table for quantity in quantities if quantity.ours})


def _registry(units: Mapping[str, Any], quantities: Mapping[str, Any]) -> Registry:
    made = {name: Quantity(**row) for name, row in quantities.items()}
    return Registry(
        units,
        {
            name: replace(quantity, ours=Ours(**quantities[name]["ours"]))
            if quantity.ours
            else quantity
            for name, quantity in made.items()
        },
    )


def _check_names(
    path: str | Path,
    of_quantities: Mapping[str, Any],
    own: Registry,
    registry: Registry,
    known: Registry,
) -> None:
    """Quantities and units of a paper's own are new, and what it speaks of is known."""
    for kind in ("units", "quantities"):
        if twice := set(getattr(own, kind)) & set(getattr(registry, kind)):
            raise UserError(
                f"{path}: {kind}.{min(twice)} is the workflow's own; choose another name"
            )
    if unknown := [name for name in of_quantities if name not in known.quantities]:
        raise UserError(
            f"{path}: quantities.{unknown[0]}: is unknown; a quantity of the paper's own needs "
            "unit, error and keys"
        )
    for name, quantity in own.quantities.items():
        if quantity.unit not in known.units:
            raise UserError(
                f"{path}: quantities.{name}.unit: {shown(quantity.unit)} is unknown; known: "
                f"{', '.join(known.units)}, or one listed under units"
            )


@cache
def _schema(kind: str) -> Draft202012Validator:
    rules = read_yaml(SCHEMA)
    return Draft202012Validator({"$defs": rules["$defs"], "$ref": f"#/$defs/{kind}"})


def _checked(path: str | Path, kind: str) -> dict[str, Any]:
    """What a YAML file says, held against the schema."""
    content = read_yaml(path)
    errors = sorted(
        _schema(kind).iter_errors(content), key=lambda error: list(map(str, error.path))
    )
    if errors:
        key = ".".join(map(str, errors[0].absolute_path)) or "the file"
        raise UserError(f"{path}: {key}: {errors[0].message}")
    found: dict[str, Any] = content
    return found
