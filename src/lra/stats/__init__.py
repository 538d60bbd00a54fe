"""Statistics: summaries over seeds, paired tests, published values."""
