"""One zip of an experiment that a stranger can check: write, verify, restore.

It is a Provenance Run Crate of stored files: `source/` at its commit and `source.patch`,
`results/`, `jobs.json` (what Snakemake recorded of every job), `archive.json` (all else that is
known), `ro-crate-metadata.json`, `README.md` and `SHA256SUMS`.
"""
