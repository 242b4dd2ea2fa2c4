# Figures of fixed completions, estimators and transfer.
FIGURE_NAMES += [
    figure
    for part, figure in (
        ("fixed_completions", "logprob_shift"),
        ("compare_estimators", "estimators"),
        ("transfer", "transfer"),
    )
    if behaviors_of(part)
]


rule plot_logprob_shift:
    """Change of fixed completions' log-probability by multiplier and label."""
    input:
        table=f"{RESULTS}/tables/logprobs.csv",
        code=code_of("plot_logprob_shift"),
        style=STYLE,
    output:
        **figure_files("logprob_shift"),
    log:
        f"{LOGS}/figures/logprob_shift.log",
    benchmark:
        f"{BENCHMARKS}/plot_logprob_shift/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing logprob shift"
    script:
        "../scripts/plot_logprob_shift.py"


rule plot_estimators:
    """How every estimator's vector steers, and how like the mean difference it is."""
    input:
        table=f"{RESULTS}/tables/estimators.csv",
        cosines=f"{RESULTS}/tables/estimators_cosine.csv",
        code=code_of("plot_estimators"),
        style=STYLE,
    output:
        **figure_files("estimators"),
    log:
        f"{LOGS}/figures/estimators.log",
    benchmark:
        f"{BENCHMARKS}/plot_estimators/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing estimators"
    script:
        "../scripts/plot_estimators.py"


rule plot_transfer:
    """Steerability slope by source and target block."""
    input:
        table=f"{RESULTS}/tables/transfer.csv",
        code=code_of("plot_transfer"),
        style=STYLE,
    output:
        **figure_files("transfer"),
    log:
        f"{LOGS}/figures/transfer.log",
    benchmark:
        f"{BENCHMARKS}/plot_transfer/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing transfer"
    script:
        "../scripts/plot_transfer.py"
