"""Figures: one rule each, from tables alone; no model and no torch."""


rule plot_layer_sweep:
    """Steerability slope on dev by block, per behaviour and contrast, with random control."""
    input:
        table=f"{RESULTS}/tables/layer_sweep.csv",
        steerability=f"{RESULTS}/tables/steerability.csv",
        code=code_of("plot_layer_sweep"),
        style=STYLE,
    output:
        **figure_files("layer_sweep"),
    log:
        f"{LOGS}/figures/layer_sweep.log",
    benchmark:
        f"{BENCHMARKS}/plot_layer_sweep/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing layer sweep"
    script:
        "../scripts/plot_layer_sweep.py"


rule plot_dose_response:
    """Change of the logit difference on test by multiplier, at the chosen block."""
    input:
        table=f"{RESULTS}/tables/dose_response.csv",
        code=code_of("plot_dose_response"),
        style=STYLE,
    output:
        **figure_files("dose_response"),
    log:
        f"{LOGS}/figures/dose_response.log",
    benchmark:
        f"{BENCHMARKS}/plot_dose_response/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing dose response"
    script:
        "../scripts/plot_dose_response.py"


rule plot_heatmap:
    """Change of the logit difference on dev for every block and multiplier."""
    input:
        table=f"{RESULTS}/tables/heatmap.csv",
        code=code_of("plot_heatmap"),
        style=STYLE,
    output:
        **figure_files("heatmap"),
    log:
        f"{LOGS}/figures/heatmap.log",
    benchmark:
        f"{BENCHMARKS}/plot_heatmap/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing heatmap"
    script:
        "../scripts/plot_heatmap.py"


rule plot_pca:
    """Principal components of the activations of matching and other answers."""
    input:
        table=f"{RESULTS}/tables/pca.csv",
        code=code_of("plot_pca"),
        style=STYLE,
    output:
        **figure_files("pca.{contrast}"),
    log:
        f"{LOGS}/figures/pca.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_pca/{{contrast}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing pca"
    script:
        "../scripts/plot_pca.py"


rule plot_cosine_blocks:
    """Cosine similarity of a behaviour's vectors between blocks."""
    input:
        table=f"{RESULTS}/tables/cosine_blocks.csv",
        code=code_of("plot_cosine_blocks"),
        style=STYLE,
    output:
        **figure_files("cosine_blocks.{contrast}"),
    log:
        f"{LOGS}/figures/cosine_blocks.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_cosine_blocks/{{contrast}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing cosine blocks"
    script:
        "../scripts/plot_cosine_blocks.py"


rule plot_cosine_behaviors:
    """Cosine similarity of the vectors between behaviours."""
    input:
        table=f"{RESULTS}/tables/cosine_behaviors.csv",
        code=code_of("plot_cosine_behaviors"),
        style=STYLE,
    output:
        **figure_files("cosine_behaviors.{contrast}"),
    log:
        f"{LOGS}/figures/cosine_behaviors.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_cosine_behaviors/{{contrast}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    params:
        layers=config["figures"]["layers"],
    message:
        "Drawing cosine behaviors"
    script:
        "../scripts/plot_cosine_behaviors.py"


rule plot_norms:
    """Norms of the vectors and of the residual stream by block."""
    input:
        table=f"{RESULTS}/tables/norms.csv",
        code=code_of("plot_norms"),
        style=STYLE,
    output:
        **figure_files("norms"),
    log:
        f"{LOGS}/figures/norms.log",
    benchmark:
        f"{BENCHMARKS}/plot_norms/all.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    message:
        "Drawing norms"
    script:
        "../scripts/plot_norms.py"


rule figures:
    """All figures, from the tables; nothing else is computed where the tables are there."""
    input:
        figure_paths(
            [
                *("layer_sweep", "dose_response", "heatmap", "norms"),
                *(
                    f"{name}.{contrast}"
                    for name in ("pca", "cosine_blocks", "cosine_behaviors")
                    for contrast in CONTRASTS
                ),
                *FIGURE_NAMES,
            ]
        ),
