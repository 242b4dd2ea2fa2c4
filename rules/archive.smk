rule archive:
    """Pack tables, figures, configuration, logs and the workflow itself into one file to share."""
    input:
        results=[
            rules.all.input,
            pages_of_tables(),
            f"{RESULTS}/provenance.json",
        ],
        data=[
            place[key]
            for _, place, key in data_files(config)
            if Path(place[key]).is_file()
        ],
        # a function: what is tracked is asked only where something is packed
        workflow=lambda _: [str(path) for path in workflow_files(WORKFLOW)],
        snakefile=str(WORKFLOW / "Snakefile"),
    output:
        archive=f"{RESULTS}/{config['study']}.tar.gz",
    log:
        f"{LOGS}/archive.log",
    benchmark:
        f"{BENCHMARKS}/archive.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=dict(config=config, plots=[f"plot_{name}" for name in FIGURE_ROWS]),
        code=code_of("archive", helpers=True),
    message:
        "Packing the study into one file"
    script:
        "../scripts/archive.py"
