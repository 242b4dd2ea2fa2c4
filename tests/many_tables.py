"""Tables of any number of behaviours, with names as long as real ones: what figures are drawn from.

The tables of two behaviours that makers.py sums up are given to more, each with numbers of its own.
"""

from itertools import product

import numpy as np
import pandas as pd
from makers import (
    INTERVAL,
    make_benchmarks,
    make_completions,
    make_convergence,
    make_cost,
    make_effects,
    make_logprobs,
    make_projection,
    make_propensity,
    make_reasoning,
    make_system_prompts,
)

from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.kinds import BASE, KINDS
from steerpaper.steering.tables.geometry import cosine_behaviors, cosine_blocks, pca
from steerpaper.steering.tables.prompt_kinds import correlations

BLOCKS = 14
WORDS = ("calm", "believes life has meaning", "sycophancy", "power-seeking-inclination")
# what an effect's size scales; counts, shares and places stay
SCALED = ("slope", "low", "high", "change", "change_low", "change_high", "logit_diff")
SCALED += ("logit_diff_low", "logit_diff_high")


def names(n):
    """So many behaviours' names."""
    return [f"{WORDS[number % len(WORDS)]} {number}" for number in range(n)]


def enlarged(table, n, scaled=SCALED, spread=0.8):
    """The table's behaviours as n, each with effects of a size of its own."""
    generator = np.random.default_rng(4)
    found = dict(iter(table.groupby("behavior")))
    parts = []
    for number, name in enumerate(names(n)):
        one = found[[*found][number % len(found)]]
        size = generator.normal(1, spread)
        numbers = {key: one[key] * size for key in scaled if key in one}
        if size < 0:
            # an effect the other way round has its interval the other way round too
            numbers = {_other_end(key): value for key, value in numbers.items()}
        parts.append(one.assign(behavior=name, **numbers))
    return pd.concat(parts, ignore_index=True)


def _other_end(key):
    return key.replace("low", "high") if "low" in key else key.replace("high", "low")


def over_blocks(table):
    """One block's rows at all blocks, most in the middle."""
    profile = np.exp(-(((np.arange(BLOCKS) - 8) / 3) ** 2))
    return pd.concat(
        [
            table.assign(layer=layer, **{key: table[key] * share for key in SCALED if key in table})
            for layer, share in enumerate(profile)
        ],
        ignore_index=True,
    ).sort_values(["behavior", "contrast", "layer"], kind="stable")


def _vectors(n):
    """Vectors of behaviours some of which are alike, by behaviour and contrast."""
    generator = np.random.default_rng(5)
    groups = generator.normal(size=(4, BLOCKS, 16))
    return {
        (name, contrast): groups[number % 4] + generator.normal(size=(BLOCKS, 16))
        for contrast in ("answers", "letters")
        for number, name in enumerate(names(n))
    }


def _of_answers(table):
    return table[table["contrast"] == "answers"]


def layer_sweep(n):
    effects = make_effects()
    chosen = effects["steerability"].assign(layer=8, layers="8")
    return [
        enlarged(over_blocks(effects["layer_sweep"]), n),
        enlarged(chosen, n),
        enlarged(effects["first_order"], n, ("slope", "random_low", "random_high")),
    ]


def dose_response(n):
    return [enlarged(make_effects()["dose_response"], n)]


def heatmap(n):
    first_order = enlarged(make_effects()["first_order"], n, ("slope",))
    return [enlarged(over_blocks(make_effects()["heatmap"]), n), first_order]


def steerability(n):
    effects = make_effects()
    return [enlarged(effects["steerability_items"], n), enlarged(effects["steerability"], n)]


def ratings(n):
    generator = np.random.default_rng(8)
    rows, pairs = [], []
    for number, name in enumerate(names(n)):
        slope = generator.normal(0.8, 0.6)
        for judge, shift in (("gpt-4o-mini", 0.0), ("smollm2-135m-instruct", -1.0)):
            for multiplier in (-2, -1, 0, 1, 2):
                value = float(np.clip(5 + shift + slope * multiplier, 0, 10))
                row = {"behavior": name, "judge": judge, "multiplier": multiplier, "value": value}
                rows.append({**row, "low": value - 0.7, "high": value + 0.7})
                rows[-1] |= {"n": 16, "questions": 8, "unparsed": number % 3 * (shift < 0)}
        pairs.append({"behavior": name, "kappa": generator.uniform(0.2, 0.8)})
    agreement = pd.DataFrame(pairs).assign(
        **{"first": "gpt-4o-mini", "second": "smollm2-135m-instruct", "low": 0.1, "high": 0.9},
        **{"n": 80, "questions": 8, "flags": "few items"},
    )
    table = pd.DataFrame(rows).assign(lowest=0.0, highest=10.0, flags="few items")
    return [table, agreement]


def transfer(n):
    generator = np.random.default_rng(6)
    rows = []
    for number, name in enumerate(names(n)):
        chosen = 5 + number % 4
        for source in sorted({0, 4, 8, 12, chosen}):
            for target in (0, 4, 8, 12):
                slope = np.exp(-abs(source - target) / 4) + generator.normal(0, 0.3)
                row = {"behavior": name, "source": source, "target": target, "slope": slope}
                rows.append({**row, "low": slope - 0.3, "high": slope + 0.3})
                rows[-1] |= {"chosen": source == chosen, "flags": "few items" * (number % 5 == 0)}
    table = pd.DataFrame(rows)
    return [
        table.assign(
            contrast="answers", n=30, control_low=-0.4, control_high=0.4, measure="logit_diff"
        )
    ]


