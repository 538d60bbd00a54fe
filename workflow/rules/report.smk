# The results as pages, each one file that opens without a network.
CAPTIONS = sorted(map(str, (HERE / "workflow/report").iterdir()))


rule report:
    """Ours, to read; and Snakemake's, which also has each step's code, time and software."""
    input:
        in_results(layout.PAGE),
        in_results(layout.REPORT),


rule page:
    """All tables and figures below each other, with what to see in them."""
    input:
        CAPTIONS,
        in_results(layout.PARQUET, what=["scores", "speed", "memory"]),
        in_results(f"{layout.TABLE}.csv", table=TABLES),
        in_results(f"{layout.TABLE}.html", table=TABLES),
        in_results(f"{layout.FIGURE}.svg", figure=FIGURES),
        [path for path in rules.data.input if path.endswith(".png")],
    output:
        page=written(layout.PAGE),
    log:
        written(layout.log("page")),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **SMALL_JOB,
    params:
        code=fingerprint.stage("page"),
        root=subpath(output.page, parent=True),
        shown=ascii(SHOWN[0] + SHOWN[1]),
        kind=" ".join(["--tokens"] * TOKENS + ["--decode"] * bool(DECODED)),
        captions=subpath(input[0], parent=True),
    message:
        "page"
    shell:
        "lra page --root {params.root} --captions {params.captions:q} --out {output.page}"
        " {params.kind}"
        " 2>&1 | tee {log}"


rule snakemake_report:
    """Snakemake's report of the same experiment, by a second snakemake, which runs no job."""
    input:
        CAPTIONS,
        rules.all.input,
    output:
        page=written(layout.REPORT),
    log:
        written(layout.log("snakemake_report")),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(2000),
        runtime=minutes(30),
    params:
        configuration=same_configuration(),
    message:
        "Snakemake's report"
    shell:
        "snakemake --cores 1 --report {output.page} {params.configuration} 2>&1 | tee {log}"
