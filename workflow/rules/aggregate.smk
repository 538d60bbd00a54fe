# From records to Parquet, from Parquet to tables and figures.


rule tables:
    """Every table."""
    input:
        in_results(
            "tables/{table}.{ending}",
            table=TABLES,
            ending=["csv", "md", "tex", "html"],
        ),


rule figures:
    """Every figure."""
    input:
        in_results(
            "figures/{figure}.{ending}", figure=FIGURES, ending=["svg", "png", "pdf"]
        ),


rule collect_scores:
    """One row per cell."""
    input:
        every_cell("train.json"),
        every_cell("score.json"),
    output:
        table="results/{experiment}/scores.parquet",
    log:
        "results/{experiment}/logs/collect_scores.log",
    benchmark:
        "results/{experiment}/benchmarks/collect_scores.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("collect"),
        root=subpath(output.table, parent=True),
        tasks=",".join(TASKS),
        models=",".join(MODELS),
        seeds=",".join(map(str, SEEDS)),
        protocol=EXPERIMENT.protocol,
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
        table="results/{experiment}/history.parquet",
    log:
        "results/{experiment}/logs/collect_history.log",
    benchmark:
        "results/{experiment}/benchmarks/collect_history.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("collect"),
        root=subpath(output.table, parent=True),
        tasks=",".join(TASKS),
        models=",".join(MODELS),
        seeds=",".join(map(str, SEEDS)),
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
        table="results/{experiment}/{what}.parquet",
    log:
        "results/{experiment}/logs/collect_{what}.log",
    benchmark:
        "results/{experiment}/benchmarks/collect_{what}.tsv"
    wildcard_constraints:
        what="speed|memory",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("collect"),
        root=subpath(output.table, parent=True),
        models=",".join(PROFILED),
        lengths=",".join(map(str, LENGTHS)),
    message:
        "collect {wildcards.what}"
    shell:
        "lra collect {wildcards.what} --root {params.root} --out {output.table}"
        " --models {params.models} --lengths {params.lengths} 2>&1 | tee {log}"


