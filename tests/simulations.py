"""How often intervals hold the truth, and tests find what is not there: tables of simulations.

`make validate` runs the long form and writes it into docs/statistics.md; tests run a short one.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "scripts")]

from scipy import stats as scipy_stats  # noqa: E402

from steerpaper import stats  # noqa: E402
from steerpaper.stats import Interval  # noqa: E402
from steerpaper.steering.chance import p_of_labels  # noqa: E402

DOCS = TESTS.parent / "docs/statistics.md"
INTERVAL = Interval(seed=1, resamples=1000, confidence=0.95)
SKEWED = {
    "normal": (lambda g, size: g.standard_normal(size), 0.0),
    "exponential": (lambda g, size: g.exponential(1, size), 1.0),
    "lognormal": (lambda g, size: g.lognormal(0, 1, size), float(np.exp(0.5))),
    "Student's t, 3 degrees": (lambda g, size: g.standard_t(3, size), 0.0),
}


def holds(found, truth):
    """The share of intervals [draw] that hold the truth, of those that there are."""
    _, low, high = found
    known = np.isfinite(low)
    return float(((low <= truth) & (truth <= high))[known].mean())


def percentile(values):
    """The plain percentile bootstrap of [item, draw]."""
    n = len(values)
    return (None, *INTERVAL.of(INTERVAL.draws(n) @ values / n))


def bca(values):
    """The bias-corrected and accelerated bootstrap (Efron 1987) of [item, draw]."""
    n, mean = len(values), values.mean(axis=0)
    drawn = INTERVAL.draws(n) @ values / n
    share = ((drawn < mean).mean(axis=0) + (drawn <= mean).mean(axis=0)) / 2
    bias = scipy_stats.norm.ppf(share.clip(1e-3, 1 - 1e-3))
    left = mean - (values.sum(axis=0) - values) / (n - 1)
    acceleration = (left**3).sum(axis=0) / (6 * (left**2).sum(axis=0) ** 1.5)
    ends = []
    for z in scipy_stats.norm.ppf([INTERVAL.tail, 1 - INTERVAL.tail]):
        level = scipy_stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        place = np.clip((level * len(drawn)).astype(int), 0, len(drawn) - 1)
        ends.append(np.sort(drawn, axis=0)[place, np.arange(values.shape[1])])
    return None, *ends


def coverage_of_means(draws, seed=1):
    """Means over items: ours, beside the bootstraps that it is not below 20 items."""
    generator = np.random.default_rng(seed)
    rows = []
    for name, (draw, truth) in SKEWED.items():
        for n in (5, 8, 12, 19, 20, 30):
            values = draw(generator, (n, draws))
            ways = {"ours": stats.mean_interval(values, INTERVAL)}
            ways |= {"percentile": percentile(values), "BCa": bca(values)}
            row = {way: holds(found, truth) for way, found in ways.items()}
            rows.append({"data": name, "items": n, **row})
    return pd.DataFrame(rows)


def clustered(generator, clusters, draws):
    """Rows of unequal clusters whose noise is half shared: values [row, draw], clusters [row]."""
    names = np.arange(clusters).repeat(generator.integers(3, 30, clusters))
    shared = generator.standard_normal((clusters, draws))[names]
    return (shared + generator.standard_normal((len(names), draws))) / np.sqrt(2), names


def coverage_of_clusters(draws, seed=2):
    """Means over rows of unequal clusters, and differences of two labels' means within them."""
    generator = np.random.default_rng(seed)
    rows = []
    for n in (5, 8, 12, 20, 30):
        values, names = clustered(generator, n, draws)
        found = {"mean": holds(stats.clustered_interval(values, names, INTERVAL), 0)}
        found["taken for independent rows"] = holds(stats.mean_interval(values, INTERVAL), 0)
        counts = generator.integers(0, 30, (2, n))
        # a prompt may lack a label; that fewer than five have it is another case, without interval
        counts[:, :5] = np.maximum(counts[:, :5], 1)
        sides = [
            generator.standard_normal((n, draws)) / np.sqrt(np.maximum(count, 1))[:, None]
            + generator.standard_normal((n, draws))
            for count in counts
        ]
        of_labels = stats.difference_interval(sides[0], counts[0], sides[1], counts[1], INTERVAL)
        found["difference of two labels"] = holds(of_labels, 0)
        # a tenth of the clusters, and at least two, have most of the rows
        heavy = np.where(np.arange(n) < max(2, n // 10), 20, 1)
        shared, own = generator.standard_normal((2, n, draws))
        means = shared + own / np.sqrt(heavy)[:, None]
        lopsided = stats.clustered_interval(means, np.arange(n), INTERVAL, weights=heavy)
        found["mean, a few of them large"] = holds(lopsided, 0)
        rows.append({"clusters": n, **found})
    return pd.DataFrame(rows)


def coverage_of_shares(draws, seed=3):
    """Shares of items, of clustered rows (8 clusters × 50), and differences of shares."""
    generator = np.random.default_rng(seed)
    rows = []
    for share in (0.02, 0.1, 0.5, 0.9):
        row = {"share": share}
        for n in (5, 12, 30):
            hits = (generator.random((n, draws)) < share).astype(float)
            found = stats.share_interval(hits, INTERVAL)
            assert (found[2] > found[1]).all()
            row[f"{n} items"] = holds(found, share)
        # shares that differ from cluster to cluster: beta, of an intraclass correlation of 0.1
        own = generator.beta(9 * share, 9 * (1 - share), (8, draws)).repeat(50, axis=0)
        hits = (generator.random(own.shape) < own).astype(float)
        names = np.arange(8).repeat(50)
        row["8 clusters of 50"] = holds(stats.share_interval(hits, INTERVAL, names), share)
        before, after = generator.random((2, 24, draws)) < share
        found = stats.share_difference_interval(after.astype(float) - before, INTERVAL)
        rows.append(row | {"difference, 24 items": holds(found, 0)})
    return pd.DataFrame(rows)


def direction_slopes(generator, width, directions, items=30, bend=0.01):
    """Slopes [direction, item] of random directions: along a gradient that items share, and bent.

    Of multipliers of both signs the second order cancels; the third is what a slope is bent by.
    """
    shared = generator.standard_normal(width)
    gradients = shared + generator.standard_normal((items, width))
    pushed = generator.standard_normal((directions, width))
    pushed /= np.linalg.norm(pushed, axis=1, keepdims=True)
    return pushed @ gradients.T + bend * (pushed @ shared)[:, None] ** 3


def within_items(effect, controls, seed=0, draws=400):
    """p of dealing anew, within every item, which effect is the direction's: what was done."""
    every = np.column_stack([effect, controls])
    n, k = every.shape
    contrast = every - (every.sum(axis=1, keepdims=True) - every) / (k - 1)
    dealt = np.random.default_rng(seed).integers(k, size=(draws, n))
    permuted = np.abs(contrast[np.arange(n), dealt].mean(axis=1))
    return (1 + (permuted >= abs(contrast[:, 0].mean())).sum()) / (1 + draws)


def null_of_p(draws, seed=4, controls=20, tests=8):
    """Share of p < 0.05 where the vector is one more random direction."""
    generator = np.random.default_rng(seed)
    rows = []
    for width in (64, 576):
        p, ranks, old = [], [], []
        for _ in range(draws):
            slopes = direction_slopes(generator, width, controls + 1)
            means = slopes.mean(axis=1)
            p.append(stats.against_controls(means[0], means[1:]))
            ranks.append(stats.rank_p(means[0], means[1:]))
            if len(old) < 300:
                old.append(within_items(slopes[0], slopes[1:4].T))
        families = np.array(p[: len(p) // tests * tests]).reshape(-1, tests)
        wrong = np.mean([(stats.holm(family) < 0.05).any() for family in families])
        rows.append(
            {
                "dimensions": width,
                "p by Student's t": np.mean(np.array(p) < 0.05),
                "p by rank (at most 1/21)": np.mean(np.array(ranks) < 0.05),
                f"any of {tests}, by Holm": wrong,
                "permuted within items": np.mean(np.array(old) < 0.05),
            }
        )
    return pd.DataFrame(rows)


def null_of_labels(draws, seed=5, shuffles=500):
    """Share of p < 0.05 against labels dealt anew, where labels mean nothing."""
    generator = np.random.default_rng(seed)
    rows = []
    for n in (8, 12, 60):
        p = []
        for number in range(draws):
            # differences share a direction whose sign is each item's own, and have unequal norms
            axis = generator.standard_normal(64)
            differences = generator.standard_normal((n, 64)) + 2 * np.outer(
                generator.standard_normal(n), axis / np.linalg.norm(axis)
            )
            gradients = generator.standard_normal((4, 1, 64))
            found = p_of_labels(
                gradients,
                differences[:, None],
                differences.mean(axis=0)[None],
                [0],
                draws=shuffles,
                seed=seed,
                what=[n, number],
            )
            p.append(found)
        rows.append({"training items": n, "p_shuffled": np.mean(np.array(p) < 0.05)})
    return pd.DataFrame(rows)


def null_on_a_model(means, draws, seed=6, controls=20):
    """Share of p < 0.05 where one measured random direction is tested against others.

    Args:
        means: [direction] measured mean slopes of random directions.
    """
    generator = np.random.default_rng(seed)
    p = []
    for _ in range(draws):
        taken = means[generator.permutation(len(means))[: controls + 1]]
        p.append(stats.against_controls(taken[0], taken[1:]))
    return float(np.mean(np.array(p) < 0.05))


# by the heading's words in docs/statistics.md
TABLES = {
    "means": coverage_of_means,
    "clusters": coverage_of_clusters,
    "shares": coverage_of_shares,
    "p": null_of_p,
    "labels": null_of_labels,
}


def measured_null(model, draws, *, pool, items, contrasts=("answers", "letters"), layers=(10, 20)):
    """Random directions in the vector's place, measured on a model: share of p < 0.05.

    Args:
        model: the model's folder.
        pool: number of directions that are measured.
        items: number of items that each is measured on.
    """
    import yaml

    from steerpaper.engine.condition import Condition
    from steerpaper.engine.proof import load
    from steerpaper.engine.score import score
    from steerpaper.engine.text import choices
    from steerpaper.steering.items import read_items
    from steerpaper.steering.prompts import as_rows, serialize
    from steerpaper.steering.vectors import random_direction

    config = yaml.safe_load((TESTS.parent / "config.yaml").read_text(encoding="utf-8"))
    lm = load(model, device="cpu", dtype="float32", threads=1)
    chosen = read_items(TESTS.parent / config["behaviors"]["optimism"]["items"])[:items]
    options = {"behavior": "optimism", "split": "test", "system": None, "seed": 1}
    rows = []
    for contrast in contrasts:
        prompts = serialize(lm.tokenizer, chosen, contrast=contrast, context=lm.context, **options)
        for layer in layers:
            # about a tenth of the residual stream's norm, as the default study's vectors
            like = np.full((lm.n_layers, lm.width), 10 / np.sqrt(lm.width))
            names = [f"random-{number}" for number in range(pool)]
            vectors = {name: random_direction(like, 1, name, 0) for name in names}
            wanted = [Condition((layer,), name, m) for name in names for m in (-1.0, 1.0)]
            pairs = choices(as_rows(prompts))
            _, scores = score(lm, pairs, vectors, wanted, budget=1024)
            effect = (scores[..., 0] - scores[..., 1]).reshape(len(chosen), pool, 2)
            means = ((effect[..., 1] - effect[..., 0]) / 2).mean(axis=0)
            rows.append(
                {
                    "contrast": contrast,
                    "block": layer,
                    "directions": pool,
                    "their sd (nats)": float(means.std(ddof=1)),
                    "normal (Shapiro-Wilk p)": float(scipy_stats.shapiro(means).pvalue),
                    "p by Student's t": null_on_a_model(means, draws),
                }
            )
    return pd.DataFrame(rows)


def as_markdown(table):
    """A table of numbers with three digits."""
    shown = table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
    lines = [list(shown.columns), ["---"] * shown.shape[1], *shown.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(name, table):
    """Put a table into docs/statistics.md, between its marks."""
    print(f"\n{name}\n{table.to_string()}", flush=True)
    text = DOCS.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(begin)
    text = before + begin + as_markdown(table) + "\n" + end + rest.split(end)[1]
    DOCS.write_text(text, encoding="utf-8")


def main():
    """Write the long form of all simulations into docs/statistics.md."""
    for name, make in TABLES.items():
        write(name, make(DRAWS))
    write("model", measured_null(sys.argv[1], DRAWS, pool=100, items=8))


DRAWS = 10_000

if __name__ == "__main__":
    main()
