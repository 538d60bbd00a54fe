"""README.md of an archive: its table, what it holds, and how to check it."""

from __future__ import annotations

from collections.abc import Mapping

from lra.archive.manifest import About
from lra.archive.source import Entry
from lra.archive.zip_file import Kept

NAME = "README.md"


def readme(about: About, files: Mapping[str, Entry | Kept]) -> bytes:
    """Nothing but what the archive holds, so that it can be made again and compared."""
    table = files.get(f"results/{about.experiment}/tables/accuracy.md")
    if table:
        with table.open() as file:
            shown = file.read().decode("utf-8", "surrogateescape")
    changed = (
        "**The tree was not clean**: `source.patch` holds what the commit does not; the jobs ran "
        "with it.\n\n"
        if about.dirty
        else ""
    )
    if about.scrubbed:
        changed += (
            "Names, paths of home or secrets in `source.patch` are replaced: in those lines it is "
            "not to the letter what ran.\n\n"
        )
    left_out = sorted({facts.why for facts in about.omitted.values()})
    data = [f"- `{name}`: {made.licence}. {made.citation}" for name, made in about.data.items()]
    return f"""# Long Range Arena: experiment `{about.experiment}`

Protocol `{about.protocol}`, source at commit `{about.commit}` in `source/`.

{changed}{shown if table else "It has no table of accuracy."}

Check it, and go on from it, with the `lra` of `source/` (`source/README.md` says how to set it up):

```
lra verify {about.experiment}.zip
lra restore {about.experiment}.zip DIR
```

`verify` compares every checksum, the records with one another, and the tables and figures with
what the archived code makes of the records. It says that the archive agrees with itself, not who
made it: for that compare its SHA-256 with one that you trust. `restore` makes the data again, which
`--no-data` leaves out. Both run the code of the archive. In the restored folder `snakemake -n` says
that nothing needs to be done.

| | |
|---|---|
| `source/`, `source.patch` | the code of the commit, with the locks in `envs/`; its changes |
| `experiment.yaml`, `archive.json` | the experiment; recipes and SHA-256 of the data, hardware |
| `jobs.json` | of every job its command, parameters, inputs, outputs, start and end |
| `results/` | records, histories, predictions, tables, figures, logs, benchmarks |
| `ro-crate-metadata.json` | the same for machines: a Provenance Run Crate |

Not in here: {"; ".join(left_out) or "nothing"}. `archive.json` has their SHA-256.

Data:

{chr(10).join(data)}
""".encode("utf-8", "surrogateescape")
