# the tables that a paper prints, as far as this study has them (scripts/steerpaper/steering/latex.py)
HEADLINES = [
    "steerability",
    *(part for part in ("reasoning", "system_prompts", "cost") if behaviors_of(part)),
    *(["logprobs"] if behaviors_of("fixed_completions") else []),
]


rule latex_tables:
    """The headline tables as LaTeX, estimates with their intervals."""
    input:
        tables=expand(f"{RESULTS}/tables/{{name}}.csv", name=HEADLINES),
        code=code_of("latex_tables"),
    output:
        tables=expand(f"{RESULTS}/tables/{{name}}.tex", name=HEADLINES),
    log:
        f"{LOGS}/latex_tables.log",
    benchmark:
        f"{BENCHMARKS}/latex_tables.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    message:
        "Writing the headline tables as LaTeX"
    script:
        "../scripts/latex_tables.py"
