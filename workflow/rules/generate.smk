# What trained cells that predict tokens generate, on the test split: samplers and steps.


rule generation:
    """What every cell generates by each sampler, and its table and figure."""
    input:
        in_results(layout.PARQUET, what=["generate"]) if TOKENS else [],
        in_results(f"{layout.TABLE}.md", table=["order"]) if TOKENS else [],
        (
            in_results(
                f"{layout.FIGURE}.{{ending}}",
                figure=["solve_rate"],
                ending=["svg", "png"],
            )
            if TOKENS
            else []
        ),


rule generate_tokens:
    """Let a trained cell fill in test examples by each sampler."""
    input:
        splits_of("test"),
        **TRAINED,
    output:
        record=written(layout.GENERATION_RECORD),
    log:
        written(layout.log("generate_tokens", layout.NAME)),
    conda:
        "../../envs/environment.yaml"
    threads: EXPERIMENT.threads
    resources:
        **CELL_JOB,
        runtime=requests.generate,
    params:
        code=generation_code,
        data=data_folder,
        folder=subpath(input.record, parent=True),
        asked=generation_options(),
    message:
        "generate {wildcards.task}/{wildcards.model}/seed{wildcards.seed}"
    shell:
        "export LRA_GPU_SHARE={resources.gpu_share}; "
        "lra generate-tokens --cell {params.folder} --fingerprint {params.code}"
        " --data {params.data} {params.asked} --out {output.record} 2>&1 | tee {log}"
