# Data sets, shared by all experiments: results/data/<dataset>/
# Snakemake deletes ordinary outputs before a job. Another folder that shares the data may have made
# them since this plan, so they are `update` outputs. The verbs keep what the same recipe made.

SPLITS = {
    split: update(f"{layout.DATASET}/{split}.arrow")
    for split in ("train", "val", "test")
}


rule data:
    """Every data set of the experiment, and a contact sheet of those that are images."""
    input:
        expand(f"{layout.DATASET}/dataset.json", dataset=DATASETS),
        [
            f"{layout.DATA}/{dataset}/contact_sheet.png"
            for dataset in DATASETS
            if arena.dataset(dataset).contact_sheet
        ],


rule download:
    """A verified download. It is kept, because several data sets may need it."""
    output:
        archive=update(f"{layout.DOWNLOADS}/{{file}}"),
    log:
        f"{layout.DOWNLOADS}/{{file}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(720),
    params:
        archive=archive_json,
    message:
        "download {wildcards.file}"
    shell:
        "lra download --archive {params.archive:q} --out {output.archive} 2>&1 | tee {log}"


rule prepare:
    """A data set from a download, which is never unpacked to disk."""
    input:
        archive=archive_of,
    output:
        **SPLITS,
        manifest=update(f"{layout.DATASET}/dataset.json"),
    log:
        f"{layout.DATASET}/prepare.log",
    wildcard_constraints:
        dataset=one_of_names(PREPARED),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(4000),
        runtime=minutes(60),
    params:
        dataset=dataset_json,
        code=reader_code,
        folder=subpath(output.manifest, parent=True),
    message:
        "prepare {wildcards.dataset}"
    shell:
        "lra prepare --dataset {params.dataset:q} --fingerprint {params.code}"
        " --archive {input.archive} --out {params.folder} 2>&1 | tee {log}"


rule generate:
    """A generated data set; the same bytes whatever the number of workers."""
    output:
        **SPLITS,
        manifest=update(f"{layout.DATASET}/dataset.json"),
    log:
        f"{layout.DATASET}/generate.log",
    wildcard_constraints:
        dataset=one_of_names(GENERATED),
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.generate_workers
    resources:
        **CPU_NODE,
        mem_mb=megabytes(4000),
        runtime=minutes(240),
        cpus_per_task=EXPERIMENT.generate_workers,
    params:
        dataset=dataset_json,
        code=generator_code,
        folder=subpath(output.manifest, parent=True),
    message:
        "generate {wildcards.dataset}"
    shell:
        "lra generate --dataset {params.dataset:q} --fingerprint {params.code}"
        " --out {params.folder} --workers {threads} 2>&1 | tee {log}"


rule contact_sheet:
    """Samples by label, to look at."""
    input:
        split=f"{layout.DATASET}/test.arrow",
    output:
        picture=f"{layout.DATASET}/contact_sheet.png",
    log:
        f"{layout.DATASET}/contact_sheet.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **SMALL_JOB,
    params:
        code=fingerprint.stage("contact_sheet"),
    message:
        "draw samples of {wildcards.dataset}"
    shell:
        "lra contact-sheet {input.split} {output.picture} 2>&1 | tee {log}"
