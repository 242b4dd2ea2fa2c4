"""Tables as the summaries make them, of random scores: what tests of figures and captions draw."""

from copy import deepcopy
from functools import cache, partial, wraps

import numpy as np
import pandas as pd

from steerpaper.stats import Interval
from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR, NO_LAYER, UNSTEERED
from steerpaper.steering.convergence import convergence
from steerpaper.steering.tables.benchmarks import benchmarks_table
from steerpaper.steering.tables.convergence import convergence_table
from steerpaper.steering.tables.cost import cost_table
from steerpaper.steering.tables.effects import (
    corrected,
    effect_tables,
)
from steerpaper.steering.tables.reasoning import reasoning_table
from steerpaper.steering.tables.system_prompts import propensity_table, system_prompts_table

INTERVAL = Interval(seed=1, resamples=200, confidence=0.95)
BEHAVIORS = ("optimism", "sociability")


def made_once(make):
    """To sum up takes seconds: once in a process, and a copy for whoever asks."""
    made = cache(make)

    @wraps(make)
    def copies(*arguments, **named):
        return deepcopy(made(*arguments, **named))

    return copies


def of_behaviors(make):
    """One table of both behaviours."""
    return pd.concat(
        [make(number).assign(behavior=name) for number, name in enumerate(BEHAVIORS)],
        ignore_index=True,
    )


BLOCK = {"layer": 12, "layers": [12]}


def log_probabilities(difference):
    """The columns of a row of scores whose logit difference is given."""
    sides = {"logprob_matching": difference - 9.0, "logprob_other": -9.0}
    return {**sides, "n_matching": 2, "n_other": 3, "ab_mass": np.nan}


# how far each direction moves an item, in the behaviour's slope
FACTORS = {
    **{BEHAVIOR: 1, "random-0": 0, "random-1": 0.1, "random-2": -0.05},
    **{"shuffled-0": 0.1, "shuffled-1": -0.2, "shuffled-2": 0.05, AT_RESIDUAL_NORM: 4},
}


def make_scores(seed, letters=False, split="test"):
    """Scores of 40 dev or test items, one block, the behaviour's direction and its controls."""
    generator = np.random.default_rng(seed)
    rows = []
    for item in range(40):
        own = {"prompt_id": f"p{item}", "matching": "AB"[item % 2], "split": split}
        base, slope = generator.normal(0, 3), generator.normal(1, 1)
        rows.append({**own, "layer": NO_LAYER, "layers": "", "direction": UNSTEERED})
        rows[-1] |= {"multiplier": 0.0, **log_probabilities(base)}
        for direction, factor in FACTORS.items():
            for m in (-2.0, -1.0, 1.0, 2.0):
                diff = base + (factor * m * slope + generator.normal(0, 0.3)) * (
                    0.01 if letters else 1
                )
                row = {"layer": 12, "layers": "12", "direction": direction, "multiplier": m}
                row |= {"norm": 3.0, "control_sd": 0.4}
                rows.append({**own, **row, **log_probabilities(diff)})
    return pd.DataFrame(rows)


def make_arrays(seed=0, items=40, layers=14, width=16):
    """What effects are compared with: gradients, activations and vectors of a behaviour."""
    generator = np.random.default_rng(seed)
    activations = {
        side: generator.normal(size=(20, layers, width)) for side in ("matching", "other")
    }
    activations["matching"] += 0.5
    vector = (activations["matching"] - activations["other"]).mean(axis=0)
    gradients = {split: generator.normal(size=(items, layers, width)) for split in ("dev", "test")}
    return {"gradients": gradients, "activations": activations, "vectors": {BEHAVIOR: vector}}


@made_once
def make_effects(measures=("logit_diff",)):
    """All tables of effects of both behaviours and contrasts."""
    block = {"layers": [12], "chosen": "on dev", "stability": 0.9, "p_dev": 0.01}
    found = {}
    for number, contrast in enumerate(("answers", "letters")):
        for place, behavior in enumerate(BEHAVIORS):
            seed = place + 5 * number
            scores = [make_scores(seed, bool(number), split) for split in ("dev", "test")]
            block |= {"stands_out": not number, "norm_share": 0.1}
            made = effect_tables(
                pd.concat(scores),
                block,
                **make_arrays(seed),
                interval=INTERVAL,
                measures=list(measures),
            )
            for name, table in made.items():
                found.setdefault(name, []).append(
                    table.assign(behavior=behavior, contrast=contrast)
                )
    return corrected({name: pd.concat(tables, ignore_index=True) for name, tables in found.items()})


