# Speed and memory per (model, length), each in a job that runs alone. On a cluster the points of one
# model follow each other in one job: a point takes seconds, and starting a job as long.


rule profiles:
    """Every profile point."""
    input:
        every_point("speed"),
        every_point("memory"),


rule profile_speed:
    """Training and inference steps per second."""
    output:
        record="results/{experiment}/profile/speed/{model}/{length}.json",
    log:
        "results/{experiment}/logs/profile_speed/{model}/{length}.log",
    benchmark:
        "results/{experiment}/benchmarks/profile_speed/{model}/{length}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: every_core
    resources:
        **GPU_NODE,
        gpu=gpus,
        mem_mb=megabytes(16000),
        runtime=profile_runtime,
        cpus_per_task=EXPERIMENT.profile.threads,
        slurm_extra=profile_extra,
    params:
        point=point_json,
        code=profile_code,
    message:
        "speed of {wildcards.model} at {wildcards.length} tokens"
    shell:
        "lra profile speed --point {params.point:q} --fingerprint {params.code}"
        " --out {output.record} 2>&1 | tee {log}"


rule profile_memory:
    """Peak bytes of tensors and of the process in training."""
    output:
        record="results/{experiment}/profile/memory/{model}/{length}.json",
    log:
        "results/{experiment}/logs/profile_memory/{model}/{length}.log",
    benchmark:
        "results/{experiment}/benchmarks/profile_memory/{model}/{length}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: every_core
    resources:
        **GPU_NODE,
        gpu=gpus,
        mem_mb=megabytes(16000),
        runtime=profile_runtime,
        cpus_per_task=EXPERIMENT.profile.threads,
        slurm_extra=profile_extra,
    params:
        point=point_json,
        code=profile_code,
    message:
        "memory of {wildcards.model} at {wildcards.length} tokens"
    shell:
        "lra profile memory --point {params.point:q} --fingerprint {params.code}"
        " --out {output.record} 2>&1 | tee {log}"
