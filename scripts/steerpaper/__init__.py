"""steerpaper: the science behind the workflow's scripts, importable without Snakemake."""
