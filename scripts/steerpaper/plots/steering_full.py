"""Figures of the steering study in full: items, reasoning, cost, convergence, texts."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from steerpaper.plots.style import COLOURS, COLUMN, GREY, colours, counts, panels

BEHAVIOR = "behavior"
UNSTEERED = -1
PAGE = 7.0  # inches: both columns of a page
TEXT = 5.5  # points: the smallest text that is read with ease
# light at both ends, so that black text can be read on every colour
_TINTS = LinearSegmentedColormap.from_list(
    "tints", mpl.colormaps["RdBu_r"](np.linspace(0.2, 0.8, 9))
)

_CENTRED: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY}


def _error_bars(axes: Axes, x: Any, table: pd.DataFrame, y: str, **look: Any) -> None:
    """Points with their intervals."""
    low, high = table[y] - table[f"{y}_low"], table[f"{y}_high"] - table[y]
    axes.errorbar(x, table[y], yerr=[low, high], capsize=1.5, elinewidth=0.7, **look)


def _legend(figure: Figure, axes: Sequence[Axes], ncols: int, title: str | None = None) -> None:
    """One legend for all panels, each name once."""
    known: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    figure.legend(
        list(known.values()),
        list(known),
        loc="outside upper center",
        ncols=ncols,
        title=title,
        title_fontsize=6.5,
    )


def steerability(items: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Distribution of the items' steerability slopes, the anti-steerable share marked.

    Args:
        items: behavior, contrast, direction, prompt_id, slope; a row of panels a behaviour, a
            column a contrast.
        table: behavior, contrast, direction, n, anti_steerable, anti_low, anti_high.
    """
    behaviors, contrasts = (list(items[key].unique()) for key in ("behavior", "contrast"))
    figure, grid = plt.subplots(
        len(behaviors),
        len(contrasts),
        figsize=(COLUMN, 1.0 * len(behaviors) + 0.6),
        squeeze=False,
        layout="constrained",
    )
    for axes, behavior in zip(grid, behaviors, strict=True):
        for ax, contrast in zip(axes, contrasts, strict=True):
            here = items[(items["behavior"] == behavior) & (items["contrast"] == contrast)]
            own = here[here["direction"] == BEHAVIOR]["slope"]
            random = here[here["direction"] != BEHAVIOR]["slope"]
            # 0 is an edge, so that no bar holds both signs
            step = max(float(here["slope"].abs().max()) / 10, 1e-9)
            edges = (
                np.arange(
                    np.floor(here["slope"].min() / step), np.ceil(here["slope"].max() / step) + 1
                )
                * step
            )
            for slopes, colour, label in (
                (own[own >= 0], COLOURS[0], "steerable"),
                (own[own < 0], COLOURS[3], "anti-steerable"),
            ):
                share = np.full(len(slopes), 1 / max(len(own), 1))
                ax.hist(slopes, edges, weights=share, color=colour, label=label)
            if len(random):
                share = np.full(len(random), 1 / len(random))
                ax.hist(
                    random,
                    edges,
                    weights=share,
                    histtype="step",
                    color="0.3",
                    lw=0.8,
                    label="random",
                )
            row = table[
                (table["behavior"] == behavior)
                & (table["contrast"] == contrast)
                & (table["direction"] == BEHAVIOR)
            ].iloc[0]
            ax.axvline(0, color="0.2", lw=0.6)
            ax.set_title(
                f"{behavior}, {contrast} (n = {row['n']})\nanti-steerable "
                f"{row['anti_steerable']:.0%} [{row['anti_low']:.0%}, {row['anti_high']:.0%}]",
                fontsize=6,
            )
    figure.supxlabel("steerability slope of an item (nats per unit multiplier)", fontsize=7)
    figure.supylabel("share of items", fontsize=7)
    _legend(figure, list(grid.flat), 3)
    return figure


