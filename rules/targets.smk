"""The studies as targets: what each one makes in the end, nothing where it is left out."""

# the behaviours of which more is made than tables
STEERED = BEHAVIORS if "steering" in config["studies"] else []


rule steering:
    """The steering study's tables."""
    input:
        tables_of("steering"),
        rules.latex_tables.output,
        expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.gradients.safetensors",
            behavior=STEERED,
            contrast=CONTRASTS,
        ),
        expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.csv",
            behavior=STEERED,
            contrast=CONTRASTS if STEERING["prompts"]["csv"] else [],
            split=SPLITS,
        ),


rule lookups:
    """The lookups study: its tables and figures."""
    input:
        tables_of("lookups"),
        f"{RESULTS}/lookups/explanations.jsonl"
        if "lookups" in config["studies"]
        else [],
        figure_paths("lookups"),


rule published:
    """The verdict: published numbers beside the study's own, as tables and figure."""
    input:
        tables_of("verdict"),
        figure_paths("verdict"),


rule figures:
    """All figures, from the tables; nothing else is computed where the tables are there."""
    input:
        figure_paths(),


rule paper:
    """The manuscript, and its numbers for one of an author's own."""
    input:
        f"{RESULTS}/paper.pdf",
        expand(f"{RESULTS}/tables/numbers.{{kind}}", kind=["json", "tex"]),


rule fetch:
    """What needs a network: the model, and all raw data that is no file of this machine."""
    input:
        f"{MODEL}/manifest.json",
        list(FETCHED),
