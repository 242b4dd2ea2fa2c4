"""A job that is done, then one that waits until the test says go."""


rule finished:
    output:
        "finished.txt",
    resources:
        mem_mb=400,
        runtime=5,
    shell:
        "date +%s.%N > {output}"


rule waiting:
    input:
        "finished.txt",
    output:
        "waiting.txt",
    resources:
        mem_mb=400,
        runtime=5,
    shell:
        "echo $SLURM_JOB_ID >> begun.txt; until [ -e go ]; do sleep 0.2; done; cp begun.txt {output}"
