# From records to Parquet, from Parquet to tables and figures. What there is of each, says the
# registry (src/lra/report/registry.py).


rule tables:
    """Every table."""
    input:
        in_results(
            f"{layout.TABLE}.{{ending}}",
            table=TABLES,
            ending=["csv", "md", "tex", "html"],
        ),


rule figures:
    """Every figure."""
    input:
        in_results(
            f"{layout.FIGURE}.{{ending}}",
            figure=FIGURES,
            ending=["svg", "png", "pdf"],
        ),


rule collect:
    """The records of all cells or profile points as one Parquet table."""
    input:
        records_of,
    output:
        table=written(layout.PARQUET),
    log:
        written(layout.log("collect", "{what}")),
    wildcard_constraints:
        what=one_of_names(COLLECTED),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **SMALL_JOB,
    params:
        code=fingerprint.stage("collect"),
        root=subpath(output.table, parent=True),
        tasks=",".join(TASKS),
        models=collected_models,
        seeds=",".join(map(str, SEEDS)),
        lengths=collected_lengths,
    message:
        "collect {wildcards.what}"
    shell:
        "lra collect {wildcards.what} --root {params.root} --out {output.table}"
        " --tasks={params.tasks} --models={params.models} --seeds={params.seeds}"
        " --lengths={params.lengths} 2>&1 | tee {log}"


rule table:
    """One table, as csv, Markdown, LaTeX and HTML."""
    input:
        inputs_of(registry.table),
    output:
        multiext(written(layout.TABLE), ".csv", ".md", ".tex"),
        html=report(
            written(f"{layout.TABLE}.html"),
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        written(layout.log("table", "{table}")),
    wildcard_constraints:
        table=one_of_names(TABLES),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **SMALL_JOB,
    params:
        code=code_of_item("table", registry.table),
        root=subpath(output.html, ancestor=2),
        stem=subpath(output.html, strip_suffix=".html"),
        reference=REFERENCE,
    message:
        "table {wildcards.table}"
    shell:
        "lra tables {wildcards.table} --root {params.root} --stem {params.stem}"
        " --reference {params.reference:q} 2>&1 | tee {log}"


rule figure:
    """One figure, as SVG, PNG and PDF."""
    input:
        inputs_of(registry.figure),
    output:
        report(
            written(f"{layout.FIGURE}.png"),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        multiext(written(layout.FIGURE), ".svg", ".pdf"),
    log:
        written(layout.log("figure", "{figure}")),
    wildcard_constraints:
        figure=one_of_names(FIGURES),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **SMALL_JOB,
    params:
        code=code_of_item("figure", registry.figure),
        root=subpath(output[0], ancestor=2),
        stem=subpath(output[0], strip_suffix=".png"),
        reference=REFERENCE,
    message:
        "figure {wildcards.figure}"
    shell:
        "lra figure {wildcards.figure} --root {params.root} --stem {params.stem}"
        " --reference {params.reference:q} 2>&1 | tee {log}"
