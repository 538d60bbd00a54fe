# Speed and memory of a model at all lengths, in a job that runs alone.


rule profile:
    """Steps per second, and peak bytes of tensors and process, of training and inference."""
    output:
        update(
            expand(
                written(layout.POINT_RECORD),
                what=["speed", "memory"],
                length=LENGTHS,
                allow_missing=True,
            )
        ),
    log:
        written(layout.log("profile", "{model}")),
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
        points=points_json,
        code=profile_code,
        root=subpath(output[0], ancestor=4),
    message:
        "speed and memory of {wildcards.model}"
    shell:
        # not forked, for the memory of its process is measured
        "unset LRA_FORK_SERVER; "
        "lra profile {params.points:q} --root {params.root} --fingerprint {params.code}"
        " 2>&1 | tee {log}"
