"""Figures of texts: coloured token by token, and side by side."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from steerpaper.plots.pages import PAGE
from steerpaper.plots.style import COLUMN, GREY, largest
from steerpaper.shown import LINE_END, shortened
from steerpaper.steering.conditions import NO_LAYER

LONGEST = 130  # characters of a title across it
ALONE = 3  # open questions of a behaviour that no other stands beside
TEXT = 5.5  # points: the smallest text that is read with ease
# light at both ends, so that black text can be read on every colour
_TINTS = LinearSegmentedColormap.from_list(
    "tints", mpl.colormaps["RdBu_r"](np.linspace(0.2, 0.8, 9))
)


def projection(table: pd.DataFrame) -> Figure:
    """Texts token by token, coloured by their projection on the behaviour's vector.

    Args:
        table: behavior, contrast, layer, prompt_id, answer, token, part, text, projection; the
            template's tokens are not shown.
    """
    table = table[table["part"] != "template"].assign(text=table["text"].fillna(""))
    # letters of one width, so that a token's place is a count of characters
    width, height = 0.602 * TEXT / 72, 1.45 * TEXT / 72
    tokens, heads, rows = _laid_out(table, columns=int((COLUMN - 0.1) / width))
    # the few largest would leave the rest without colour
    limit = largest(table["projection"].abs().quantile(0.95))
    norm = TwoSlopeNorm(0, -limit, limit)
    bar = 0.45
    figure = plt.figure(figsize=(COLUMN, rows * height + bar))
    ax = figure.add_axes((0, bar / figure.get_figheight(), 1, 1 - bar / figure.get_figheight()))
    ax.set_axis_off()
    ax.set_xlim(-0.05 / width, COLUMN / width - 0.05 / width)
    ax.set_ylim(rows, 0)
    for down, right, text, value in tokens:
        ax.add_patch(Rectangle((right, down + 0.08), len(text), 0.9, fc=_TINTS(norm(value)), lw=0))
        ax.text(right, down + 0.5, text, family="monospace", size=TEXT, va="center_baseline")
    for down, text, title in heads:
        look: dict[str, Any] = (
            {"weight": "bold", "size": 6.5}
            if title
            else {"family": "monospace", "size": TEXT, "color": GREY}
        )
        ax.text(0, down + 0.5, text, va="center_baseline", **look)
    scale = figure.add_axes(
        (0.2, 0.27 / figure.get_figheight(), 0.6, 0.08 / figure.get_figheight())
    )
    figure.colorbar(
        mpl.cm.ScalarMappable(norm, _TINTS), cax=scale, orientation="horizontal", extend="both"
    )
    scale.tick_params(labelsize=6)
    scale.set_xlabel(
        "projection (±1: mean of matching and of other answers in train)", size=6, labelpad=1
    )
    return figure


def _laid_out(
    table: pd.DataFrame, columns: int
) -> tuple[list[tuple[int, int, str, float]], list[tuple[int, str, bool]], int]:
    """Tokens (row, column, text, projection), heads (row, text, is it a title), and the rows."""
    tokens: list[tuple[int, int, str, float]] = []
    heads: list[tuple[int, str, bool]] = []
    row = 0
    for (behavior, layer), of_behavior in table.groupby(["behavior", "layer"], sort=False):
        heads.append((row, f"{behavior}, block {layer}", True))
        row += 1
        for _, prompt in of_behavior.groupby("prompt_id", sort=False):
            for name, block in _blocks(prompt):
                heads.append((row, name, False))
                placed, rows = _place(list(block["text"]), columns - len(name))
                tokens += [
                    (row + down, right + len(name), text, value)
                    for (down, right, text), value in zip(placed, block["projection"], strict=True)
                ]
                row += rows
            row += 1
    return tokens, heads, row


def _blocks(prompt: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The question and each answer of a prompt, with what stands before it."""
    # tokens read only what is before them: the question is the same for all answers
    asked = prompt[prompt["answer"] == prompt["answer"].iloc[0]]
    answers = prompt[prompt["part"] == "answer"].groupby("answer", sort=False)
    return [
        ("", asked[asked["part"] == "question"]),
        *((f"{answer}: ", tokens) for answer, tokens in answers),
    ]


def _place(tokens: Sequence[str], columns: int) -> tuple[list[tuple[int, int, str]], int]:
    """Row, column and shown text of every token in lines of so many characters; and the rows.

    A line breaks before a token that begins a word, so that words stay whole.
    """
    placed = []
    row = column = 0
    for number, token in enumerate(tokens):
        text = shortened(token.replace("\n", LINE_END), columns)
        word = len(text)
        for after in tokens[number + 1 :]:
            if after[:1].isspace() or word > columns:
                break
            word += len(after)
        begins = token[:1].isspace() or number == 0
        if column and (column + len(text) > columns or (begins and column + word > columns)):
            row, column = row + 1, 0
        placed.append((row, column, text))
        column += len(text)
    return placed, row + 1


def completions(table: pd.DataFrame) -> Figure:
    """Greedy completions of each behaviour's first open question, side by side by multiplier.

    Of one behaviour alone, of its first few. As wide as a page.

    Args:
        table: behavior, question, prompt_id, layer, multiplier, decoding, text.
    """
    greedy = table[table["decoding"] == "greedy"].fillna({"text": ""})
    questions = greedy.drop_duplicates(["behavior", "prompt_id"])
    asked = questions.groupby("behavior", sort=False)["prompt_id"]
    greedy = greedy[greedy["prompt_id"].isin(asked.head(ALONE if asked.ngroups == 1 else 1))]
    multipliers = sorted(greedy["multiplier"].unique())
    # the mean character is about half as wide as the letters are high
    characters = int(PAGE / len(multipliers) * 72 / (0.56 * 6))
    blocks = []
    for (behavior, question), answers in greedy.groupby(["behavior", "question"], sort=False):
        texts = {
            row.multiplier: textwrap.wrap(" ".join(str(row.text).split()), characters)
            or ["(empty)"]
            for row in answers.itertuples()
        }
        layer = answers["layer"].max()
        title = f"{behavior}, block {layer}: {question}" if layer != NO_LAYER else str(question)
        title = shortened(" ".join(title.split()), LONGEST)
        blocks.append((title, texts, max(map(len, texts.values())) + 3.2))
    height = 1.25 * 6 / 72
    total = sum(rows for _, _, rows in blocks)
    figure = plt.figure(figsize=(PAGE, total * height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, len(multipliers))
    ax.set_ylim(total, 0)
    top = 0.0
    for title, texts, rows in blocks:
        ax.text(0.03, top + 0.9, title, weight="bold", size=6.5, va="center")
        for place, multiplier in enumerate(multipliers):
            name = f"multiplier {multiplier:g}" if multiplier else "unsteered"
            ax.text(place + 0.03, top + 1.9, name, size=6, va="center", color=GREY)
            text = "\n".join(texts.get(multiplier, ["(none)"]))
            ax.text(place + 0.03, top + 2.4, text, size=6, va="top", linespacing=1.2)
        ax.axhline(top + rows - 0.2, color="0.85", lw=0.6)
        top += rows
    return figure
