# What a task gives away without a network, on the same splits.


rule baselines:
    """The baselines of every task, and their table."""
    input:
        in_results(layout.PARQUET, what=["baselines"]),
        in_results(f"{layout.TABLE}.md", table=["language" if TOKENS else "baselines"]),


rule baseline:
    """What one task's test split gives away: to n-grams or pixels, of tokens to gzip and xz."""
    input:
        splits_of("train", "val", "test"),
    output:
        record=written(layout.BASELINE_RECORD),
    log:
        written(layout.log("baseline", "{task}")),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(8000),
        runtime=minutes(120),
    params:
        code=fingerprint.stage("floor" if TOKENS else "baseline"),
        data=data_folder,
        name=task_json,
    message:
        "baselines of {wildcards.task}"
    shell:
        "lra baseline --task {params.name:q} --fingerprint {params.code} --data {params.data}"
        " --out {output.record} 2>&1 | tee {log}"
