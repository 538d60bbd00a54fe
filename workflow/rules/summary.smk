# What is said at the end of a run: the table, and every cell that is not ok.
from lra import summary


def say_what_is_not_ok():
    command = shlex.join(["snakemake", *sys.argv[1:]])
    print(summary.text(Path("results"), EXPERIMENT, command), file=sys.stderr)


onsuccess:
    table = Path("results", EXPERIMENT.experiment, "tables/accuracy.md")
    if table.exists():
        print(f"\n{table.read_text()}\nTables and figures: {table.parent.parent}")
    say_what_is_not_ok()


onerror:
    say_what_is_not_ok()
