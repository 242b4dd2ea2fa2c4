"""How many items make a vector: cosines of vectors from few items with the vector from all.

Activations are given, so this is arithmetic: the vector of a subset is the mean of its items'
differences.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.seeds import stream
from steerpaper.steering.balance import alternating
from steerpaper.steering.vectors import Floats


def orders(
    n: int, draws: int, *what: object, sides: Sequence[str | None] | None = None
) -> NDArray[np.int64]:
    """Random orders of n items, [draw, n]; a subset of m is an order's first m.

    Args:
        sides: per item its side; with them any run of an order's items has equally many of each
            as far as there are (see `balance.alternating`).
    """
    found: NDArray[np.int64] = stream(*what).random((draws, n)).argsort(axis=1)
    if sides is None:
        return found
    return np.stack([order[alternating([sides[item] for item in order])] for order in found])


def cosines(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Cosine similarity along the last axis of two broadcastable arrays.

    Not-a-number where one of two vectors has no direction.
    """
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    product = (a * b).sum(axis=-1)
    found: NDArray[np.float64] = np.divide(
        product, norms, out=np.full_like(product, np.nan), where=np.isfinite(norms) & (norms > 0)
    )
    return found


def subset_means(differences: Floats, order: NDArray[np.int64], m: int) -> NDArray[np.float64]:
    """Mean difference of the first m items of every order: [draw, d] from [item, d]."""
    weights = np.zeros((len(order), len(differences)))
    np.put_along_axis(weights, order[:, :m], 1 / m, axis=1)
    return weights @ differences


def curve(
    differences: Floats, order: NDArray[np.int64], sizes: Sequence[int]
) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Cosines by subset size at one block.

    Args:
        differences: float64 [item, d], matching - other.
        order: [draw, item].
        sizes: items a vector is made from; those that there are too few items for are left out.

    Returns:
        [draw] per (against, size). Against `full`: with the vector from all items, which holds the
        subset's own (so it is 1 for all of them). Against `disjoint`: of two subsets of that size
        without a common item, which owes nothing to shared items.
    """
    n = len(differences)
    full = differences.mean(axis=0)
    found = {}
    for size in sorted(sizes):
        if size > n:
            continue
        one = subset_means(differences, order, size)
        found["full", size] = cosines(one, full)
        if 2 * size <= n:
            found["disjoint", size] = cosines(one, subset_means(differences, order[:, size:], size))
    return found


def compare(
    differences: Floats, order: NDArray[np.int64], vectors: int, items: int
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Several vectors from few items each, or one from all of those items, at one block.

    The plain mean of the several is the one, exactly; so what is compared is using them singly:
    their mean cosine and their lowest, and how alike they are (`pairwise`). The references:
    `full`, the vector from all items (which holds these), and `rest`, from the items left over.

    Args:
        differences: float64 [item, d].
        order: [draw, item].

    Returns:
        [draw] per (what, against); empty where there are fewer than vectors × items items.
    """
    n, used = len(differences), vectors * items
    if used > n:
        return {}
    several = np.stack(
        [subset_means(differences, order[:, k * items :], items) for k in range(vectors)], axis=1
    )
    one = subset_means(differences, order, used)
    references = {"full": np.broadcast_to(differences.mean(axis=0), one.shape)}
    if used < n:
        references["rest"] = subset_means(differences, order[:, used:], n - used)
    found = {}
    for against, reference in references.items():
        single = cosines(several, reference[:, None])
        found["one", against] = cosines(one, reference)
        found["several, mean", against] = single.mean(axis=1)
        found["several, lowest", against] = single.min(axis=1)
    pairs = np.triu_indices(vectors, 1)
    pairwise = cosines(several[:, pairs[0]], several[:, pairs[1]])
    found["several, pairwise", "each other"] = pairwise.mean(axis=1)
    return found


def convergence(
    matching: Floats,
    other: Floats,
    sides: Sequence[str | None],
    *,
    sizes: Sequence[int],
    draws: int,
    vectors: int,
    items: int,
    seed: int,
    name: Sequence[object],
) -> pd.DataFrame:
    """All draws' cosines at every block, one a row: layer, what, against, items, draw, cosine.

    The same subsets are drawn at every block.

    Args:
        matching, other: [item, L, d].
        sides: [item] of which every subset has equally many.
        name: names the random stream beside the seed.
    """
    n, n_layers = matching.shape[:2]
    order = orders(n, draws, seed, "convergence", *name, sides=sides)
    tables = []
    for layer in range(n_layers):
        differences = matching[:, layer].astype(np.float64) - other[:, layer].astype(np.float64)
        found: dict[tuple[str, str, int], NDArray[np.float64]] = {
            ("curve", against, size): values
            for (against, size), values in curve(differences, order, sizes).items()
        }
        for (what, against), values in compare(differences, order, vectors, items).items():
            found[what, against, vectors * items if what == "one" else items] = values
        for (what, against, size), values in found.items():
            columns: Mapping[str, Any] = {
                "layer": layer,
                "what": what,
                "against": against,
                "items": size,
                "draw": np.arange(draws),
                "cosine": values,
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
