# From records to Parquet, from Parquet to tables and figures.

FIGURES = {
    "performance": ["scores", "speed", "memory"],
    "speed": ["speed"],
    "memory": ["memory"],
    "learning_curves": ["history", "scores"],
}


def points_of(wildcards):
    return every_point(wildcards.what)


def tables_of(wildcards):
    return [f"{OUT}/{table}.parquet" for table in FIGURES[wildcards.figure]]


rule tables:
    """Every table."""
    input:
        expand(
            OUT + "/tables/{table}.{ending}",
            table=["accuracy", "efficiency"],
            ending=["csv", "md", "tex", "html"],
        ),


rule figures:
    """Every figure."""
    input:
        expand(OUT + "/figures/{figure}.{ending}", figure=FIGURES, ending=["svg", "png"]),


rule collect_scores:
    """One row per cell."""
    input:
        every_cell("train.json"),
        every_cell("score.json"),
    output:
        table=OUT + "/scores.parquet",
    log:
        LOGS + "/collect_scores.log",
    benchmark:
        BENCHMARKS + "/collect_scores.tsv"
    params:
        code=fingerprint.stage("collect"),
        root=OUT,
        tasks=",".join(TASKS),
        models=",".join(MODELS),
        seeds=",".join(map(str, SEEDS)),
        protocol=EXPERIMENT.protocol,
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "collect scores"
    shell:
        "lra collect scores --root {params.root} --out {output.table} --tasks {params.tasks}"
        " --models {params.models} --seeds {params.seeds} --protocol {params.protocol}"
        " 2>&1 | tee {log}"


rule collect_history:
    """The learning curves of all cells."""
    input:
        every_cell("history.parquet"),
    output:
        table=OUT + "/history.parquet",
    log:
        LOGS + "/collect_history.log",
    benchmark:
        BENCHMARKS + "/collect_history.tsv"
    params:
        code=fingerprint.stage("collect"),
        root=OUT,
        tasks=",".join(TASKS),
        models=",".join(MODELS),
        seeds=",".join(map(str, SEEDS)),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "collect learning curves"
    shell:
        "lra collect history --root {params.root} --out {output.table} --tasks {params.tasks}"
        " --models {params.models} --seeds {params.seeds} 2>&1 | tee {log}"


rule collect_profile:
    """One row per profile point, of speed or of memory."""
    input:
        points_of,
    output:
        table=OUT + "/{what}.parquet",
    wildcard_constraints:
        what="speed|memory",
    log:
        LOGS + "/collect_{what}.log",
    benchmark:
        BENCHMARKS + "/collect_{what}.tsv"
    params:
        code=fingerprint.stage("collect"),
        root=OUT,
        models=",".join(PROFILED),
        lengths=",".join(map(str, LENGTHS)),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "collect {wildcards.what}"
    shell:
        "lra collect {wildcards.what} --root {params.root} --out {output.table}"
        " --models {params.models} --lengths {params.lengths} 2>&1 | tee {log}"


rule table_accuracy:
    """Accuracy beside the paper's Table 1."""
    input:
        scores=OUT + "/scores.parquet",
        reference=ROOT / "config/reference/scores.csv",
    output:
        multiext(OUT + "/tables/accuracy", ".csv", ".md", ".tex", ".html"),
    log:
        LOGS + "/table_accuracy.log",
    benchmark:
        BENCHMARKS + "/table_accuracy.tsv"
    params:
        code=fingerprint.stage("tables"),
        root=OUT,
        stem=OUT + "/tables/accuracy",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "table of accuracy"
    shell:
        "lra tables accuracy --root {params.root} --reference {input.reference}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule table_efficiency:
    """Speed and memory beside the paper's Table 2."""
    input:
        speed=OUT + "/speed.parquet",
        memory=OUT + "/memory.parquet",
        reference=ROOT / "config/reference/efficiency.csv",
    output:
        multiext(OUT + "/tables/efficiency", ".csv", ".md", ".tex", ".html"),
    log:
        LOGS + "/table_efficiency.log",
    benchmark:
        BENCHMARKS + "/table_efficiency.tsv"
    params:
        code=fingerprint.stage("tables"),
        root=OUT,
        stem=OUT + "/tables/efficiency",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "table of efficiency"
    shell:
        "lra tables efficiency --root {params.root} --reference {input.reference}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule figure:
    """One figure."""
    input:
        tables_of,
    output:
        multiext(OUT + "/figures/{figure}", ".svg", ".png"),
    wildcard_constraints:
        figure="|".join(FIGURES),
    log:
        LOGS + "/figure_{figure}.log",
    benchmark:
        BENCHMARKS + "/figure_{figure}.tsv"
    params:
        code=fingerprint.stage("figures"),
        root=OUT,
        stem=OUT + "/figures/{figure}",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "figure {wildcards.figure}"
    shell:
        "lra figure {wildcards.figure} --root {params.root} --stem {params.stem} 2>&1 | tee {log}"
