"""The lookups study: from raw text to the heads that drive each neuron."""

CORPUS = LOOKUPS["corpus"]
CORPUS_FILES = {
    split: f"{RESULTS}/lookups/corpus.{split}.jsonl" for split in ("train", "test")
}
# what a prompt begins with, wherever the model reads one
BOS = {"bos": LOOKUPS["bos"]}


rule corpus:
    """Make the corpus: raw text cut into prompts, de-duplicated, split into train and test."""
    input:
        raw=[CORPUS["file"]["path"]] if CORPUS["source"] == "file" else [],
        model=f"{MODEL}/manifest.json",
        code=code_of("corpus"),
    output:
        **CORPUS_FILES,
        counts=f"{RESULTS}/tables/corpus.csv",
    log:
        f"{LOGS}/corpus.log",
    benchmark:
        f"{BENCHMARKS}/corpus.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(60),
    params:
        source=CORPUS["source"],
        where=CORPUS.get(CORPUS["source"]),
        train=CORPUS["train"],
        test=CORPUS["test"],
        max_tokens=CORPUS["max_tokens"],
        seed=config["seed"],
    message:
        "Making the corpus ({params.source})"
    script:
        "../scripts/corpus.py"


rule neurons:
    """Find next-token neurons by their output weights, and draw random neurons as the control."""
    input:
        model=f"{MODEL}/manifest.json",
        code=code_of("neurons"),
    output:
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        rejected=f"{RESULTS}/lookups/rejected_neurons.parquet",
        tokens=f"{RESULTS}/lookups/token_congruence.parquet",
    log:
        f"{LOGS}/neurons.log",
    benchmark:
        f"{BENCHMARKS}/neurons.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(60),
    params:
        **LOOKUPS["neurons"],
        **RUN_MODEL,
        layers=LOOKUPS["layers"],
        seed=config["seed"],
    message:
        "Finding next-token neurons"
    script:
        "../scripts/neurons.py"


rule max_activations:
    """Find every neuron's top-activating prompts in one shard of the corpus."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        model=f"{MODEL}/manifest.json",
        code=code_of("max_activations"),
    output:
        part=f"{RESULTS}/lookups/shards/max_activations.{{shard}}-of-{CORPUS['shards']}.parquet",
    log:
        f"{LOGS}/max_activations/{{shard}}-of-{CORPUS['shards']}.log",
    benchmark:
        f"{BENCHMARKS}/max_activations/{{shard}}-of-{CORPUS['shards']}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        **BOS,
        **RUN_MODEL,
        shards=CORPUS["shards"],
        top=LOOKUPS["top"],
    message:
        "Finding top-activating prompts (shard {wildcards.shard} of {params.shards})"
    script:
        "../scripts/max_activations.py"


rule merge_activations:
    """Join the corpus shards' top-activating prompts, and count what is missing."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        parts=expand(rules.max_activations.output.part, shard=range(CORPUS["shards"])),
        code=code_of("merge_activations"),
    output:
        activations=f"{RESULTS}/lookups/max_activations.parquet",
        counts=f"{RESULTS}/tables/firing.csv",
    log:
        f"{LOGS}/merge_activations.log",
    benchmark:
        f"{BENCHMARKS}/merge_activations.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        top=LOOKUPS["top"],
    message:
        "Joining the top-activating prompts"
    script:
        "../scripts/merge_activations.py"


rule truncation:
    """Cut every top-activating prompt to the shortest suffix that keeps the neuron firing."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        activations=f"{RESULTS}/lookups/max_activations.parquet",
        model=f"{MODEL}/manifest.json",
        code=code_of("truncation"),
    output:
        truncated=f"{RESULTS}/lookups/truncated.parquet",
        serialized=f"{RESULTS}/lookups/truncated.jsonl",
        counts=f"{RESULTS}/tables/truncation.csv",
    log:
        f"{LOGS}/truncation.log",
    benchmark:
        f"{BENCHMARKS}/truncation.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        **LOOKUPS["truncation"],
        **BOS,
        **RUN_MODEL,
    message:
        "Truncating the top-activating prompts"
    script:
        "../scripts/truncation.py"


rule head_attribution:
    """Attribute every neuron's firing to the attention heads before it."""
    input:
        **CORPUS_FILES,
        truncated=f"{RESULTS}/lookups/truncated.parquet",
        model=f"{MODEL}/manifest.json",
        code=code_of("head_attribution"),
    output:
        attribution=f"{RESULTS}/lookups/head_attribution.parquet",
    log:
        f"{LOGS}/head_attribution.log",
    benchmark:
        f"{BENCHMARKS}/head_attribution.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **BOS,
        **RUN_MODEL,
        published=LOOKUPS["published"],
    message:
        "Attributing neurons to heads"
    script:
        "../scripts/head_attribution.py"
