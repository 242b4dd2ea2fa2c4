"""Figures and LaTeX tables of the full study: drawn from tables, and where n = 0 they say so."""

import numpy as np
import pandas as pd
import pytest
from steerpaper.steering.tables.summaries import (
    convergence_table,
    cost_table,
    reasoning_table,
    system_prompts_table,
)

from steerpaper.plots import steering_full as figures
from steerpaper.plots.style import save
from steerpaper.steering.convergence import convergence
from steerpaper.steering.tables import item_slopes, slope_table
from steerpaper.steering.tables.latex import HEADLINES, latex_table

INTERVAL = {"seed": 1, "resamples": 200, "confidence": 0.95}
BEHAVIORS = ("optimism", "sociability")


def of_behaviors(make):
    """One table of both behaviours."""
    return pd.concat(
        [make(number).assign(behavior=name) for number, name in enumerate(BEHAVIORS)],
        ignore_index=True,
    )


def make_scores(seed, letters=False):
    generator = np.random.default_rng(seed)
    rows = []
    for item in range(40):
        own = {"prompt_id": f"p{item}", "matching": "AB"[item % 2], "split": "test"}
        base, slope = generator.normal(0, 3), generator.normal(1, 1)
        rows.append({**own, "layer": -1, "layers": "", "direction": "behavior"})
        rows[-1] |= {"multiplier": 0.0, "logit_diff": base}
        for direction, factor in (("behavior", 1), ("random-0", 0), ("random-1", 0.1)):
            for m in (-2.0, -1.0, 1.0, 2.0):
                diff = base + (factor * m * slope + generator.normal(0, 0.3)) * (
                    0.01 if letters else 1
                )
                row = {"layer": 12, "layers": "12", "direction": direction, "multiplier": m}
                rows.append({**own, **row, "logit_diff": diff})
    return pd.DataFrame(rows)


def make_steerability():
    found = {"items": [], "table": []}
    for number, contrast in enumerate(("answers", "letters")):
        for part, make in (("items", item_slopes), ("table", lambda s: slope_table(s, **INTERVAL))):
            found[part].append(
                of_behaviors(lambda n, k=number, m=make: m(make_scores(n + 5 * k, bool(k)))).assign(
                    contrast=contrast
                )
            )
    return pd.concat(found["items"]), pd.concat(found["table"])


def make_reasoning():
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
                        row |= {"layer": 12 if m else -1, "layers": "12" if m else ""}
                        row |= {"steered": steered, "multiplier": float(m)}
                        rows.append({**row, "logit_diff": prompt + m + generator.normal()})
        return reasoning_table(pd.DataFrame(rows), **INTERVAL)

    return of_behaviors(chains)


def make_system_prompts(missing=()):
    def scores(seed):
        generator = np.random.default_rng(seed)
        rows = []
        for number, name in enumerate(("none", "for", "against")):
            if name in missing:
                row = {"system_prompt": name, "layer": -1, "layers": "", "multiplier": 0.0}
                rows.append({**row, "note": "not with this model"})
                continue
            for prompt in range(20):
                for m in (-1.0, 0.0, 1.0):
                    row = {"prompt_id": f"p{prompt}", "system_prompt": name, "multiplier": m}
                    row |= {"layer": 12 if m else -1, "layers": "12" if m else ""}
                    rows.append({**row, "logit_diff": m + (0, 2, -2)[number] + generator.normal()})
                    rows[-1]["note"] = None
        return system_prompts_table(pd.DataFrame(rows), **INTERVAL)

    return of_behaviors(scores)


def make_cost():
    def items(seed):
        generator = np.random.default_rng(seed)
        rows = []
        for contrast in ("text", "answers", "letters"):
            for item in range(20):
                for direction, multipliers in (
                    ("behavior", (-4.0, -2.0, 0.0, 2.0, 4.0)),
                    ("random-0", (-4.0, 4.0)),
                ):
                    for m in multipliers:
                        row = {"contrast": contrast, "item": f"i{item}", "multiplier": m}
                        row |= {"direction": direction, "layer": 12 if m else -1}
                        row |= {"layers": "12" if m else "", "n_tokens": 30.0}
                        size = 100 + 10 * abs(m) if contrast == "text" else 5
                        row["logprob"] = -size + generator.normal()
                        row["logprob_wrong"] = -6 + abs(m) / 4 + generator.normal()
                        rows.append(row)
        return cost_table(pd.DataFrame(rows), **INTERVAL)

    return of_behaviors(items)


def make_convergence(items=20):
    def draws(seed):
        generator = np.random.default_rng(seed)
        matching = 0.4 * generator.normal(size=(2, 16)) + generator.normal(size=(24, 2, 16))
        table = convergence(
            matching,
            np.zeros_like(matching),
            sizes=[1, 2, 5, 10, 20],
            draws=50,
            vectors=4,
            items=5 if items == 20 else 50,
            seed=1,
            name=[seed],
        )
        return convergence_table(table, 0.95)

    return of_behaviors(draws)


