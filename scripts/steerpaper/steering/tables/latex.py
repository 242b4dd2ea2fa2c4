"""The headline tables as LaTeX (booktabs): what a paper prints, estimates with their intervals."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Headline:
    """How a CSV table becomes a LaTeX one.

    Attributes:
        caption: the table's caption.
        labels: columns that name a row, and their headings.
        estimates: headings, each with the columns of estimate, low and high.
        numbers: further columns, and their headings.
        rows: column values that a row must have to be printed.
    """

    caption: str
    labels: Mapping[str, str]
    estimates: Mapping[str, tuple[str, str, str]]
    numbers: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, object] = field(default_factory=dict)


def _with_interval(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


_BEHAVIOR = {"behavior": "Behaviour"}
_MULTIPLIER = {"multiplier": "Multiplier"}

# by the name of the CSV table
HEADLINES: Mapping[str, Headline] = {
    "steerability": Headline(
        "Steerability on test at the chosen block: slope of the logit difference (nats per unit "
        "multiplier) and share of anti-steerable items, with bootstrap intervals; p: the slope "
        "against random directions, by permutation within items.",
        {**_BEHAVIOR, "contrast": "Contrast", "layer": "Block"},
        {
            "Slope": ("slope", "low", "high"),
            "Anti-steerable": ("anti_steerable", "anti_low", "anti_high"),
        },
        {"p_items": "p", "n": "n"},
        {"direction": "behavior"},
    ),
    "reasoning": Headline(
        "Logit difference (nats) of the two answers after a chain of thought, by the part that is "
        "steered; intervals are clustered by prompt.",
        {**_BEHAVIOR, "reasoning": "Reasoning", "steered": "Steered", **_MULTIPLIER},
        {"Logit difference": _with_interval("logit_diff"), "Change": _with_interval("change")},
        {"n": "n", "prompts": "Prompts"},
    ),
    "system_prompts": Headline(
        "Logit difference (nats) by system prompt and multiplier, and the steerability slope under "
        "each system prompt, with bootstrap intervals.",
        {**_BEHAVIOR, "system_prompt": "System prompt", **_MULTIPLIER},
        {"Logit difference": _with_interval("logit_diff"), "Slope": _with_interval("slope")},
        {"n": "n"},
    ),
    "logprobs": Headline(
        "Change of the log-probability (nats, summed over tokens) of completions that the "
        "unsteered model sampled, by label; bootstrap intervals draw whole prompts (none from a "
        "single prompt).",
        {**_BEHAVIOR, "contrast": "Contrast", "label": "Completions", **_MULTIPLIER},
        {"Change": ("change", "low", "high")},
        {"n": "n", "n_prompts": "Prompts"},
        {"direction": "behavior"},
    ),
    "cost": Headline(
        "Cost of steering: perplexity of neutral text, accuracy on knowledge questions, and the "
        "factor or difference against the unsteered model, with bootstrap intervals.",
        {
            **_BEHAVIOR,
            "measure": "Measure",
            "contrast": "Asked by",
            "direction": "Direction",
            **_MULTIPLIER,
        },
        {"Value": _with_interval("value"), "Change": _with_interval("change")},
        {"n": "n"},
    ),
}


def latex_table(table: pd.DataFrame, headline: Headline, name: str) -> str:
    """A table's LaTeX source; an estimate that does not exist (n = 0) is a dash, and one without an
    interval (a single prompt) stands alone.

    Args:
        table: as read from the CSV file.
        name: the table's name, of which its label is made.
    """
    for column, value in headline.rows.items():
        table = table[table[column] == value]
    shown = pd.DataFrame(index=table.index)
    for column, heading in headline.labels.items():
        shown[heading] = table[column].map(_label)
    for heading, (mean, low, high) in headline.estimates.items():
        shown[heading] = [
            "–" if pd.isna(m) else f"{m:.2f}" + ("" if pd.isna(a) else f" [{a:.2f}, {b:.2f}]")
            for m, a, b in zip(table[mean], table[low], table[high], strict=True)
        ]
    for column, heading in headline.numbers.items():
        shown[heading] = table[column].map(lambda x: "–" if pd.isna(x) else f"{x:.3g}")
    shown = shown.map(_escaped)
    source: str = shown.to_latex(
        index=False,
        caption=headline.caption,
        label=f"tab:{name}",
        position="t",
        column_format="l" * len(headline.labels)
        + "r" * (len(headline.estimates) + len(headline.numbers)),
    )
    return source


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, "\\" + character)
    # a hyphen before a digit is a minus sign
    return re.sub(r"-(?=\d)", "$-$", text.replace("–", "--"))
