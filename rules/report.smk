"""The report: one HTML file with every figure and table, and how they were made."""

# the tables of either study, by the report's name of it
REPORTED = {
    study: tables_of(study.lower()) for study in ("Steering", "Lookups", "Verdict")
}
PAGES = f"{RESULTS}/report"
# how the results were made
RECORDS = {
    "configuration": "The configuration of this study, defaults filled in.",
    "versions": "The workflow's commit (if it is under version control) and the installed packages.",
    "model": "Where the model comes from, and the SHA-256 digest of each of its files.",
    "engine": "How the model is run, and every comparison with its own plain passes that shows it.",
    "files": "SHA-256 digest of every raw data file, table and figure, and where what was fetched is from.",
    "run_times": "What every rule took and computed, each job as of its last run: tokens through all blocks of the model, padding beside them, and the share of the limit of plain batched passes (docs/performance.md).",
}
# plain paths, for targets: a file's place in the report is said where it is made, and only there
REPORT_PAGES = [
    f"{PAGES}/{name}.html"
    for name in [
        *(Path(path).stem for paths in REPORTED.values() for path in paths),
        *RECORDS,
    ]
]


rule provenance:
    """Record the configuration, the model, the versions, and the digests of data and results."""
    input:
        results=[
            *rules.steering.input,
            *rules.figures.input,
            *rules.lookups.input,
            *rules.published.input,
        ],
        data=[place[key] for name, place, key in data_files(config) if is_read(name)],
        model=f"{MODEL}/manifest.json",
    output:
        provenance=f"{RESULTS}/provenance.json",
        config=f"{RESULTS}/config.yaml",
    log:
        f"{LOGS}/provenance.log",
    benchmark:
        f"{BENCHMARKS}/provenance.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(10),
    params:
        # the same on every machine
        settings=dict(
            config=without_folder(config, WORKFLOW),
            made={
                one.name: settings_digest(settings)
                for one in workflow.rules
                # files are recorded by the rule for one behaviour
                if not is_chunk(one) and (settings := settings_of_rule(one))
            },
        ),
        code=code_of("provenance", helpers=True) | said_by("envs/lock.txt"),
    message:
        "Recording what the results were made from"
    script:
        "../scripts/provenance.py"


rule crate:
    """Describe the study as an RO-Crate: what was made, from what, by which workflow."""
    input:
        provenance=f"{RESULTS}/provenance.json",
    output:
        crate=f"{RESULTS}/ro-crate-metadata.json",
    log:
        f"{LOGS}/crate.log",
    benchmark:
        f"{BENCHMARKS}/crate.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(10),
    params:
        settings={},
        code=code_of("crate", helpers=True),
    message:
        "Describing the study as an RO-Crate"
    script:
        "../scripts/crate.py"


rule report_pages:
    """Write every table, and how the results were made, as pages that a browser shows."""
    input:
        tables=[path for paths in REPORTED.values() for path in paths],
        provenance=f"{RESULTS}/provenance.json",
        engine=rules.engine.output.checks,
    output:
        **{
            name: report(
                f"{PAGES}/{name}.html",
                category="How it was made",
                labels={"record": name},
            )
            for name in RECORDS
        },
        tables=[
            report(
                f"{PAGES}/{Path(path).stem}.html",
                category="Tables",
                # the first by name
                subcategory="Flags" if Path(path).stem.endswith("flags") else study,
                labels={"table": Path(path).stem},
            )
            for study, paths in REPORTED.items()
            for path in paths
        ],
    log:
        f"{LOGS}/report_pages.log",
    benchmark:
        f"{BENCHMARKS}/report_pages.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(10),
    params:
        settings=dict(
            # not an input: times differ from run to run, what is made of results must not
            benchmarks=BENCHMARKS,
            about=csv_names(TABLES) | RECORDS,
        ),
        code=code_of("report_pages", helpers=True) | said_by("report/table.html"),
    message:
        "Writing the report's pages of tables"
    script:
        "../scripts/report_pages.py"


# Snakemake makes the report itself, from the records of the finished jobs, in a run of its own on
# the same configuration; as a part of another workflow, the report is that workflow's to make.
if workflow.modifier.is_main_snakefile():

    rule report:
        """The report as one HTML file, to be opened in a browser."""
        input:
            rules.steering.input,
            rules.figures.input,
            rules.lookups.input,
            rules.published.input,
            REPORT_PAGES,
            texts=sorted(str(path) for path in REPORT.rglob("*.rst")),
            style=str(REPORT / "style.css"),
            config=f"{RESULTS}/config.yaml",
        output:
            html=f"{RESULTS}/report.html",
        log:
            f"{LOGS}/report.log",
        benchmark:
            f"{BENCHMARKS}/report.tsv"
        localrule: True
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=scaled(1000),
            runtime=scaled(10),
        params:
            # this Snakemake's Python, not the environment's: what is run is Snakemake
            settings=dict(python=sys.executable, snakefile=str(workflow.main_snakefile)),
            code=code_of("report", helpers=True),
        message:
            "Making the report {output.html}"
        script:
            "../scripts/report.py"
