# Required attention span of trained cells, on the validation split.


rule span:
    """The span of every listed cell, and their figure."""
    input:
        [] if TOKENS else in_results(layout.PARQUET, what=["span"]),
        (
            []
            if TOKENS
            else in_results(
                f"{layout.FIGURE}.{{ending}}", figure=["span"], ending=["svg", "png"]
            )
        ),


rule measure_span:
    """How far apart the queries of a trained cell and what they read are, in tokens."""
    input:
        splits_of("val"),
        **TRAINED,
    output:
        record=written(layout.SPAN_RECORD),
    log:
        written(layout.log("span", layout.NAME)),
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **CELL_JOB,
        runtime=requests.span,
    params:
        code=code_of("span"),
        data=data_folder,
        folder=subpath(input.record, parent=True),
        samples=EXPERIMENT.span.samples,
        queries=EXPERIMENT.span.queries,
    message:
        "span {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "export LRA_GPU_SHARE={resources.gpu_share}; "
        "lra span --cell {params.folder} --fingerprint {params.code} --data {params.data}"
        " --samples {params.samples} --queries {params.queries} --out {output.record}"
        " 2>&1 | tee {log}"
