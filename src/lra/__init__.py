"""The Long Range Arena as a pipeline: data, attention mechanisms, training, profiles, tables."""
