"""Numbers as LaTeX macros, for an author's own manuscript: names of letters alone."""

import re
from collections.abc import Mapping

from steerpaper.paper.numbers import Number

_DIGITS = ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": r"$-$",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


def macro(name: str) -> str:
    """A number's macro: "cost.calm.-0.5.n" is CostCalmMinusZeroPointFiveN."""
    name = re.sub(r"(?<![\w])-(?=\d)", ".minus.", name)
    name = re.sub(r"(?<=\d)\.(?=\d)", ".point.", name)
    name = re.sub(r"\d", lambda digit: f".{_DIGITS[int(digit[0])]}.", name)
    return "".join(part[0].upper() + part[1:] for part in re.split(r"[^A-Za-z]+", name) if part)


def escaped(text: str) -> str:
    """A text as LaTeX prints it."""
    text = "".join(_SPECIAL.get(sign, sign) for sign in text)
    # a minus before a number, not a hyphen
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)


def macros(numbers: Mapping[str, Number]) -> str:
    """A file of macros, a line each, with the number's name behind it.

    Names that differ in what is no letter would share a macro: the later ones get Again.
    """
    lines = ["% made from numbers.json, whose names stand behind the macros"]
    known: set[str] = set()
    for name, number in numbers.items():
        called = macro(name)
        while called in known:
            called += "Again"
        known.add(called)
        lines.append(rf"\newcommand{{\{called}}}{{{escaped(number.text)}}}% {name}")
    return "\n".join(lines) + "\n"
