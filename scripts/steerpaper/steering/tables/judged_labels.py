"""A judge's labels of completions: the shares of either side, and how far markers agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.flags import few, joined
from steerpaper.stats import Interval
from steerpaper.steering.labels import LABELS
from steerpaper.steering.tables.agreement import kappa_interval, labels_as_points
from steerpaper.steering.tables.completions import labels_by_markers, shares_of_labels
from steerpaper.steering.tables.rows import labelled

COMPLETION = ["prompt_id", "layer", "multiplier", "decoding", "sample"]


def judged_labels_tables(
    judged: pd.DataFrame,
    samples: pd.DataFrame,
    about: Mapping[str, Any],
    block: Mapping[str, Any],
    *,
    interval: Interval,
) -> dict[str, pd.DataFrame]:
    """Shares of a behaviour's steered completions on either side by a judge, and the agreement.

    Args:
        judged: prompt_id, layer, multiplier, decoding, sample, judge (one), label (missing where
            the judge's answer was none).
        samples, about, block: as `label_shares` takes them.

    Returns:
        judged_labels: judge, the columns of `label_shares`, and `unparsed` before the flags.
        label_agreement: judge, kappa, low, high, n (completions that the judge labelled),
            questions, flags; of the markers' labels and the judge's.
    """
    name = str(judged["judge"].iloc[0])
    markers = samples.assign(markers=labels_by_markers(samples, about))
    both = markers.merge(judged, on=COMPLETION, validate="1:1").dropna(subset=["label"])
    points = labels_as_points(both[["markers", "label"]].to_numpy().tolist(), LABELS)
    clusters = both["prompt_id"].to_numpy()
    kappa, low, high = kappa_interval(points, clusters, interval)
    questions = len(np.unique(clusters))
    agreement = {
        **{"judge": name, "kappa": kappa, "low": low, "high": high},
        **{"n": len(both), "questions": questions, "flags": joined(*few(questions))},
    }
    return {
        "judged_labels": labelled(shares_of_labels(judged, block, interval), judge=name),
        "label_agreement": pd.DataFrame([agreement]),
    }
