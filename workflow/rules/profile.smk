# Speed and memory per (model, length), each in a job that runs alone. On a cluster the points of one
# model follow each other in one job: a point takes seconds, and starting a job as long.


rule profile:
    """Steps per second, or peak bytes of tensors and process, of training and inference."""
    output:
        record=written(layout.POINT_RECORD),
    log:
        written(layout.log("profile", "{what}/{model}/{length}")),
    benchmark:
        written(layout.benchmark("profile", "{what}/{model}/{length}"))
    wildcard_constraints:
        what="speed|memory",
    conda:
        "../../envs/environment.yaml"
    threads: every_core
    resources:
        **GPU_NODE,
        mem_mb=megabytes(16000),
        runtime=requests.profile,
        cpus_per_task=EXPERIMENT.profile.threads,
        slurm_extra=profile_extra,
    params:
        point=point_json,
        code=profile_code,
    message:
        "{wildcards.what} of {wildcards.model} at {wildcards.length} tokens"
    shell:
        "lra profile {wildcards.what} --point {params.point:q} --fingerprint {params.code}"
        " --out {output.record} 2>&1 | tee {log}"
