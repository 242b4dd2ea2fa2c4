"""Sampled completions as a Markdown page."""

import pandas as pd

from steerpaper.shown import as_markdown


def completions_page(table: pd.DataFrame) -> str:
    """One heading a behaviour and question, one line a completion, from low to high multiplier."""
    lines = ["# Steered completions", ""]
    for behavior, of_behavior in table.groupby("behavior", sort=False):
        layers = sorted(set(of_behavior["layer"]) - {-1})
        block = f", block {layers[0]}" if layers else ""
        lines += [f"## {as_markdown(str(behavior))}{block}", ""]
        for question, answers in of_behavior.groupby("question", sort=False):
            lines += [
                f"### {as_markdown(str(question)) or '(empty)'}",
                "",
                "| multiplier | decoding | completion |",
                "|---:|---|---|",
            ]
            for row in answers.sort_values(["multiplier", "decoding", "sample"]).itertuples():
                decoding = f"sample {row.sample}" if row.decoding == "sample" else "greedy"
                text = as_markdown(str(row.text))
                lines.append(f"| {row.multiplier:g} | {decoding} | {text} |")
            lines.append("")
    return "\n".join(lines)