def estimators(n):
    generator = np.random.default_rng(7)
    rows, cosines = [], []
    for name in names(n):
        for estimator in ("mean_difference", "pca", "probe"):
            for at in ("own", "chosen"):
                slope = generator.normal(1, 0.5)
                row = {"behavior": name, "estimator": estimator, "at": at, "slope": slope}
                rows.append({**row, "low": slope - 0.2, "high": slope + 0.2, "layers": "8"})
            if estimator != "mean_difference":
                for layer in range(BLOCKS):
                    row = {"behavior": name, "estimator": estimator, "layer": layer}
                    cosines.append({**row, "cosine": generator.uniform(0.4, 1)})
    table = pd.DataFrame(rows).assign(
        contrast="answers",
        n=30,
        control_low=-0.4,
        control_high=0.4,
        flags=None,
        anti_steerable=0.1,
        norm_share=0.1,
    )
    return [table.assign(measure="logit_diff"), pd.DataFrame(cosines).assign(contrast="answers")]


def pca_(n):
    generator = np.random.default_rng(8)
    rows = {}
    for name in names(n):
        both = generator.normal(size=(2, 12, BLOCKS, 16))
        rows[name, "answers"] = {"matching": both[0] + 0.8, "other": both[1]}
    return [pca(rows, [0, 6, 12])]


def blocks(n):
    return [_of_answers(cosine_blocks(_vectors(n)))]


def behaviors(n):
    found = {name: vector[[4, 8, 12]] for name, vector in _vectors(n).items()}
    table = _of_answers(cosine_behaviors({k: v for k, v in found.items() if k[1] == "answers"}))
    return [table.assign(layer=table["layer"].map({0: 4, 1: 8, 2: 12}))]


def norms(n):
    tables = [
        pd.DataFrame({"layer": range(BLOCKS), "vector": np.linalg.norm(vector, axis=1)}).assign(
            behavior=name, contrast=contrast, n=30
        )
        for (name, contrast), vector in _vectors(n).items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table["residual"] = 10.0 * (table["layer"] + 1) * (1 + table["vector"] / 100)
    return [table.assign(residual_low=table["residual"] - 1, residual_high=table["residual"] + 1)]


def convergence(n):
    return [enlarged(make_convergence(), n, ("cosine", "low", "high"), 0.05)]


def logprob_shift(n):
    one = make_logprobs()
    # every label has completions for most behaviours; letters have a difference of their own
    there = one.assign(n=12, n_prompts=3, flags=None)
    size = there["label"].map({"matching": -1.0, "other": -3.0, "neither": -2.0, "difference": 2.0})
    there["change"] = size * there["multiplier"] * (there["direction"] == BEHAVIOR)
    there["low"], there["high"] = there["change"] - 0.5, there["change"] + 0.5
    own = (there["direction"] == BEHAVIOR) & (there["label"] == "difference")
    letters = pd.concat([there, there[own].assign(label="A − B", change=0.3)])
    shown = pd.concat([there, letters.assign(contrast="letters")])
    few = enlarged(one, min(n, 2))
    return [pd.concat([few, enlarged(shown, n)[lambda rows: ~rows["behavior"].isin(names(2))]])]


def prompt_kinds(n):
    generator = np.random.default_rng(9)
    rows = []
    for number, name in enumerate(names(n)):
        size = generator.normal(1, 1)
        for trained, used in product((BASE, *KINDS), (BASE, *KINDS)):
            slope = size * (1 if trained == used else 0.8) + generator.normal(0, 0.1)
            row = {"behavior": name, "trained": trained, "used": used, "slope": slope}
            row |= {"low": slope - 0.4, "high": slope + 0.4, "n": 30}
            row |= {"control_low": -0.3, "control_high": 0.3}
            rows.append({**row, "flags": "few items" if number % 5 == 0 else None})
    table = pd.DataFrame(rows)
    found = correlations(table, INTERVAL)
    return [one.assign(measure="logit_diff") for one in (table, found)]


def _first_order(n):
    return enlarged(make_effects()["first_order"], n, ())


TABLES = {
    "layer_sweep": layer_sweep,
    "dose_response": dose_response,
    "heatmap": heatmap,
    "steerability": steerability,
    "transfer": transfer,
    "estimators": estimators,
    "pca": pca_,
    "cosine_blocks": blocks,
    "cosine_behaviors": behaviors,
    "norms": norms,
    "convergence": convergence,
    "several_or_one": convergence,
    "projection": lambda n: [enlarged(make_projection(), n)],
    "completions": lambda n: [enlarged(make_completions(), n)],
    "ratings": ratings,
    "logprob_shift": logprob_shift,
    "reasoning": lambda n: [enlarged(make_reasoning(), n), _first_order(n)],
    "propensity": lambda n: [enlarged(make_propensity(), n)],
    "system_prompts": lambda n: [enlarged(make_system_prompts(), n), _first_order(n)],
    "prompt_kinds": prompt_kinds,
    "cost": lambda n: [enlarged(make_cost(), n, ("value", "value_low", "value_high"), 0.05)],
    "benchmarks": lambda n: [enlarged(make_benchmarks(), n, ("value", "low", "high"), 0.05)],
}
