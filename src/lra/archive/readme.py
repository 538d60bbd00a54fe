"""README.md of an archive: its table, what it holds, and how to check it."""

from __future__ import annotations

from collections.abc import Mapping

from lra.archive.manifest import About
from lra.archive.source import Entry

README = "README.md"


def readme(about: About, files: Mapping[str, Entry]) -> bytes:
    """From the other files of the archive alone, so that it can be made again and compared."""
    table = files.get(f"results/{about.experiment}/tables/accuracy.md")
    shown = table.read().decode("utf-8", "surrogateescape") if table else "No table of accuracy."
    changed = ""
    if about.dirty:
        changed += (
            "**The checkout had uncommitted changes.** The jobs ran with them; `source.patch` has "
            "them.\n\n"
        )
    if about.redacted:
        changed += (
            "Names, paths of home or secrets in `source.patch` were replaced: those lines are not "
            "exactly what ran.\n\n"
        )
    omitted = sorted({each.why for each in about.omitted.values()})
    data = [f"- `{name}`: {made.licence}. {made.citation}" for name, made in about.data.items()]
    return f"""# Long Range Arena: experiment `{about.experiment}`

Protocol `{about.protocol}`, source at commit `{about.commit}` in `source/`.

{changed}{shown}

Use the `lra` of `source/`, which `source/README.md` says how to install:

```
lra verify {about.experiment}.zip
lra restore {about.experiment}.zip DIR
```

`verify` compares checksums and records, makes tables and figures again from the records, and
reports every difference. It shows that the archive agrees with itself, not who made it: for that,
compare the SHA-256 of the zip with one that you trust. `restore` unpacks the archive and makes its
data again, which `--no-data` skips. In the restored folder `snakemake -n` finds nothing to do. Both
commands run code of the archive; `restore --no-data` runs none.

| | |
|---|---|
| `source/`, `source.patch` | the code of the commit, with the locks in `envs/`; its changes |
| `experiment.yaml`, `archive.json` | the experiment; recipes and SHA-256 of the data, hardware |
| `jobs.json` | of every job its command, parameters, inputs, outputs, start and end |
| `results/` | records, histories, predictions, tables, figures, logs, benchmarks |
| `ro-crate-metadata.json` | the same for machines: a Provenance Run Crate |

Left out: {"; ".join(omitted) or "nothing"}. `archive.json` has their SHA-256.

Data:

{chr(10).join(data)}
""".encode("utf-8", "surrogateescape")
