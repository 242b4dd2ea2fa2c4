from steerpaper.engine.folder import WANTED

# where the model is, without what its texts begin with: no matter of fetching it
WHERE = config["model"].get(config["model"]["source"])
BEGINNING = config["model"]["beginning"]
if isinstance(WHERE, dict):
    BEGINNING = BEGINNING or WHERE.get("beginning")
    WHERE = {key: value for key, value in WHERE.items() if key != "beginning"}
# a GGUF file of this machine
GGUF = [local(WHERE["path"])] if isinstance(WHERE, dict) and "path" in WHERE else []
if config["model"]["remote"]:
    WHERE = {**WHERE, "remote": True}


rule model:
    """Fetch the language model, pinned, and put it into one folder in Hugging Face format."""
    input:
        files=(
            sorted(
                local(str(file))
                for pattern in WANTED
                for file in Path(config["model"]["path"]).glob(pattern)
                if file.is_file()
            )
            if config["model"]["source"] == "path"
            else GGUF
        ),
    output:
        manifest=f"{MODEL}/manifest.json",
    log:
        f"{LOGS}/model.log",
    benchmark:
        f"{BENCHMARKS}/model.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(120),
    params:
        settings=dict(
            name=config["model"]["name"],
            source=config["model"]["source"],
            where=WHERE,
        ),
        code=code_of("model"),
    message:
        "Fetching the model {params.settings[name]} ({params.settings[source]})"
    script:
        "../scripts/model.py"


rule engine:
    """Find the model's parts, and prove on it that it is run as its own plain pass computes."""
    input:
        model=f"{MODEL}/manifest.json",
    output:
        engine=ENGINE,
        checks=f"{RESULTS}/engine_checks.json",
    log:
        f"{LOGS}/engine.log",
    benchmark:
        f"{BENCHMARKS}/engine.tsv"
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
        ),
        code=engine_code(),
    message:
        "Proving how the model can be run"
    script:
        "../scripts/engine.py"