def make_projection():
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
    rows = []
    for behavior in BEHAVIORS:
        for prompt in range(2):
            for m in (-2.0, 0.0, 2.0):
                row = {"behavior": behavior, "question": f"How will it go, {prompt}?"}
                row |= {"prompt_id": f"{behavior}-{prompt}", "layer": 12 if m else -1}
                row |= {"multiplier": m, "decoding": "greedy", "text": "It costs $5 or $6. " * 9}
                rows.append(row if m < 2 else {**row, "text": ""})
    return pd.DataFrame(rows)


def texts(figure):
    import matplotlib.text

    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


DRAWN = {
    "steerability": lambda: figures.steerability(*make_steerability()),
    "reasoning": lambda: figures.reasoning(make_reasoning()),
    "system_prompts": lambda: figures.system_prompts(make_system_prompts()),
    "cost": lambda: figures.cost(make_cost()),
    "convergence": lambda: figures.convergence(make_convergence()),
    "several_or_one": lambda: figures.several_or_one(make_convergence()),
    "projection": lambda: figures.projection(make_projection()),
    "completions": lambda: figures.completions(make_completions()),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_drawn_and_saved(tmp_path, name):
    figure = DRAWN[name]()
    shown = texts(figure)
    for behavior in BEHAVIORS:
        assert behavior in shown
    outputs = {kind: str(tmp_path / f"{name}.{kind}") for kind in ("pdf", "png", "csv")}
    save(figure, outputs, pd.DataFrame({"x": [1]}))
    assert all((tmp_path / f"{name}.{kind}").stat().st_size for kind in outputs)


def test_the_anti_steerable_share_stands_in_its_figure():
    items, table = make_steerability()
    own = items[(items["direction"] == "behavior") & (items["contrast"] == "answers")]
    share = (own[own["behavior"] == "optimism"]["slope"] < 0).mean()
    assert f"anti-steerable {share:.0%} [" in texts(figures.steerability(items, table))


def test_a_missing_system_prompt_is_named_in_the_figure():
    for missing in (("for",), ("for", "against")):
        shown = texts(figures.system_prompts(make_system_prompts(missing)))
        assert all(f"'{name}': n = 0" in shown for name in missing)


def test_too_few_items_to_compare_is_said_in_the_figure():
    assert "n = 0" in texts(figures.several_or_one(make_convergence(items=200)))


def test_words_stay_whole_where_they_fit_a_line():
    tokens = ["The", " insur", "ance", " firm", " is", " here"]
    placed, rows = figures._place(tokens, 12)
    assert "".join(text for _, _, text in placed) == "".join(tokens)
    lines = ["".join(text for row, _, text in placed if row == r) for r in range(rows)]
    assert lines == ["The", " insurance", " firm is", " here"]
    # a word longer than the line is broken between its tokens
    placed, rows = figures._place(["abcdef"] * 5, 12)
    assert rows == 3


def make_logprobs():
    rows = [
        {"label": label, "multiplier": m, "direction": direction, "n": n, "n_prompts": 3 * bool(n)}
        for direction in ("behavior", "random-0")
        for label, n in (("matching", 12), ("other", 0), ("neither", 1))
        for m in (-1.0, 1.0)
    ]
    table = pd.DataFrame(rows).assign(behavior="optimism", contrast="answers", change=-1.5)
    table = table.assign(low=-2.0, high=-1.0)
    table.loc[table["n"] == 0, "change"] = np.nan
    table.loc[table["n"] < 2, ["low", "high"]] = np.nan
    return table


@pytest.mark.parametrize("name", HEADLINES)
def test_latex_tables_hold_estimates_with_their_intervals(tmp_path, name):
    make = {
        "steerability": lambda: make_steerability()[1],
        "reasoning": make_reasoning,
        "system_prompts": lambda: make_system_prompts(("for",)),
        "cost": make_cost,
        "logprobs": make_logprobs,
    }
    table = make[name]()
    source = latex_table(table, HEADLINES[name], name)
    assert source.count("\\begin{tabular}") == source.count("\\end{tabular}") == 1
    assert f"\\label{{tab:{name}}}" in source
    kept = table[table["direction"] == "behavior"] if "direction" in HEADLINES[name].rows else table
    body = source.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == len(kept)
    assert "[" in body[0]
    assert all(line.count(" & ") == body[0].count(" & ") for line in body)
    assert "nan" not in source
    assert "_" not in "".join(body).replace("\\_", "")


def test_a_latex_row_without_data_has_dashes_and_n_0():
    source = latex_table(
        make_system_prompts(("for",)), HEADLINES["system_prompts"], "system_prompts"
    )
    row = next(line for line in source.splitlines() if "optimism & for" in line)
    assert row == "optimism & for & 0 & -- & -- & 0 \\\\"


def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphen():
    table = make_reasoning().assign(behavior="risk-taking")
    source = latex_table(table, HEADLINES["reasoning"], "reasoning")
    assert "risk-taking" in source
    assert "$-$1" in source
