"""Figures of the vectors' geometry: principal components, cosine similarities, norms."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.style import COLUMN, GREY, colours, legend, panels, powers_of_ten, titles


def pca(table: pd.DataFrame) -> Figure:
    """Activations of matching and other answers on their first two principal components.

    Args:
        table: behavior, layer, answer, pc1, pc2, share1, share2 of one contrast; a row of panels
            a behaviour, a column a block.
    """
    behaviors, layers = (list(table[key].unique()) for key in ("behavior", "layer"))
    palette = colours(["matching", "other"])
    figure, grid = plt.subplots(
        len(behaviors),
        len(layers),
        figsize=(COLUMN, 1.2 * len(behaviors) + 0.4),
        squeeze=False,
        layout="constrained",
    )
    for axes, behavior in zip(grid, behaviors, strict=True):
        for ax, layer in zip(axes, layers, strict=True):
            here = table[(table["behavior"] == behavior) & (table["layer"] == layer)]
            for answer, marker in (("matching", "o"), ("other", "^")):
                points = here[here["answer"] == answer]
                ax.scatter(
                    points["pc1"],
                    points["pc2"],
                    s=5,
                    color=palette[answer],
                    marker=marker,
                    alpha=0.7,
                    lw=0,
                    label=f"{answer} (n = {len(points)})",
                )
            ax.set_title(f"{behavior}, block {layer}")
            ax.set_xlabel(f"PC 1 ({here['share1'].iloc[0]:.0%})", labelpad=1)
            ax.set_ylabel(f"PC 2 ({here['share2'].iloc[0]:.0%})", labelpad=1)
            ax.set_xticks([])
            ax.set_yticks([])
    legend(figure, [grid[0, 0]], 2)
    return figure


def cosine_blocks(table: pd.DataFrame) -> Figure:
    """Cosine similarity of a behaviour's vectors at every two blocks, a panel a behaviour.

    Args:
        table: behavior, layer, other_layer, cosine of one contrast.
    """
    behaviors = list(table["behavior"].unique())
    height = 1.25 if len(behaviors) > 1 else 2.2
    figure, axes = panels(behaviors, height=height, sharex=True, sharey=True)
    norm = Normalize(-1, 1)
    for ax, behavior in zip(axes, behaviors, strict=True):
        cells = table[table["behavior"] == behavior].pivot(
            index="layer", columns="other_layer", values="cosine"
        )
        ax.imshow(cells, cmap="RdBu_r", norm=norm, origin="lower")
        ax.set_title(behavior)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    titles(figure, x="block", y="block")
    figure.colorbar(
        ScalarMappable(norm, "RdBu_r"), ax=axes, label="cosine similarity", shrink=0.7, aspect=30
    )
    return figure


def cosine_behaviors(table: pd.DataFrame) -> Figure:
    """Cosine similarity of every two behaviours' vectors, a panel a block.

    Args:
        table: layer, behavior, other, cosine of one contrast and the blocks to show.
    """
    layers = list(table["layer"].unique())
    names = list(table["behavior"].unique())
    figure, axes = panels(layers, columns=1, height=0.28 * len(names) + 0.35)
    for ax, layer in zip(axes, layers, strict=True):
        here = table[table["layer"] == layer]
        cells = here.pivot(index="behavior", columns="other", values="cosine").loc[names, names]
        sns.heatmap(
            cells,
            ax=ax,
            cmap="RdBu_r",
            vmin=-1,
            vmax=1,
            annot=True,
            fmt=".2f",
            annot_kws={"size": 6},
            cbar_kws={"label": "cosine"},
        )
        ax.set_title(f"block {layer}")
        ax.set(xlabel="", ylabel="")
        ax.tick_params(axis="y", rotation=0)
        if ax is not axes[-1]:
            ax.set_xticklabels([])
        else:
            ax.tick_params(axis="x", rotation=30)
    return figure


def norms(table: pd.DataFrame) -> Figure:
    """Norm of every behaviour's vector by block beside the residual stream's, a panel a contrast.

    Args:
        table: behavior, contrast, layer, n, vector, residual, residual_low, residual_high.
    """
    contrasts = list(table["contrast"].unique())
    palette = colours(list(table["behavior"].unique()))
    figure, axes = panels(contrasts, height=1.9, sharex=True, sharey=True)
    for ax, contrast in zip(axes, contrasts, strict=True):
        here = table[table["contrast"] == contrast]
        for behavior, colour in palette.items():
            one = here[here["behavior"] == behavior]
            ax.plot(one["layer"], one["vector"], color=colour, label=behavior)
        first = here[here["behavior"] == here["behavior"].iloc[0]]
        ax.plot(first["layer"], first["residual"], color=GREY, ls="--", label="residual stream")
        ax.fill_between(
            first["layer"],
            first["residual_low"],
            first["residual_high"],
            color=GREY,
            alpha=0.2,
            lw=0,
        )
        ax.set_title(f"{contrast} (n = {here['n'].iloc[0]} pairs)")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    powers_of_ten(axes)
    titles(figure, x="block", y="Euclidean norm")
    legend(figure, axes[:1], 3)
    return figure