def make_steerability():
    """The slopes of single items, and their summary, of both behaviours and contrasts."""
    tables = make_effects()
    return tables["steerability_items"], tables["steerability"]


def make_first_order():
    """A first look at all blocks, of both behaviours and contrasts."""
    return make_effects()["first_order"]


@made_once
def make_reasoning(measure="logit_diff"):
    """Chains of thought of two behaviours, summed up."""

    def chains(seed):
        generator = np.random.default_rng(seed)
        rows = []
        for prompt in range(8):
            for reasoning, samples in (("without", 1), ("sampled", 2)):
                parts = [("none", 0), ("answer", -1), ("answer", 1)]
                if reasoning == "sampled":
                    parts += [(p, m) for p in ("reasoning", "both") for m in (-1, 1)]
                for sample in range(samples):
                    for steered, m in parts:
                        row = {"prompt_id": f"p{prompt}", "reasoning": reasoning, "sample": sample}
                        row |= {"layer": 12 if m else NO_LAYER, "layers": "12" if m else ""}
                        row |= {"steered": steered, "multiplier": float(m)}
                        row |= {"matching": "AB"[prompt % 2], "norm": 3.0 if m else np.nan}
                        score = prompt + m + generator.normal()
                        rows.append(row | log_probabilities(score))
        return reasoning_table(pd.DataFrame(rows), BLOCK, interval=INTERVAL, measures=[measure])

    return of_behaviors(chains)


@made_once
def make_propensity(missing=()):
    """The propensity of two behaviours by system prompt."""
    generator = np.random.default_rng(11)
    own = {
        "gradients": {"test": generator.normal(size=(20, 14, 16))},
        "vectors": {BEHAVIOR: generator.normal(size=(14, 16))},
        "prompts": [{"id": f"p{prompt}"} for prompt in range(20)],
        "system": None,
    }
    return make_system_prompts(missing, make=partial(propensity_table, **own))


@made_once
def make_system_prompts(missing=(), measure="logit_diff", make=None):
    """System prompts of two behaviours, summed up; some may be missing."""
    make = make or partial(system_prompts_table, measures=[measure])

    def scores(seed):
        generator = np.random.default_rng(seed)
        rows = []
        for number, name in enumerate(("none", "for", "against")):
            if name in missing:
                row = {"system_prompt": name, "layer": NO_LAYER, "layers": "", "multiplier": 0.0}
                rows.append({**row, "norm": np.nan, "note": "not with this model"})
                continue
            for prompt in range(20):
                for m in (-1.0, 0.0, 1.0):
                    row = {"prompt_id": f"p{prompt}", "system_prompt": name, "multiplier": m}
                    row |= {"layer": 12 if m else NO_LAYER, "layers": "12" if m else ""}
                    row |= {"matching": "AB"[prompt % 2], "norm": 3.0 if m else np.nan}
                    score = m + (0, 2, -2)[number] + generator.normal()
                    rows.append(row | log_probabilities(score) | {"note": None})
        scores = pd.DataFrame(rows)
        return make(scores, BLOCK, interval=INTERVAL)

    return of_behaviors(scores)


@made_once
def make_cost():
    """What steering two behaviours costs, summed up."""

    def items(seed):
        generator = np.random.default_rng(seed)
        rows = []
        for contrast in ("text", "answers", "letters"):
            for item in range(20):
                for direction, multipliers in (
                    (UNSTEERED, (0.0,)),
                    (BEHAVIOR, (-4.0, -2.0, 2.0, 4.0)),
                    ("random-0", (-4.0, 4.0)),
                ):
                    for m in multipliers:
                        row = {"contrast": contrast, "item": f"i{item}", "multiplier": m}
                        row |= {"direction": direction, "layer": 12 if m else NO_LAYER}
                        row |= {"layers": "12" if m else "", "n_tokens": 30.0}
                        row["norm"] = 3.0 if m else np.nan
                        size = 100 + 10 * abs(m) if contrast == "text" else 5
                        row["logprob"] = -size + generator.normal()
                        row["logprob_wrong"] = -6 + abs(m) / 4 + generator.normal()
                        rows.append(row)
        return cost_table(pd.DataFrame(rows), BLOCK, interval=INTERVAL)

    return of_behaviors(items)


