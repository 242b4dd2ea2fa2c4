"""What is said of a number, by its interval and p, so that sentences hold for any numbers."""

from collections.abc import Mapping, Sequence

Phrases = Mapping[str, str]
LISTED = 8  # more names than this are a count


def side(value: float | None, low: float | None, high: float | None, at: float = 0) -> str:
    """Where a number's interval lies, seen from `at`: above, below or around it.

    Returns:
        "unknown" for a number without an interval, "missing" for no number.
    """
    if value is None:
        return "missing"
    if low is None or high is None:
        return "unknown"
    return "above" if low > at else "below" if high < at else "around"


def effect(
    slope: float | None,
    low: float | None,
    high: float | None,
    p: float | None,
    alpha: float,
    controls: float | None = None,
) -> str:
    """What a vector does to the score: its side, and whether the controls do as much.

    Args:
        p: of the slope against the controls, corrected; None where there are none.
        alpha: p below it is small.
        controls: mean slope of the random directions; a slope that their mean exceeds in its own
            direction is no effect of the vector, however small p is.
    """
    where = side(slope, low, high)
    if where not in ("above", "below"):
        return where
    verb = "raises" if where == "above" else "lowers"
    if p is None:
        return f"{verb} alone"
    assert slope is not None
    beyond = controls is None or (slope > controls if where == "above" else slope < controls)
    return verb if p < alpha and beyond else f"{verb} as controls"


def small(p: float | None, alpha: float) -> str:
    """Whether p is small, large, or missing."""
    return "missing" if p is None else "small" if p < alpha else "large"


def enumerated(names: Sequence[str]) -> str:
    """Names as a sentence lists them: "a", "a and b", "a, b and c"."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def summary(said: Mapping[str, str], phrases: Phrases) -> str:
    """What is said of several, each thing once with its names, in the phrases' order.

    Args:
        said: the phrase's key by what it is said of.
    """
    if len(said) == 1:
        ((name, key),) = said.items()
        return f"{phrases[key]} for {name}"
    clauses = []
    for key, phrase in phrases.items():
        names = [name for name, found in said.items() if found == key]
        if names:
            listed = f" ({enumerated(names)})" if len(names) <= LISTED else ""
            clauses.append(f"{phrase} for {len(names)} of {len(said)}{listed}")
    return "; ".join(clauses)
