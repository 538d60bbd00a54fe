"""Records, paths of everything written, collecting, fingerprints, provenance."""
