# What causal models cost token by token, and in training beside the same mechanism that sees all.


rule decoding:
    """Prefill, decoding, states and training in both directions: their table and figure."""
    input:
        in_results(f"{layout.TABLE}.md", table=["decoding"]) if DECODED else [],
        in_results(f"{layout.FIGURE}.png", figure=["decoding"]) if DECODED else [],


rule profile_decode:
    """Prefill and decode tokens per second, bytes of the state, training in both directions."""
    output:
        update(
            expand(
                written(layout.POINT_RECORD),
                what=["decode"],
                length=decode_lengths("decode"),
                allow_missing=True,
            )
        ),
        update(
            expand(
                written(layout.POINT_RECORD),
                what=["directions"],
                length=decode_lengths("directions"),
                allow_missing=True,
            )
        ),
    log:
        written(layout.log("profile_decode", "{model}")),
    conda:
        "../../envs/environment.yaml"
    threads: every_core
    resources:
        **GPU_NODE,
        mem_mb=megabytes(16000),
        runtime=requests.decode,
        cpus_per_task=1,
        slurm_extra=profile_extra,
    params:
        points=decode_json,
        code=decode_code,
        root=subpath(output[0], ancestor=4),
    message:
        "decoding of {wildcards.model}"
    shell:
        # not forked, for the memory of its process is measured
        "unset LRA_FORK_SERVER; "
        "lra decode {params.points:q} --root {params.root} --fingerprint {params.code}"
        " 2>&1 | tee {log}"
