"""Judges as a configuration names them: who rates completions, and every endpoint that is asked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]
SECTION = "steering.ratings"


def judges_of(ratings: Config) -> list[tuple[str, Config]]:
    """The judges of a section steering.ratings, by the key that each stands under."""
    second = ratings["second"]
    return [(SECTION, ratings)] + ([(f"{SECTION}.second", second)] if second else [])


def endpoints_of(config: Config) -> Iterator[tuple[str, Config]]:
    """Every endpoint of a configuration, asked or not, by its key."""
    explanations = ("lookups.explanations", config["lookups"]["explanations"])
    for section, judge in (explanations, *judges_of(config["steering"]["ratings"])):
        yield f"{section}.endpoint", judge["endpoint"]


def check_ratings(config: Config, rated: Sequence[str]) -> list[str]:
    """What is wrong with the section steering.ratings.

    Args:
        rated: the behaviours whose completions are rated.

    Returns:
        a sentence for each problem, which begins with the key.
    """
    problems = [
        f"behaviors.{name}.rating: is missing; {SECTION} rates {name}, and a judge is asked what "
        "this file says (docs/judges.md)"
        for name in rated
        if name in config["behaviors"] and "rating" not in config["behaviors"][name]
    ]
    ratings = config["steering"]["ratings"]
    if ratings["labels"] == "judge":
        problems += _check_labels(config["behaviors"], rated)
    judges = judges_of(ratings)
    for section, judge in judges:
        if judge["judge"] == "local" and judge["passes"] > 1:
            problems.append(
                f"{section}.passes: the local judge answers the same every time; set it to 1, or "
                f"name another judge under {SECTION}.second"
            )
    if len({_who(judge) for _, judge in judges}) < len(judges):
        problems.append(
            f"{SECTION}.second: is the first judge again; {SECTION}.passes asks one several times"
        )
    return problems


def _check_labels(behaviors: Config, rated: Sequence[str]) -> list[str]:
    """What is wrong where the first judge labels completions, too."""
    if not rated:
        return [
            f"{SECTION}.labels: judge labels the completions that are rated, and none are; name "
            f"behaviours under {SECTION}.behaviors, or label by markers"
        ]
    return [
        f"behaviors.{name}.about: is missing; with {SECTION}.labels: judge a judge is told what "
        "this file's key measures says (docs/judges.md)"
        for name in rated
        if name in behaviors and "about" not in behaviors[name]
    ]


def _who(judge: Config) -> tuple[str, ...]:
    """What makes a judge another than the next."""
    endpoint = judge["endpoint"]
    if judge["judge"] == "local":
        return ("local",)
    return (judge["judge"], endpoint["base_url"], endpoint["model"])
