# Required attention span of trained cells, on the validation split.


rule span:
    """The span of every listed cell, and their figure."""
    input:
        in_results("span.parquet"),
        in_results("figures/span.{ending}", ending=["svg", "png"]),


rule measure_span:
    """How far apart the queries of a trained cell and what they read are, in tokens."""
    input:
        splits_of("val"),
        config="results/{experiment}/cells/{task}/{model}/seed{seed}/config.yaml",
        checkpoint="results/{experiment}/cells/{task}/{model}/seed{seed}/checkpoint.safetensors",
        record="results/{experiment}/cells/{task}/{model}/seed{seed}/train.json",
    output:
        record="results/{experiment}/span/{task}/{model}/seed{seed}.json",
    log:
        "results/{experiment}/logs/span/{task}/{model}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/span/{task}/{model}/seed{seed}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **GPU_NODE,
        gpu=gpus,
        mem_mb=cell_memory,
        runtime=span_runtime,
        cpus_per_task=EXPERIMENT.threads,
    params:
        code=span_code,
        data=data_folder,
        folder=subpath(input.record, parent=True),
        samples=EXPERIMENT.span.samples,
        queries=EXPERIMENT.span.queries,
    message:
        "span {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "lra span --cell {params.folder} --fingerprint {params.code} --data {params.data}"
        " --samples {params.samples} --queries {params.queries} --out {output.record}"
        " 2>&1 | tee {log}"


rule collect_span:
    """One row per cell, method and layer."""
    input:
        every_span(),
    output:
        table="results/{experiment}/span.parquet",
    log:
        "results/{experiment}/logs/collect_span.log",
    benchmark:
        "results/{experiment}/benchmarks/collect_span.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("collect"),
        root=subpath(output.table, parent=True),
        tasks=",".join(TASKS),
        models=",".join(SPANNED),
        seeds=",".join(map(str, SEEDS)),
    message:
        "collect span"
    shell:
        "lra collect span --root {params.root} --out {output.table} --tasks {params.tasks}"
        " --models={params.models:q} --seeds {params.seeds} 2>&1 | tee {log}"
