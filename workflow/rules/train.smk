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
        config=CELL + "/config.yaml",
        checkpoint=CELL + "/checkpoint.safetensors",
        history=CELL + "/history.parquet",
        record=CELL + "/train.json",
    log:
        LOGS + "/train/{task}/{model}/seed{seed}.log",
    benchmark:
        BENCHMARKS + "/train/{task}/{model}/seed{seed}.tsv"
    params:
        cell=cell_json,
        code=train_code,
        data=data_folder,
        out=CELL,
        work=OUT + "/work/{task}/{model}/seed{seed}",
    threads: EXPERIMENT.threads
    resources:
        mem_mb=8000,
        runtime=1440,
    message:
        "train {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "lra train --cell {params.cell:q} --fingerprint {params.code} --data {params.data}"
        " --out {params.out} --work {params.work} 2>&1 | tee {log}"


rule evaluate:
    """Score one trained cell on the test split."""
    input:
        splits_of("test"),
        config=CELL + "/config.yaml",
        checkpoint=CELL + "/checkpoint.safetensors",
        record=CELL + "/train.json",
    output:
        score=CELL + "/score.json",
        predictions=CELL + "/predictions.parquet",
    log:
        LOGS + "/evaluate/{task}/{model}/seed{seed}.log",
    benchmark:
        BENCHMARKS + "/evaluate/{task}/{model}/seed{seed}.tsv"
    params:
        code=evaluate_code,
        data=data_folder,
        out=CELL,
    threads: EXPERIMENT.threads
    resources:
        mem_mb=8000,
        runtime=120,
    message:
        "evaluate {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "lra evaluate --cell {params.out} --fingerprint {params.code} --data {params.data}"
        " 2>&1 | tee {log}"
