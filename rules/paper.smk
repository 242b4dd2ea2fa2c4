"""The manuscript: a PDF whose numbers, tables and figures come from the results."""

NUMBERS = rows_of(REPORT / "numbers.yaml")
PAPER_TABLES = [path for of_study in REPORTED.values() for path in of_study]
# how tables are read for numbers by name
READING = dict(
    declared=NUMBERS,
    measures=STATISTICS["measures"],
    alpha=round(1 - STATISTICS["confidence"], 10),
)


rule paper_numbers:
    """Write every number that a manuscript may name, as JSON and as LaTeX macros."""
    input:
        tables=[path for path in PAPER_TABLES if Path(path).stem in NUMBERS["tables"]],
    output:
        json=f"{RESULTS}/tables/numbers.json",
        tex=f"{RESULTS}/tables/numbers.tex",
    log:
        f"{LOGS}/paper_numbers.log",
    benchmark:
        f"{BENCHMARKS}/paper_numbers.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    params:
        settings=READING,
        # number formats are the captions'
        code=code_of("paper_numbers", helpers=True),
    message:
        "Writing the numbers that a manuscript may name"
    script:
        "../scripts/paper_numbers.py"


rule manuscript:
    """Compile the manuscript: ours, or the study's own."""
    input:
        **({"manuscript": theirs(config["paper"])} if theirs(config["paper"]) else {}),
        tables=PAPER_TABLES,
        data=paper_figure_paths("csv"),
        figures=paper_figure_paths("pdf"),
        numbers=rules.paper_numbers.output.json,
        provenance=f"{RESULTS}/provenance.json",
    output:
        pdf=f"{RESULTS}/paper.pdf",
    log:
        f"{LOGS}/manuscript.log",
    benchmark:
        f"{BENCHMARKS}/manuscript.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=READING
        | dict(
            figures=PAPER_FIGURES,
            known_figures=list(FIGURE_ROWS),
            few=MANY,
            content=content(config["paper"]) if config["paper"] else "",
        ),
        code=code_of("manuscript", helpers=True)
        | said_by(
            *(
                path.relative_to(WORKFLOW).as_posix()
                for folder in (WORKFLOW / "paper", REPORT / "captions")
                for path in sorted(folder.iterdir())
            )
        ),
        beside=ours(manuscript=config["paper"]),
    message:
        "Compiling the manuscript {output.pdf}"
    script:
        "../scripts/manuscript.py"
