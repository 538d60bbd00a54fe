# The results as pages, each one file that opens without a network.
CAPTIONS = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("workflow/report/*"))
# The tables that people read, in the order of the target.
SHEETS = [Path(path).stem for path in rules.tables.input if path.endswith(".html")]


rule report:
    """Ours, to read; and Snakemake's, which also has each step's code, time and software."""
    input:
        in_results("page.html"),
        in_results("report.html"),


rule page:
    """All tables and figures below each other, with what to see in them."""
    input:
        CAPTIONS,
        "results/{experiment}/scores.parquet",
        "results/{experiment}/tables/accuracy.csv",
        expand("results/{{experiment}}/tables/{table}.html", table=SHEETS),
        expand("results/{{experiment}}/figures/{figure}.png", figure=FIGURES),
    output:
        page="results/{experiment}/page.html",
    log:
        "results/{experiment}/logs/page.log",
    benchmark:
        "results/{experiment}/benchmarks/page.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("page"),
        root=subpath(output.page, parent=True),
        tables=",".join(SHEETS),
        figures=",".join(FIGURES),
    message:
        "page"
    shell:
        "lra page --root {params.root} --tables {params.tables} --figures {params.figures}"
        " --texts workflow/report --out {output.page} 2>&1 | tee {log}"


rule snakemake_report:
    """Snakemake's report of the same experiment, by a second snakemake, which runs no job."""
    input:
        CAPTIONS,
        rules.all.input,
    output:
        page="results/{experiment}/report.html",
    log:
        "results/{experiment}/logs/snakemake_report.log",
    benchmark:
        "results/{experiment}/benchmarks/snakemake_report.tsv"
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
