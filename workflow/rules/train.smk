# One training and one scoring per cell.


rule cells:
    """Every cell trained and scored."""
    input:
        every_cell(layout.SCORE_RECORD),


rule checkpoints:
    """The weights of every cell: no table needs them, so `all` does not ask for them."""
    input:
        every_cell(layout.CHECKPOINT),


rule pretrain:
    """Train a cell's model on the tokens of its training inputs, before it sees a label."""
    input:
        splits_of("train", "val"),
    output:
        config=written(layout.PRETRAINED_CONFIG),
        checkpoint=written(layout.PRETRAINED_CHECKPOINT),
        history=written(layout.PRETRAINED_HISTORY),
        record=written(layout.PRETRAIN_RECORD),
    log:
        written(layout.log("pretrain", layout.NAME)),
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **{**CELL_JOB, "mem_mb": requests.pretraining_memory},
        runtime=requests.pretrain,
        slurm_extra=EARLY,
        last_attempt=is_last_attempt,
    params:
        cell=pretraining_json,
        code=code_of("pretrain"),
        data=data_folder,
        out=subpath(output.record, parent=True),
        work=written(layout.PRETRAIN_WORK),
    message:
        "pretrain {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "export LRA_LAST_ATTEMPT={resources.last_attempt} LRA_GPU_SHARE={resources.gpu_share}; "
        "{{ trap : TERM INT USR1; "  # as in train
        "lra pretrain --cell {params.cell:q} --fingerprint {params.code} --data {params.data}"
        " --out {params.out} --work {params.work} || lra killed {params.work} $?; }}"
        " 2>&1 | tee {log}"


rule train:
    """Train one cell; a killed one goes on from its last saved step when snakemake runs again."""
    input:
        splits_of("train", "val"),
        pretrained(layout.PRETRAINED_CHECKPOINT, layout.PRETRAIN_RECORD),
    output:
        config=written(layout.CONFIG),
        checkpoint=written(layout.CHECKPOINT),
        history=written(layout.HISTORY),
        record=written(layout.TRAIN_RECORD),
    log:
        written(layout.log("train", layout.NAME)),
    group:
        SEEDS_TOGETHER
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **CELL_JOB,
        runtime=requests.train,
        slurm_extra=EARLY,
        last_attempt=is_last_attempt,
    params:
        cell=cell_json,
        code=code_of("train"),
        data=data_folder,
        out=subpath(output.record, parent=True),
        work=written(layout.WORK),
        pretrained=pretrained_option,
    message:
        "train {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "export LRA_LAST_ATTEMPT={resources.last_attempt} LRA_GPU_SHARE={resources.gpu_share}; "
        # a subshell, and in a pipeline this is one, forgets the traps of its parent
        "{{ trap : TERM INT USR1; "
        "lra train --cell {params.cell:q} --fingerprint {params.code} --data {params.data}"
        " --out {params.out} --work {params.work} {params.pretrained}"
        " || lra killed {params.work} $?; }} 2>&1 | tee {log}"


rule evaluate:
    """Score one trained cell on the test split."""
    input:
        splits_of("test"),
        **TRAINED,
    output:
        score=written(layout.SCORE_RECORD),
        predictions=written(layout.PREDICTIONS),
    log:
        written(layout.log("evaluate", layout.NAME)),
    group:
        SEEDS_TOGETHER
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **CELL_JOB,
        runtime=requests.evaluate,
        slurm_extra=EARLY_TOGETHER,
    params:
        code=code_of("evaluate"),
        data=data_folder,
        folder=subpath(input.record, parent=True),
        work=written(layout.WORK),
    message:
        "evaluate {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "export LRA_GPU_SHARE={resources.gpu_share}; "
        "lra evaluate --cell {params.folder} --fingerprint {params.code} --data {params.data}"
        " --work {params.work} 2>&1 | tee {log}"
