"""Which heads drive a neuron when: chosen, explained in words, and the explanations scored."""

EXPLANATIONS = LOOKUPS["explanations"]
ENDPOINT = EXPLANATIONS["endpoint"]
EXPLAINED_LOCALLY = EXPLANATIONS["explainer"] == "local"


rule chosen_heads:
    """Choose the neuron-head pairs that are explained and ablated."""
    input:
        attribution=f"{RESULTS}/lookups/head_attribution.parquet",
    output:
        heads=f"{RESULTS}/lookups/chosen_heads.parquet",
    log:
        f"{LOGS}/chosen_heads.log",
    benchmark:
        f"{BENCHMARKS}/chosen_heads.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(10),
    params:
        settings=dict(
            seed=config["seed"],
            **LOOKUPS["heads"],
        ),
        code=code_of("lookups/chosen_heads"),
    message:
        "Choosing heads to explain"
    script:
        "../scripts/lookups/chosen_heads.py"


rule explanations:
    """Explain the chosen heads from train prompts, and score the explanations on test prompts."""
    input:
        heads=f"{RESULTS}/lookups/chosen_heads.parquet",
        attribution=f"{RESULTS}/lookups/head_attribution.parquet",
        truncated=f"{RESULTS}/lookups/truncated.parquet",
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        model=ENGINE,
    output:
        explanations=f"{RESULTS}/lookups/explanations.jsonl",
        verdicts=f"{RESULTS}/lookups/explanation_verdicts.parquet",
        scores=f"{RESULTS}/lookups/explanation_scores.parquet",
    log:
        f"{LOGS}/explanations.log",
    benchmark:
        f"{BENCHMARKS}/explanations.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"] if EXPLAINED_LOCALLY else 1
    resources:
        gpu=GPUS if EXPLAINED_LOCALLY else 0,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=dict(
            run=RUN_MODEL,
            published=LOOKUPS["published"],
            date=config["model"]["date"] if EXPLAINED_LOCALLY else "",
            explainer=EXPLANATIONS["explainer"],
            examples=EXPLANATIONS["examples"],
            max_new_tokens=EXPLANATIONS["max_new_tokens"],
            endpoint={} if EXPLAINED_LOCALLY else keys_of(ENDPOINT, "base_url model"),
            # not an output: what an endpoint has answered outlives a job that fails
            cache=f"{RESULTS}/lookups/cache/answers.jsonl",
        ),
        code=code_of("lookups/explanations"),
        # how an endpoint is asked; of this type Snakemake compares nothing, and no result depends on it
        how=SimpleNamespace(
            **keys_of(
                ENDPOINT, "key_variable max_requests parallel timeout retries price"
            )
        ),
    message:
        "Explaining heads ({params.settings[explainer]})"
    script:
        "../scripts/lookups/explanations.py"
