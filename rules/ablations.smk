"""What heads and neurons do for the next token: their contributions set to zero."""


rule ablations:
    """Ablate the chosen heads and all neurons; the drop of the next token's probability."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        truncated=f"{RESULTS}/lookups/truncated.parquet",
        attribution=f"{RESULTS}/lookups/head_attribution.parquet",
        heads=f"{RESULTS}/lookups/chosen_heads.parquet",
        model=ENGINE,
    output:
        heads=f"{RESULTS}/lookups/head_ablation.parquet",
        neurons=f"{RESULTS}/lookups/neuron_ablation.parquet",
    log:
        f"{LOGS}/ablations.log",
    benchmark:
        f"{BENCHMARKS}/ablations.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=dict(
            run=RUN_MODEL,
            bos=BOS,
            published=LOOKUPS["published"],
            seed=config["seed"],
        ),
        code=code_of("lookups/ablations"),
    message:
        "Ablating heads and neurons"
    script:
        "../scripts/lookups/ablations.py"
