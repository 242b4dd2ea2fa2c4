"""A file that is finished at once, then a job that waits until the test says go."""


localrules:
    finished,


rule finished:
    output:
        "finished.txt",
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