rule table_accuracy:
    """Accuracy beside the paper's Table 1, or beside reproductions with the protocol's encoder."""
    input:
        scores="results/{experiment}/scores.parquet",
        reference=PUBLISHED_SCORES,
        remarks="config/reference/remarks.csv",
    output:
        multiext("results/{experiment}/tables/accuracy", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/accuracy.html",
            caption="../report/table_accuracy.rst",
            category="Tables",
            labels={"table": "accuracy"},
        ),
    log:
        "results/{experiment}/logs/table_accuracy.log",
    benchmark:
        "results/{experiment}/benchmarks/table_accuracy.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("tables.accuracy"),
        root=subpath(input.scores, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
        own_tasks=",".join(OWN_TASKS),
    message:
        "table of accuracy"
    shell:
        "lra tables accuracy --root {params.root} --reference {input.reference}"
        " --own-tasks={params.own_tasks:q}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule table_significance:
    """Which models differ from the Transformer, by the cells' predictions."""
    input:
        every_cell("predictions.parquet"),
        scores="results/{experiment}/scores.parquet",
    output:
        multiext("results/{experiment}/tables/significance", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/significance.html",
            caption="../report/table_significance.rst",
            category="Tables",
            labels={"table": "significance"},
        ),
    log:
        "results/{experiment}/logs/table_significance.log",
    benchmark:
        "results/{experiment}/benchmarks/table_significance.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("tables.significance"),
        root=subpath(input.scores, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
    message:
        "table of significance"
    shell:
        "lra tables significance --root {params.root}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule table_efficiency:
    """Speed and memory beside the paper's Table 2."""
    input:
        speed="results/{experiment}/speed.parquet",
        memory="results/{experiment}/memory.parquet",
        reference="config/reference/efficiency.csv",
        remarks="config/reference/remarks.csv",
    output:
        multiext("results/{experiment}/tables/efficiency", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/efficiency.html",
            caption="../report/table_efficiency.rst",
            category="Tables",
            labels={"table": "efficiency"},
        ),
    log:
        "results/{experiment}/logs/table_efficiency.log",
    benchmark:
        "results/{experiment}/benchmarks/table_efficiency.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("tables.efficiency"),
        root=subpath(input.speed, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
    message:
        "table of efficiency"
    shell:
        "lra tables efficiency --root {params.root} --reference {input.reference}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule table_costs:
    """What a step costs beside time and tensors."""
    input:
        speed="results/{experiment}/speed.parquet",
        memory="results/{experiment}/memory.parquet",
        reference="config/reference/efficiency.csv",
    output:
        multiext("results/{experiment}/tables/costs", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/costs.html",
            caption="../report/table_costs.rst",
            category="Tables",
            labels={"table": "costs"},
        ),
    log:
        "results/{experiment}/logs/table_costs.log",
    benchmark:
        "results/{experiment}/benchmarks/table_costs.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("tables.efficiency"),
        root=subpath(input.speed, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
    message:
        "table of costs"
    shell:
        "lra tables costs --root {params.root} --reference {input.reference}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule table_training:
    """Time and energy of the trainings."""
    input:
        scores="results/{experiment}/scores.parquet",
    output:
        multiext("results/{experiment}/tables/training", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/training.html",
            caption="../report/table_training.rst",
            category="Tables",
            labels={"table": "training"},
        ),
    log:
        "results/{experiment}/logs/table_training.log",
    benchmark:
        "results/{experiment}/benchmarks/table_training.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("tables.training"),
        root=subpath(input.scores, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
    message:
        "table of trainings"
    shell:
        "lra tables training --root {params.root}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule table_span:
    """Required attention span."""
    input:
        span="results/{experiment}/span.parquet",
    output:
        multiext("results/{experiment}/tables/span", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/span.html",
            caption="../report/table_span.rst",
            category="Tables",
            labels={"table": "span"},
        ),
    log:
        "results/{experiment}/logs/table_span.log",
    benchmark:
        "results/{experiment}/benchmarks/table_span.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("tables.span"),
        root=subpath(input.span, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
    message:
        "table of spans"
    shell:
        "lra tables span --root {params.root}" " --stem {params.stem} 2>&1 | tee {log}"


rule table_shortcomings:
    """What each family falls short of."""
    input:
        scores="results/{experiment}/scores.parquet",
        speed="results/{experiment}/speed.parquet",
        memory="results/{experiment}/memory.parquet",
    output:
        multiext("results/{experiment}/tables/shortcomings", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/shortcomings.html",
            caption="../report/table_shortcomings.rst",
            category="Tables",
            labels={"table": "shortcomings"},
        ),
    log:
        "results/{experiment}/logs/table_shortcomings.log",
    benchmark:
        "results/{experiment}/benchmarks/table_shortcomings.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=shortcomings_code(),
        root=subpath(input.scores, parent=True),
        stem=subpath(output[0], strip_suffix=".csv"),
        mechanisms=",".join(f"{m}={mechanism_of(m)}" for m in MODELS),
    message:
        "table of shortcomings"
    shell:
        "lra tables shortcomings --root {params.root}"
        " --mechanisms={params.mechanisms:q}"
        " --stem {params.stem} 2>&1 | tee {log}"


rule figure:
    """One figure."""
    input:
        tables_of,
    output:
        report(
            "results/{experiment}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        multiext("results/{experiment}/figures/{figure}", ".svg", ".pdf"),
    log:
        "results/{experiment}/logs/figure_{figure}.log",
    benchmark:
        "results/{experiment}/benchmarks/figure_{figure}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **CPU_NODE,
        mem_mb=megabytes(1000),
        runtime=minutes(10),
    params:
        code=fingerprint.stage("figures"),
        root=subpath(input[0], parent=True),
        stem=subpath(output[0], strip_suffix=".png"),
        reference=PUBLISHED_SCORES,
        own_tasks=",".join(OWN_TASKS),
    message:
        "figure {wildcards.figure}"
    shell:
        "lra figure {wildcards.figure} --root {params.root} --reference {params.reference}"
        " --own-tasks={params.own_tasks:q}"
        " --stem {params.stem} 2>&1 | tee {log}"
