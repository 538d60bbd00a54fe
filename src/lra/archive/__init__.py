"""One zip of an experiment that a stranger can check: write, verify, restore.

It is a Provenance Run Crate: `source/`, `results/`, `jobs.json` (Snakemake's record of every job),
`archive.json` (all else that is known), `experiment.yaml`, `ro-crate-metadata.json`, `README.md`
and `SHA256SUMS`.
"""
