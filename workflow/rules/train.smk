# One training and one scoring per cell.


rule cells:
    """Every cell trained and scored."""
    input:
        every_cell("score.json"),


rule train:
    """Train one cell; a killed one goes on from its last saved step when snakemake runs again."""
    input:
        splits_of("train", "val"),
    output:
        config="results/{experiment}/cells/{task}/{model}/seed{seed}/config.yaml",
        checkpoint="results/{experiment}/cells/{task}/{model}/seed{seed}/checkpoint.safetensors",
        history="results/{experiment}/cells/{task}/{model}/seed{seed}/history.parquet",
        record="results/{experiment}/cells/{task}/{model}/seed{seed}/train.json",
    log:
        "results/{experiment}/logs/train/{task}/{model}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/train/{task}/{model}/seed{seed}.tsv"
    group:
        SEEDS_TOGETHER
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **GPU_NODE,
        gpu=gpus,
        mem_mb=cell_memory,
        runtime=train_runtime,
        cpus_per_task=EXPERIMENT.threads,
        slurm_extra=EARLY,
        last_attempt=is_last_attempt,
    params:
        cell=cell_json,
        code=train_code,
        data=data_folder,
        out=subpath(output.record, parent=True),
        work="results/{experiment}/work/{task}/{model}/seed{seed}",
    message:
        "train {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "export LRA_LAST_ATTEMPT={resources.last_attempt}; "
        # a subshell, and in a pipeline this is one, forgets the traps of its parent
        "{{ trap : TERM INT USR1; "
        "lra train --cell {params.cell:q} --fingerprint {params.code} --data {params.data}"
        " --out {params.out} --work {params.work} || lra killed {params.work} $?; }}"
        " 2>&1 | tee {log}"


rule evaluate:
    """Score one trained cell on the test split."""
    input:
        splits_of("test"),
        config="results/{experiment}/cells/{task}/{model}/seed{seed}/config.yaml",
        checkpoint="results/{experiment}/cells/{task}/{model}/seed{seed}/checkpoint.safetensors",
        record="results/{experiment}/cells/{task}/{model}/seed{seed}/train.json",
    output:
        score="results/{experiment}/cells/{task}/{model}/seed{seed}/score.json",
        predictions="results/{experiment}/cells/{task}/{model}/seed{seed}/predictions.parquet",
    log:
        "results/{experiment}/logs/evaluate/{task}/{model}/seed{seed}.log",
    benchmark:
        "results/{experiment}/benchmarks/evaluate/{task}/{model}/seed{seed}.tsv"
    group:
        SEEDS_TOGETHER
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **GPU_NODE,
        gpu=gpus,
        mem_mb=cell_memory,
        runtime=evaluate_runtime,
        cpus_per_task=EXPERIMENT.threads,
        slurm_extra=EARLY_TOGETHER,
    params:
        code=evaluate_code,
        data=data_folder,
        folder=subpath(input.record, parent=True),
    message:
        "evaluate {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "lra evaluate --cell {params.folder} --fingerprint {params.code} --data {params.data}"
        " 2>&1 | tee {log}"
