# Speed and memory of a model at all lengths, in a job that runs alone.


def measure_forced_again():
    """What is measured already stays when a length is added; but not where a profile is forced."""
    asked = workflow.dag_settings
    everything = asked.forceall or asked.forcetargets
    if workflow.is_main_process and (
        everything or any("profile" in name for name in asked.forcerun)
    ):
        os.environ.update(LRA_MEASURE_AGAIN="1")  # of every job


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
    benchmark:
        written(layout.benchmark("profile", "{model}"))
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
        "lra profile {params.points:q} --root {params.root} --fingerprint {params.code}"
        " 2>&1 | tee {log}"