def reasoning(table: pd.DataFrame) -> Figure:
    """Change of the logit difference after a chain of thought, by the part that is steered.

    Args:
        table: behavior, reasoning, steered, multiplier, n, prompts, change with its interval.
    """
    behaviors = list(table["behavior"].unique())
    places = [
        ("without", "answer", "no\nreasoning"),
        ("sampled", "reasoning", "reasoning"),
        ("sampled", "answer", "answer"),
        ("sampled", "both", "both"),
    ]
    steered = table[table["steered"] != "none"]
    palette = colours([f"{m:g}" for m in sorted(steered["multiplier"].unique())])
    figure, axes = panels(behaviors, height=1.5, sharey=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = steered[steered["behavior"] == behavior]
        ax.axhline(0, color="0.8", lw=0.6)
        for number, (name, colour) in enumerate(palette.items()):
            for place, (written, part, _) in enumerate(places):
                one = here[
                    (here["reasoning"] == written)
                    & (here["steered"] == part)
                    & (here["multiplier"].map("{:g}".format) == name)
                ]
                shift = 0.2 * (number - (len(palette) - 1) / 2)
                _error_bars(
                    ax, [place + shift] * len(one), one, "change", fmt="o", color=colour, label=name
                )
        ax.axvline(0.5, color="0.85", lw=0.6)
        ax.set_xticks(range(len(places)), [label for _, _, label in places])
        ax.set_xlim(-0.5, len(places) - 0.5)
        ax.tick_params(axis="x", labelsize=5)
        ax.set_title(behavior)
    sampled = steered[steered["reasoning"] == "sampled"]
    chains = f"{counts(sampled)} chains of {sampled['prompts'].max()} prompts"
    figure.supxlabel(f"what is steered ({chains})", fontsize=7)
    figure.supylabel("change of logit\ndifference (nats)", fontsize=7)
    _legend(figure, axes, len(palette), "multiplier")
    return figure


def system_prompts(table: pd.DataFrame) -> Figure:
    """Logit difference by multiplier under each system prompt.

    Args:
        table: behavior, system_prompt, multiplier, n, logit_diff, logit_diff_low, logit_diff_high;
            n = 0 where a system prompt could not be had.
    """
    behaviors = list(table["behavior"].unique())
    palette = colours(["for", "none", "against"])
    figure, axes = panels(behaviors, height=1.6)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        ax.axhline(0, color="0.8", lw=0.6)
        missing = []
        for number, (name, colour) in enumerate(palette.items()):
            one = here[(here["system_prompt"] == name) & (here["n"] > 0)].sort_values("multiplier")
            if one.empty:
                missing.append(f"'{name}': n = 0")
                continue
            shift = 0.04 * (number - 1)
            _error_bars(
                ax,
                one["multiplier"] + shift,
                one,
                "logit_diff",
                fmt="os^"[number] + "-",
                color=colour,
                label=name,
            )
        if missing:
            ax.text(
                0.02, 0.98, "\n".join(missing), transform=ax.transAxes, va="top", color=GREY, size=6
            )
        ax.set_title(f"{behavior} ({counts(here[here['n'] > 0])})")
    figure.supxlabel("multiplier", fontsize=7)
    figure.supylabel("logit difference (nats)", fontsize=7)
    _legend(figure, axes, 3, "system prompt")
    return figure


def cost(table: pd.DataFrame) -> Figure:
    """Perplexity of neutral text and accuracy on knowledge questions by multiplier.

    Args:
        table: behavior, measure, contrast, direction, multiplier, n, value, value_low, value_high.
    """
    palette = colours(list(table["behavior"].unique()))
    kinds = list(table[["measure", "contrast"]].drop_duplicates().itertuples(index=False))
    figure, axes = panels(kinds, columns=1, height=1.25, sharex=True)
    for ax, (measure, contrast) in zip(axes, kinds, strict=True):
        of_kind = table[(table["measure"] == measure) & (table["contrast"] == contrast)]
        for number, (behavior, colour) in enumerate(palette.items()):
            here = of_kind[of_kind["behavior"] == behavior]
            # the unsteered run belongs to every direction
            unsteered = here[here["multiplier"] == 0]
            for direction, part in here[here["multiplier"] != 0].groupby("direction"):
                line = pd.concat([part, unsteered]).sort_values("multiplier")
                own = direction == BEHAVIOR
                # side by side, so that the bars of equal multipliers can be told apart
                x = line["multiplier"] + 0.06 * (number - (len(palette) - 1) / 2)
                look = {"color": colour, "ls": "-"} if own else {"color": GREY, "ls": "--"}
                label = behavior if own else "random directions"
                _error_bars(ax, x, line, "value", marker="o", ms=2, label=label, **look)
        if measure == "perplexity":
            ax.set_yscale("log")
            ax.set_ylabel("perplexity (log)")
            ax.set_title(f"neutral text ({counts(of_kind)} texts)")
            low, high = of_kind["value_low"].min(), of_kind["value_high"].max()
            ticks = [
                t for p in range(-1, 7) for t in (10.0**p, 2 * 10.0**p, 3 * 10.0**p, 5 * 10.0**p)
            ]
            ax.yaxis.set_major_locator(
                FixedLocator([tick for tick in ticks if low / 1.3 <= tick <= high * 1.3])
            )
            ax.yaxis.set_major_formatter(ScalarFormatter())
            ax.yaxis.set_minor_formatter(NullFormatter())
        else:
            ax.axhline(0.5, color="0.6", lw=0.6, ls=":")
            ax.set_ylim(0, 1.04)
            ax.set_ylabel("accuracy")
            ax.set_title(f"knowledge questions, {contrast} ({counts(of_kind)}; dotted: chance)")
    axes[-1].set_xlabel("multiplier")
    _legend(figure, axes, 3)
    return figure


def _block_colours(table: pd.DataFrame) -> dict[int, Any]:
    """Blocks are in order, so their colours are too."""
    layers = sorted(table["layer"].unique())
    return dict(zip(layers, sns.color_palette("viridis", len(layers) + 1)[:-1], strict=True))


def convergence(table: pd.DataFrame) -> Figure:
    """Cosine of vectors from few items with the vector from all, by number of items.

    Args:
        table: behavior, layer, what, against, items, draws, cosine, low, high of one contrast and
            the blocks to show.
    """
    table = table[table["what"] == "curve"]
    behaviors = list(table["behavior"].unique())
    palette = _block_colours(table)
    figure, axes = panels(behaviors, height=1.6, sharex=True, sharey=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        for layer, colour in palette.items():
            for against, ls in (("full", "-"), ("disjoint", ":")):
                one = here[(here["layer"] == layer) & (here["against"] == against)]
                one = one.sort_values("items")
                label = f"block {layer}" if against == "full" else ""
                ax.plot(one["items"], one["cosine"], color=colour, ls=ls, marker="o", label=label)
                if against == "full":
                    ax.fill_between(
                        one["items"], one["low"], one["high"], color=colour, alpha=0.15, lw=0
                    )
        ax.plot([], [], color=GREY, ls=":", label="two disjoint sets")
        ax.set_xscale("log")
        ax.set_xticks(_apart(set(here["items"])))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(top=1.02)
        ax.set_title(f"{behavior} ({counts(here, 'draws')} draws)")
    figure.supxlabel("items a vector is made from (band: range of the draws)", fontsize=7)
    figure.supylabel("cosine with the vector\nfrom all items", fontsize=7)
    _legend(figure, axes, 2)
    return figure


def _apart(values: Iterable[int]) -> list[int]:
    """Values far enough from each other to be labels on a logarithmic axis."""
    found: list[int] = []
    for value in sorted(values, reverse=True):
        if not found or found[-1] / value >= 1.6:
            found.append(value)
    return found[::-1]


def several_or_one(table: pd.DataFrame) -> Figure:
    """Several vectors from few items each, or one vector from all of those items.

    Args:
        table: behavior, layer, what, against, items, draws, cosine, low, high of one contrast and
            the blocks to show.
    """
    behaviors = list(table["behavior"].unique())
    rows = table[table["what"] != "curve"]
    places = [("one", "one"), ("several, mean", "several,\nmean"), ("several, lowest", "lowest")]
    palette = _block_colours(table)
    # items that no vector has seen are the fair reference, where some are left
    against = "rest" if (rows["against"] == "rest").any() else "full"
    figure, axes = panels(behaviors, height=1.6, sharey=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = rows[rows["behavior"] == behavior]
        if here.empty:
            where: dict[str, Any] = {"transform": ax.transAxes, **_CENTRED}
            ax.text(0.5, 0.5, "n = 0: fewer items\nthan are compared", **where)
            ax.set_axis_off()
            ax.set_title(behavior)
            continue
        for number, (layer, colour) in enumerate(palette.items()):
            for place, (what, _) in enumerate(places):
                one = here[
                    (here["layer"] == layer) & (here["what"] == what) & (here["against"] == against)
                ].rename(columns={"low": "cosine_low", "high": "cosine_high"})
                shift = 0.15 * (number - (len(palette) - 1) / 2)
                label = f"block {layer}"
                _error_bars(ax, [place + shift], one, "cosine", fmt="o", color=colour, label=label)
        few = here[here["what"] == "several, mean"]["items"].iloc[0]
        all_of_them = here[here["what"] == "one"]["items"].iloc[0]
        labels = [
            f"one from\n{all_of_them}",
            f"{all_of_them // few} from\n{few}, mean",
            "lowest\nof them",
        ]
        ax.set_xticks(range(3), labels)
        ax.set_xlim(-0.5, 2.5)
        ax.set_title(f"{behavior} ({counts(here, 'draws')} draws)")
    reference = "items left over" if against == "rest" else "all items"
    figure.supylabel(f"cosine with the vector\nfrom the {reference}", fontsize=7)
    _legend(figure, axes, 3)
    return figure


def projection(table: pd.DataFrame) -> Figure:
    """Texts token by token, coloured by their projection on the behaviour's vector.

    Args:
        table: behavior, contrast, layer, prompt_id, answer, token, part, text, projection; the
            template's tokens are not shown.
    """
    table = table[table["part"] != "template"].assign(text=table["text"].fillna(""))
    # letters of one width, so that a token's place is a count of characters
    width, height = 0.602 * TEXT / 72, 1.45 * TEXT / 72
    columns = int((COLUMN - 0.1) / width)
    lines: list[tuple[int, int, str, float]] = []  # row, column, text, projection
    heads: list[tuple[int, str, bool]] = []
    row = 0
    for (behavior, layer), of_behavior in table.groupby(["behavior", "layer"], sort=False):
        heads.append((row, f"{behavior}, block {layer}", True))
        row += 1
        for _, prompt in of_behavior.groupby("prompt_id", sort=False):
            # tokens read only what is before them: the question is the same for all answers
            asked = prompt[prompt["answer"] == prompt["answer"].iloc[0]]
            blocks = [("", asked[asked["part"] == "question"])]
            for answer, tokens in prompt[prompt["part"] == "answer"].groupby("answer", sort=False):
                blocks.append((f"{answer}: ", tokens))
            for name, tokens in blocks:
                heads.append((row, name, False))
                placed, rows = _place(list(tokens["text"]), columns - len(name))
                lines += [
                    (row + down, right + len(name), text, value)
                    for (down, right, text), value in zip(placed, tokens["projection"], strict=True)
                ]
                row += rows
            row += 1
    # the few largest would leave the rest without colour
    limit = max(float(table["projection"].abs().quantile(0.95)), 1e-6)
    norm = TwoSlopeNorm(0, -limit, limit)
    bar = 0.45
    figure = plt.figure(figsize=(COLUMN, row * height + bar))
    ax = figure.add_axes((0, bar / figure.get_figheight(), 1, 1 - bar / figure.get_figheight()))
    ax.set_axis_off()
    ax.set_xlim(-0.05 / width, COLUMN / width - 0.05 / width)
    ax.set_ylim(row, 0)
    for down, right, text, value in lines:
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


def _place(tokens: Sequence[str], columns: int) -> tuple[list[tuple[int, int, str]], int]:
    """Row, column and shown text of every token in lines of so many characters; and the rows.

    A line breaks before a token that begins a word, so that words stay whole.
    """
    placed = []
    row = column = 0
    for number, token in enumerate(tokens):
        text = token.replace("\n", "↵")
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

    As wide as a page.

    Args:
        table: behavior, question, prompt_id, layer, multiplier, decoding, text.
    """
    greedy = table[table["decoding"] == "greedy"]
    greedy = greedy[
        greedy["prompt_id"].isin(greedy.groupby("behavior", sort=False)["prompt_id"].first())
    ]
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
        title = f"{behavior}, block {layer}: {question}" if layer != UNSTEERED else str(question)
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
        ax.text(0.03, top + 0.9, title, weight="bold", size=6.5, va="center", parse_math=False)
        for place, multiplier in enumerate(multipliers):
            name = f"multiplier {multiplier:g}" if multiplier else "unsteered"
            ax.text(place + 0.03, top + 1.9, name, size=6, va="center", color=GREY)
            text = "\n".join(texts.get(multiplier, ["(none)"]))
            ax.text(
                place + 0.03, top + 2.4, text, size=6, va="top", linespacing=1.2, parse_math=False
            )
        ax.axhline(top + rows - 0.2, color="0.85", lw=0.6)
        top += rows
    return figure