@made_once
def make_benchmarks(benchmarks=("truth", "mmlu"), categories=("law", "health", "art")):
    """Two benchmarks of two steered behaviours, summed up, as read from a CSV file."""

    def items(seed, benchmark):
        generator = np.random.default_rng([seed, *benchmark.encode()])
        rows = []
        for contrast in ("letters", "answers"):
            for item in range(24):
                for direction, multipliers in (
                    (UNSTEERED, (0.0,)),
                    (BEHAVIOR, (-2.0, -1.0, 1.0, 2.0)),
                    ("random-0", (-2.0, 2.0)),
                ):
                    for m in multipliers:
                        row = {"contrast": contrast, "item": f"i{item}", "multiplier": m}
                        row |= {"category": categories[item % len(categories)], "choices": 4}
                        row |= {"direction": direction, "layer": 12 if m else NO_LAYER}
                        row |= {"layers": "12" if m else "", "norm": 3.0 if m else np.nan}
                        row["logprob"] = -5 + generator.normal()
                        row["logprob_wrong"] = -6 + abs(m) / 4 + generator.normal()
                        row["p_correct"] = 1 / (1 + np.exp(row["logprob_wrong"] - row["logprob"]))
                        row["mass"] = 0.9 if contrast == "letters" else np.nan
                        rows.append(row)
        return benchmarks_table(pd.DataFrame(rows), BLOCK, interval=INTERVAL)

    found = pd.concat(
        [
            of_behaviors(lambda seed, name=name: items(seed, name).assign(benchmark=name))
            for name in benchmarks
        ],
        ignore_index=True,
    )
    return found.assign(category=found["category"].replace("", None))


@made_once
def make_convergence(items=20):
    """Convergence of two behaviours, summed up; from few items where more are to be compared."""

    def draws(seed):
        generator = np.random.default_rng(seed)
        matching = 0.4 * generator.normal(size=(2, 16)) + generator.normal(size=(24, 2, 16))
        table = convergence(
            matching,
            np.zeros_like(matching),
            [None] * len(matching),
            sizes=[1, 2, 5, 10, 20],
            draws=50,
            vectors=4,
            items=5 if items == 20 else 50,
            seed=1,
            name=[seed],
        )
        return convergence_table(table.assign(contrast="answers"), interval=INTERVAL)

    return of_behaviors(draws)


def make_projection():
    """Texts of two behaviours, token by token."""
    generator = np.random.default_rng(3)
    question = [
        "I",
        " start",
        " a",
        " new",
        " job",
        " at",
        " an",
        " insur",
        "ance",
        " firm",
        ".",
    ] * 2
    rows = []
    for behavior in BEHAVIORS:
        for prompt in range(2):
            for answer in ("matching", "other"):
                tokens = [("template", "<|start|>"), *(("question", text) for text in question)]
                tokens += [
                    ("template", "\n"),
                    *(("answer", t) for t in ["Yes", " $5\n", None, "!"]),
                ]
                for number, (part, text) in enumerate(tokens):
                    row = {"behavior": behavior, "layer": 12, "prompt_id": f"p{prompt}"}
                    row |= {"answer": answer, "token": number, "part": part, "text": text}
                    rows.append({**row, "projection": generator.normal()})
    return pd.DataFrame(rows)


def make_completions():
    """Completions of two behaviours, side by side; one is empty."""
    rows = []
    for behavior in BEHAVIORS:
        for prompt in range(2):
            for m in (-2.0, 0.0, 2.0):
                row = {"behavior": behavior, "question": f"How will it go, {prompt}?"}
                row |= {"prompt_id": f"{behavior}-{prompt}", "layer": 12 if m else NO_LAYER}
                row |= {"multiplier": m, "decoding": "greedy", "text": "It costs $5 or $6. " * 9}
                rows.append(row if m < 2 else {**row, "text": ""})
    return pd.DataFrame(rows)


def make_logprobs():
    """Fixed completions of one behaviour, summed up; a label has none, another one."""
    rows = [
        {"label": label, "multiplier": m, "direction": direction, "n": n, "n_prompts": 3 * bool(n)}
        for direction in (BEHAVIOR, "random")
        for label, n in (("matching", 12), ("other", 0), ("neither", 1), ("difference", 0))
        for m in (-1.0, 1.0)
    ]
    table = pd.DataFrame(rows).assign(behavior="optimism", contrast="answers", change=-1.5)
    table = table.assign(low=-2.0, high=-1.0, form="free", layers="12", flags="no interval")
    table.loc[table["n"] == 0, "change"] = np.nan
    table.loc[table["n"] < 2, ["low", "high"]] = np.nan
    return table
