"""Three jobs for two GPUs. Each notes where and when it ran; one alone would wait for ever."""


rule all:
    input:
        expand("{job}.txt", job=list("abc")),


rule sweep:
    output:
        "{job}.txt",
    resources:
        gpu=1,
        mem_mb=400,
        runtime=5,
    shell:
        "touch {wildcards.job}.begun; begin=$(date +%s.%N); both() {{ [ $(ls *.begun | wc -l) -ge 2 ]; }}; "
        "for i in $(seq 600); do both && break; sleep 0.1; done; both; "
        "echo $begin $(date +%s.%N) $CUDA_VISIBLE_DEVICES $SLURM_JOB_ID > {output}"
