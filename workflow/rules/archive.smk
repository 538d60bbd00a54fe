# One file that holds the experiment and proves itself: `lra verify`, `lra restore`.
import os

ARCHIVE_ALSO = [  # LRA_ARCHIVE_DATA=1 snakemake ... archive
    part
    for part in ["checkpoints", "data"]
    if os.environ.get(f"LRA_ARCHIVE_{part.upper()}", "0") not in ("", "0")
]


rule archive:
    """One zip of source, records, tables, figures and how each was made; not part of `all`."""
    input:
        rules.all.input,
        (
            every_cell(layout.CHECKPOINT)
            + every_pretraining(layout.PRETRAINED_CHECKPOINT)
            if "checkpoints" in ARCHIVE_ALSO
            else []
        ),
        (
            expand(f"{layout.DATASET}/{{split}}.arrow", dataset=DATASETS, split=SPLITS)
            if "data" in ARCHIVE_ALSO
            else []
        ),
        # what depends on nothing else: the names of every record would be too long for a shell
        targets=[
            *rules.data.input,
            *rules.span.input,
            *rules.tables.input,
            *rules.figures.input,
            *in_results(layout.PAGE),
        ],
    output:
        zip=in_results(layout.ARCHIVE),
    log:
        in_results(layout.log("archive")),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(4000),
        runtime=minutes(60),
    params:
        code=fingerprint.stage("archive"),
        source=what_ran,
        experiment=EXPERIMENT.model_dump_json(),
        more=" ".join(f"--{part}" for part in ARCHIVE_ALSO),
    message:
        "archive"
    shell:
        "lra archive --experiment {params.experiment:q} --out {output.zip} {params.more}"
        " {input.targets:q} 2>&1 | tee {log}"
