# Figures of the steering study in full: from tables alone, no model and no torch.
FIGURE_NAMES += [
    "steerability",
    "completions",
    *(
        part
        for part in ("reasoning", "system_prompts", "cost", "projection")
        if behaviors_of(part)
    ),
    *(
        f"{name}.{contrast}"
        for name in ("convergence", "several_or_one")
        for contrast in CONTRASTS
        if behaviors_of("convergence")
    ),
]


rule plot_steerability:
    """Distribution of the items' steerability slopes, with the anti-steerable share."""
    input:
        table=f"{RESULTS}/tables/steerability.csv",
        slopes=f"{RESULTS}/tables/steerability_items.csv",
        code=code_of("plot_steerability"),
        style=STYLE,
    output:
        **figure_files("steerability"),
    log:
        f"{LOGS}/figures/steerability.log",
    benchmark:
        f"{BENCHMARKS}/plot_steerability/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing the distribution of steerability over items"
    script:
        "../scripts/plot_steerability.py"


rule plot_reasoning:
    """Change of the logit difference after a chain of thought, by the part that is steered."""
    input:
        table=f"{RESULTS}/tables/reasoning.csv",
        code=code_of("plot_reasoning"),
        style=STYLE,
    output:
        **figure_files("reasoning"),
    log:
        f"{LOGS}/figures/reasoning.log",
    benchmark:
        f"{BENCHMARKS}/plot_reasoning/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing steering around a chain of thought"
    script:
        "../scripts/plot_reasoning.py"


rule plot_system_prompts:
    """Logit difference by multiplier without, with a supporting and an opposing system prompt."""
    input:
        table=f"{RESULTS}/tables/system_prompts.csv",
        code=code_of("plot_system_prompts"),
        style=STYLE,
    output:
        **figure_files("system_prompts"),
    log:
        f"{LOGS}/figures/system_prompts.log",
    benchmark:
        f"{BENCHMARKS}/plot_system_prompts/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing system prompts against multipliers"
    script:
        "../scripts/plot_system_prompts.py"


rule plot_cost:
    """Perplexity of neutral text and accuracy on knowledge questions by multiplier."""
    input:
        table=f"{RESULTS}/tables/cost.csv",
        code=code_of("plot_cost"),
        style=STYLE,
    output:
        **figure_files("cost"),
    log:
        f"{LOGS}/figures/cost.log",
    benchmark:
        f"{BENCHMARKS}/plot_cost/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing the cost of steering"
    script:
        "../scripts/plot_cost.py"


rule plot_convergence:
    """Cosine of vectors from few items with the vector from all, by number of items."""
    input:
        table=f"{RESULTS}/tables/convergence.csv",
        code=code_of("plot_convergence"),
        style=STYLE,
    output:
        **figure_files("convergence.{contrast}"),
    log:
        f"{LOGS}/figures/convergence.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_convergence/{{contrast}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    params:
        layers=config["figures"]["layers"],
    message:
        "Drawing the convergence of vectors of one contrast"
    script:
        "../scripts/plot_convergence.py"


rule plot_several_or_one:
    """Several vectors from few items each, or one from all of those items."""
    input:
        table=f"{RESULTS}/tables/convergence.csv",
        code=code_of("plot_several_or_one"),
        style=STYLE,
    output:
        **figure_files("several_or_one.{contrast}"),
    log:
        f"{LOGS}/figures/several_or_one.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_several_or_one/{{contrast}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    params:
        layers=config["figures"]["layers"],
    message:
        "Drawing several vectors from few items beside one from all of those"
    script:
        "../scripts/plot_several_or_one.py"


rule plot_projection:
    """Texts token by token, coloured by their projection on the vector."""
    input:
        table=f"{RESULTS}/tables/projection.csv",
        code=code_of("plot_projection"),
        style=STYLE,
    output:
        **figure_files("projection"),
    log:
        f"{LOGS}/figures/projection.log",
    benchmark:
        f"{BENCHMARKS}/plot_projection/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing texts coloured by their projection on the vector"
    script:
        "../scripts/plot_projection.py"


rule plot_completions:
    """Greedy completions side by side at every multiplier."""
    input:
        table=f"{RESULTS}/tables/completions.csv",
        code=code_of("plot_completions"),
        style=STYLE,
    output:
        **figure_files("completions"),
    log:
        f"{LOGS}/figures/completions.log",
    benchmark:
        f"{BENCHMARKS}/plot_completions/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing completions side by side"
    script:
        "../scripts/plot_completions.py"
