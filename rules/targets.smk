"""The studies as targets: what each one makes in the end."""


rule steering:
    """The steering study's tables."""
    input:
        tables_of("steering"),
        rules.latex_tables.output,
        expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.gradients.safetensors",
            behavior=BEHAVIORS,
            contrast=CONTRASTS,
        ),
        expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.csv",
            behavior=BEHAVIORS,
            contrast=CONTRASTS if STEERING["prompts"]["csv"] else [],
            split=SPLITS,
        ),


rule lookups:
    """The lookups study: its tables and figures."""
    input:
        tables_of("lookups"),
        f"{RESULTS}/lookups/explanations.jsonl",
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
