"""The lookups study: from raw text to the heads that drive each neuron."""

CORPUS = LOOKUPS["corpus"]
# where its texts are, and their column; those of the standard library are nowhere
TEXTS, COLUMN = texts_of(CORPUS)
CORPUS_FILES = {
    split: f"{RESULTS}/lookups/corpus.{split}.jsonl" for split in ("train", "test")
}

# true for the tokenizer's own, its text for another, false for none
BOS = LOOKUPS["bos"] and (BEGINNING or True)

PART = f"{RESULTS}/lookups/shards/max_activations.{{shard}}-of-{{shards}}.parquet"
# into how many shards the work is split is no setting: no result depends on it
MAX_ACTIVATIONS = dict(run=RUN_MODEL, bos=BOS, top=LOOKUPS["top"])


rule corpus:
    """Make the corpus: raw text cut into prompts, de-duplicated, split into train and test."""
    input:
        raw=theirs(TEXTS),
        model=f"{MODEL}/manifest.json",
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
        settings=dict(
            column=COLUMN,
            data=content(TEXTS) if TEXTS else "",
            seed=config["seed"],
            bos=BOS,
            **keys_of(CORPUS, "train test max_tokens"),
        ),
        code=code_of("lookups/corpus"),
        beside=ours(raw=TEXTS),
    message:
        "Making the corpus"
    script:
        "../scripts/lookups/corpus.py"


rule neurons:
    """Find next-token neurons by their output weights, and draw random neurons as the control."""
    input:
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(60),
    params:
        settings=dict(
            run=RUN_MODEL,
            layers=LOOKUPS["layers"],
            seed=config["seed"],
            **LOOKUPS["neurons"],
        ),
        code=code_of("lookups/neurons"),
    message:
        "Finding next-token neurons"
    script:
        "../scripts/lookups/neurons.py"


rule max_activations:
    """Find every neuron's top-activating prompts in one shard of the corpus."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        model=ENGINE,
    output:
        part=PART,
    log:
        f"{LOGS}/max_activations/{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{BENCHMARKS}/max_activations/{{shard}}-of-{{shards}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=MAX_ACTIVATIONS,
        code=code_of("lookups/max_activations"),
    message:
        "Finding top-activating prompts (shard {wildcards.shard} of {wildcards.shards})"
    script:
        "../scripts/lookups/max_activations.py"


rule merge_activations:
    """Join the corpus shards' top-activating prompts, and count what is missing."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        parts=lambda _: shards_of(PART, CORPUS["shards"], MAX_ACTIVATIONS),
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
        settings=dict(
            top=LOOKUPS["top"],
        ),
        code=code_of("lookups/merge_activations"),
    message:
        "Joining the top-activating prompts"
    script:
        "../scripts/lookups/merge_activations.py"


rule truncation:
    """Cut every top-activating prompt to the shortest suffix that keeps the neuron firing."""
    input:
        **CORPUS_FILES,
        neurons=f"{RESULTS}/lookups/neurons.parquet",
        activations=f"{RESULTS}/lookups/max_activations.parquet",
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=dict(
            run=RUN_MODEL,
            bos=BOS,
            published=LOOKUPS["published"],
            **LOOKUPS["truncation"],
        ),
        code=code_of("lookups/truncation"),
    message:
        "Truncating the top-activating prompts"
    script:
        "../scripts/lookups/truncation.py"


rule head_attribution:
    """Attribute every neuron's firing to the attention heads before it."""
    input:
        **CORPUS_FILES,
        truncated=f"{RESULTS}/lookups/truncated.parquet",
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        settings=dict(
            run=RUN_MODEL,
            bos=BOS,
            published=LOOKUPS["published"],
        ),
        code=code_of("lookups/head_attribution"),
    message:
        "Attributing neurons to heads"
    script:
        "../scripts/lookups/head_attribution.py"
