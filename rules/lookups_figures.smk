"""The lookups study's tables and figures, and the target that makes all of it."""

LOOKUPS_TABLES = [
    "token_blocks",
    "neurons",
    "prompt_lengths",
    "head_attribution",
    "explanation_scores",
    "explanations",
    "ablation_drops",
    "ablations",
    "published",
]
LOOKUPS_FIGURES = [
    "lookups_token_blocks",
    "lookups_prompt_lengths",
    "lookups_head_attribution",
    "lookups_explanation_scores",
    "lookups_ablations",
    "lookups_published",
]
FIGURE_NAMES += LOOKUPS_FIGURES


rule lookups_tables:
    """Write the lookups study's tables, with counts, intervals and the published figures."""
    input:
        train=CORPUS_FILES["train"],
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        tokens=f"{RESULTS}/lookups/token_congruence.parquet",
        activations=f"{RESULTS}/lookups/max_activations.parquet",
        truncated=f"{RESULTS}/lookups/truncated.parquet",
        attribution=f"{RESULTS}/lookups/head_attribution.parquet",
        scores=f"{RESULTS}/lookups/explanation_scores.parquet",
        head_ablation=f"{RESULTS}/lookups/head_ablation.parquet",
        neuron_ablation=f"{RESULTS}/lookups/neuron_ablation.parquet",
        published=str(WORKFLOW / "data" / "published_lookups.csv"),
        model=f"{MODEL}/manifest.json",
        code=code_of("lookups_tables"),
    output:
        **{name: f"{RESULTS}/tables/lookups_{name}.csv" for name in LOOKUPS_TABLES},
        page=f"{RESULTS}/tables/lookups_neurons.md",
        latex=f"{RESULTS}/tables/lookups_published.tex",
    log:
        f"{LOGS}/lookups_tables.log",
    benchmark:
        f"{BENCHMARKS}/lookups_tables.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        seed=config["seed"],
        prompts=3,
    message:
        "Writing the lookups tables"
    script:
        "../scripts/lookups_tables.py"


rule plot_lookups_token_blocks:
    """Draw in which block the neuron most congruent with each token is."""
    input:
        table=f"{RESULTS}/tables/lookups_token_blocks.csv",
        code=code_of("plot_lookups_token_blocks"),
        style=STYLE,
    output:
        **figure_files("lookups_token_blocks"),
    log:
        f"{LOGS}/figures/lookups_token_blocks.log",
    benchmark:
        f"{BENCHMARKS}/plot_lookups_token_blocks/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing in which block the neuron most congruent with each token is"
    script:
        "../scripts/plot_lookups_token_blocks.py"


rule plot_lookups_prompt_lengths:
    """Draw prompt lengths before and after truncation."""
    input:
        table=f"{RESULTS}/tables/lookups_prompt_lengths.csv",
        code=code_of("plot_lookups_prompt_lengths"),
        style=STYLE,
    output:
        **figure_files("lookups_prompt_lengths"),
    log:
        f"{LOGS}/figures/lookups_prompt_lengths.log",
    benchmark:
        f"{BENCHMARKS}/plot_lookups_prompt_lengths/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing prompt lengths before and after truncation"
    script:
        "../scripts/plot_lookups_prompt_lengths.py"


rule plot_lookups_head_attribution:
    """Draw how much each head drives neurons."""
    input:
        table=f"{RESULTS}/tables/lookups_head_attribution.csv",
        code=code_of("plot_lookups_head_attribution"),
        style=STYLE,
    output:
        **figure_files("lookups_head_attribution"),
    log:
        f"{LOGS}/figures/lookups_head_attribution.log",
    benchmark:
        f"{BENCHMARKS}/plot_lookups_head_attribution/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing how much each head drives neurons"
    script:
        "../scripts/plot_lookups_head_attribution.py"


rule plot_lookups_explanation_scores:
    """Draw the distribution of head explanation scores."""
    input:
        table=f"{RESULTS}/tables/lookups_explanation_scores.csv",
        explanations=f"{RESULTS}/tables/lookups_explanations.csv",
        code=code_of("plot_lookups_explanation_scores"),
        style=STYLE,
    output:
        **figure_files("lookups_explanation_scores"),
    log:
        f"{LOGS}/figures/lookups_explanation_scores.log",
    benchmark:
        f"{BENCHMARKS}/plot_lookups_explanation_scores/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing the distribution of head explanation scores"
    script:
        "../scripts/plot_lookups_explanation_scores.py"


rule plot_lookups_ablations:
    """Draw what ablations do to the next token."""
    input:
        table=f"{RESULTS}/tables/lookups_ablation_drops.csv",
        ablations=f"{RESULTS}/tables/lookups_ablations.csv",
        code=code_of("plot_lookups_ablations"),
        style=STYLE,
    output:
        **figure_files("lookups_ablations"),
    log:
        f"{LOGS}/figures/lookups_ablations.log",
    benchmark:
        f"{BENCHMARKS}/plot_lookups_ablations/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing what ablations do to the next token"
    script:
        "../scripts/plot_lookups_ablations.py"


rule plot_lookups_published:
    """Draw the published figures beside ours."""
    input:
        table=f"{RESULTS}/tables/lookups_published.csv",
        code=code_of("plot_lookups_published"),
        style=STYLE,
    output:
        **figure_files("lookups_published"),
    log:
        f"{LOGS}/figures/lookups_published.log",
    benchmark:
        f"{BENCHMARKS}/plot_lookups_published/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing the published figures beside ours"
    script:
        "../scripts/plot_lookups_published.py"


rule lookups:
    """The lookups study in full: every table and figure."""
    input:
        rules.lookups_tables.output,
        f"{RESULTS}/lookups/explanations.jsonl",
        figure_paths(LOOKUPS_FIGURES),
